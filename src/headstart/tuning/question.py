"""What one search asks: which recipe of a space, for one arm, with so many labels, on validation images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from headstart import store
from headstart.data.splits import Ids, label_subset
from headstart.errors import ConfigError
from headstart.methods.base import Context
from headstart.recipes import with_changes
from headstart.recipes.spaces import PIXELS, Knob, described
from headstart.runtime.precision import default_device, resolve_feature_precision, resolve_precision
from headstart.studies.trial import make_context, resolve
from headstart.types import Arm, Dataset, ImageSet, LabelBudget, Proxy, Recipe, Study, Trial

SCHEMA = 1  # raised when the same question would be answered by other candidates


def without_test(dataset: Dataset) -> Dataset:
    """The same training images with an empty test set: nothing that is given this can read a test image."""
    train = dataset.train
    empty = ImageSet(
        images=train.images[:0], labels=train.labels[:0], class_names=train.class_names, fingerprint="none"
    )
    return dataclasses.replace(dataset, test=empty)


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which recipe of this space, for this arm, with these labels. dataset: without test images. folder: the
    search's own."""

    study: Study
    arm: Arm
    dataset: Dataset
    label_budget: LabelBudget
    seed: int
    proxy: Proxy
    space: tuple[Knob, ...]
    folder: Path

    @property
    def start(self) -> dict[str, Any]:
        """The arm's own values of what is searched: the first candidate."""
        return {
            knob.name: self.arm.input_pixels if knob.name == PIXELS else getattr(self.arm.recipe, knob.name)
            for knob in self.space
        }

    def trial(self, arm: Arm) -> Trial:
        """The trial of an arm with the question's labels and seed."""
        device = default_device()
        return Trial(
            arm=arm,
            label_budget=self.label_budget,
            seed=self.seed,
            precision=resolve_precision(self.study.precision, device),
            feature_precision=resolve_feature_precision(self.study.feature_precision, device),
        )

    def recipe(self, values: Mapping[str, Any]) -> Recipe:
        """The arm's recipe with a candidate's values."""
        fields = {name: value for name, value in values.items() if name != PIXELS}
        return with_changes(self.arm.recipe, fields, f"arm {self.arm.name!r}")

    def context(self, arm: Arm, folder: Path) -> Context:
        """The trial's images, no test among them, less what the proxy leaves out; no training sample is
        read."""
        trial = self.trial(arm)
        context = make_context(trial, self.dataset, folder, default_device())
        train = self._some(context.train_ids, self.proxy.images)
        val = self._some(context.val_ids, self.proxy.validation_images)
        return dataclasses.replace(context, train_ids=train, val_ids=val, sample_ids=val[:0])

    def _some(self, ids: Ids, count: int | None) -> Ids:
        """So many of these images, as many of each class; None: all."""
        if count is None or not len(ids):
            return ids
        train = self.dataset.train
        per_class = count // len(train.class_names)
        if not 0 < count <= len(ids) or not per_class:
            raise ConfigError(
                f"{count:,} images asked of {len(ids):,}; choose {len(train.class_names)} to {len(ids):,}"
            )
        return label_subset(train.labels, ids, train.fingerprint, self.seed, per_class, train.class_names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of all that a candidate's outcome depends on, beside its own values."""
        return store.digest(
            {
                "schema": SCHEMA,
                "trial": resolve(self.trial(self.arm), self.dataset),
                "proxy": self.proxy.settings(),
                "space": described(self.space),
                "search_seed": self.seed,
            }
        )
