"""A frozen backbone's features of the trial's images, and reading a classifier on them: shared by kNN, probe
and LP-FT."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.methods.base import Context
from headstart.models import load_model
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.models.weights import start_hash
from headstart.types import Features, Predictions

RANDOM_START_SEED = 0  # of an untrained backbone: one for all trials, so that its features are computed once


def backbone_hash(weights: str, model: str) -> str:
    """What identifies the weights of a frozen network: those named, or where there are none the random ones
    it keeps."""
    return start_hash(weights, model, RANDOM_START_SEED)


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures:
    """Pooled features of the training images, the test images and the mirrored test images (None where no
    test is read)."""

    train: Extraction
    test: Extraction | None
    mirrored: Extraction | None

    @property
    def parts(self) -> list[Extraction]:
        return [part for part in (self.train, self.test, self.mirrored) if part is not None]

    @property
    def seconds(self) -> float:
        """Wall seconds of computing them, cold."""
        return math.fsum(part.seconds for part in self.parts)

    @property
    def cached_seconds(self) -> float:
        return math.fsum(part.seconds for part in self.parts if part.was_cached)

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.parts)


def training_features(context: Context) -> Extraction:
    """Of all training images (labels are not looked at), from the cache where it has them."""
    return _extract(context, "training")


def frozen_features(context: Context) -> FrozenFeatures:
    """All parts that are read; their cold seconds are put down as the trial's phase "features"."""
    found = FrozenFeatures(
        train=_extract(context, "training"),
        test=_extract(context, "test") if context.reads_test else None,
        mirrored=_extract(context, "test", mirrored=True) if context.reads_test else None,
    )
    context.watch.carry("features", found.seconds)
    context.watch.carry_joules(part.joules for part in found.parts if part.was_cached)
    return found


def _extract(context: Context, part: str, mirrored: bool = False) -> Extraction:
    arm, data = context.trial.arm, context.dataset
    model = load_model(arm.model, arm.weights, seed=RANDOM_START_SEED, image_pixels=arm.input_pixels)
    layers = FrozenLayers(
        network=model,
        precision=context.trial.feature_precision,
        device=context.device,
        calibration=data.train,
    )
    images = data.train if part == "training" else data.test
    request = FeatureRequest(layers=layers, images=images, mirrored=mirrored)
    return request.extract(f"{arm.model} features of the {'mirrored ' if mirrored else ''}{part} images")


def read_all(
    context: Context,
    found: FrozenFeatures,
    logits: Callable[[Features, NDArray[np.int64] | None], NDArray[np.float32]],
) -> dict[str, Predictions]:
    """Predictions on the training sample, validation (where there is one) and test (both views).

    logits(features, ids): float32 (len(ids), C), of all rows where ids is None."""
    train = found.train.features
    parts = {
        name: Predictions(logits=logits(train, ids), labels=train.labels[ids], example_ids=ids)
        for name, ids in (("train", context.sample_ids), ("val", context.val_ids))
        if len(ids)
    }
    if found.test is None or found.mirrored is None:
        return parts
    test = found.test.features
    plain = logits(test, None)
    parts["test"] = Predictions(
        logits=plain,
        labels=test.labels,
        example_ids=np.arange(len(test.labels)),
        flip_logits=(plain + logits(found.mirrored.features, None)) * np.float32(0.5),
    )
    return parts
