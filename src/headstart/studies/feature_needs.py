"""Which outputs of frozen layers the trials of a study need, and what of them the cache lacks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from headstart.methods import FeatureUse, method_spec
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.studies.timings import Timings
from headstart.studies.trial import make_context
from headstart.types import Arm, Dataset, Trial


@dataclass(frozen=True, kw_only=True)
class PlannedFeatures:
    """Frozen layers that some trial needs: what they are, seconds and bytes that are still missing of
    them."""

    what: str
    seconds: float
    missing_bytes: int


@dataclass(frozen=True, kw_only=True)
class _Need:
    """Outputs of an arm's frozen layers that trials need, in bytes: missing, and of one image."""

    arm: Arm
    layers: FrozenLayers
    missing_bytes: int
    row_bytes: int


class FeatureNeeds:
    """The sets of frozen features that trials need, each counted once."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        self._needs: dict[str, _Need] = {}
        self._layers: dict[Arm, FrozenLayers | None] = {}

    def add(self, trial: Trial) -> None:
        """Notes what a trial needs."""
        arm, spec = trial.arm, method_spec(trial.arm.method)
        if spec.features is FeatureUse.NONE:
            return
        if arm in self._layers and spec.features is not FeatureUse.OWN_IMAGES:
            return  # the same for every trial of the arm
        method = spec.implementation
        context = make_context(trial, self.dataset, Path("."), self.device)
        if arm not in self._layers:
            self._layers[arm] = method.frozen_layers(context)
        if (layers := self._layers[arm]) is not None:
            for request in method.feature_requests(context, layers):
                self.note(arm, request)

    def note(self, arm: Arm, request: FeatureRequest) -> None:
        """Notes one set of features."""
        if (key := request.key) in self._needs:
            return
        shape, _ = request.layers.outline(request.images)
        self._needs[key] = _Need(
            arm=arm,
            layers=request.layers,
            missing_bytes=request.missing_bytes(),
            row_bytes=2 * int(np.prod(shape)),
        )

    def planned(self, timings: Timings) -> Iterator[PlannedFeatures]:
        """What trials need, by network and cut, with what is not in the cache."""
        sums: dict[str, list[float]] = {}
        for need in self._needs.values():
            arm = need.arm
            what = f"{arm.model} ({arm.weights}) at {arm.input_pixels or 'its own'} px, {need.layers.cut}"
            entry = sums.setdefault(what, [0.0, 0.0])
            if need.missing_bytes:
                images = need.missing_bytes / need.row_bytes
                entry[0] += images * timings.features(arm, need.layers)
                entry[1] += need.missing_bytes
        for what, (seconds, missing_bytes) in sums.items():
            yield PlannedFeatures(what=what, seconds=seconds, missing_bytes=round(missing_bytes))
