"""Examine a dataset: duplicates within and across train and test, and labels that look wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import duplicates
from headstart.data.splits import FOLDS
from headstart.data_quality import label_errors
from headstart.data_quality.record import (
    EXACT,
    FEATURES,
    PERCEPTUAL,
    Health,
    Pairs,
    Suspects,
    read_health,
    shown_places,
    write_health,
)
from headstart.data_quality.similarity import FeatureRows, aligned_correlation, similar_pairs
from headstart.errors import ConfigError, DataError, DownloadError, StoreError, WeightsError
from headstart.registry.methods import FeatureUse, stored_method
from headstart.runtime import progress
from headstart.store import StoredArm, StudyRecord
from headstart.types import Arm, Dataset, Features

SCHEMA = 1  # raise it when the same data would give another result
# (similarity of centred features, correlation of the aligned images): a pair must reach both numbers of one
# row. Chosen on sight of CIFAR-10's pairs (ResNet-50 at 96 pixels), see docs/decisions/0011. Features alone
# call images with the same frame duplicates, and below 0.85 different horses on different meadows begin.
ALIKE = ((0.9, 0.65), (0.85, 0.85))


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The frozen network whose features are compared. precision: "bf16", "fp32" or "int8"."""

    model: str
    weights: str
    input_pixels: int | None
    precision: str


def default_backbone() -> Backbone:
    """The backbone for a study without frozen features of its own."""
    from headstart.runtime.precision import default_device, resolve_feature_precision

    return Backbone(
        model="resnet50",
        weights="imagenet-keras",
        input_pixels=96,
        precision=resolve_feature_precision("auto", default_device()),
    )


def backbone_of(arms: Sequence[Arm | StoredArm], feature_precision: str = "auto") -> Backbone:
    """The backbone whose features a study's arms have cached; default_backbone where there is none."""
    from headstart.runtime.precision import default_device, resolve_feature_precision

    # Features of all images first, the test images' too; among those the method that learns more from them.
    for uses in (FeatureUse.ALL_IMAGES, FeatureUse.TRAINING_IMAGES):
        for arm in sorted(arms, key=lambda arm: -(stored_method(arm.method).depth or 0)):
            if stored_method(arm.method).features is uses and arm.is_pretrained:
                return Backbone(
                    model=arm.model,
                    weights=arm.weights,
                    input_pixels=arm.input_pixels,
                    precision=resolve_feature_precision(feature_precision, default_device()),
                )
    return default_backbone()


def examine_into(folder: Path, dataset: Dataset, backbone: Backbone) -> Health:
    """Examine a dataset and write the result into a folder; read the result that the folder already holds.

    A stored result counts when its data and settings are the same.
    Raises: as `examine`; StoreError where the folder cannot be written."""
    health = stored_health(folder, dataset, backbone)
    if health is None:
        health = examine(dataset, backbone)
        write_health(folder, health)
    return health


def stored_health(folder: Path, dataset: Dataset, backbone: Backbone) -> Health | None:
    """Read the examination that a folder holds of the same data and settings, if any; a damaged one, which is
    announced, counts as none."""
    try:
        health = read_health(folder)
    except StoreError as error:
        progress.say(f"{error}. The data are examined anew")
        return None
    return health if health is not None and dict(health.settings) == _settings(dataset, backbone) else None


def examine(dataset: Dataset, backbone: Backbone) -> Health:
    """Find pairs of images that show the same, and training labels that look wrong.

    Without the backbone's weights, hashes alone are compared and no label is checked; without cleanlab no
    label is checked. `settings` says so."""
    started = time.perf_counter()
    settings = _settings(dataset, backbone)
    features = None
    try:
        features = _features(dataset, backbone)
    except (DownloadError, WeightsError) as error:
        progress.say(f"without features: {error}")
        settings = _settings(dataset, None)
    pairs = _pairs(dataset, features)
    suspects = (
        _suspects(features[0], pairs, len(dataset.train.class_names))
        if features is not None and settings["labels"]
        else None
    )
    described = {
        "name": dataset.name,
        "title": dataset.title,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.train.class_names),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
    }
    health = Health(
        dataset=described,
        settings=settings,
        pairs=pairs,
        suspects=suspects,
        seconds=time.perf_counter() - started,
    )
    images = {int(place): _image(dataset, int(place)) for place in shown_places(health)}
    return dataclasses.replace(health, images=images)


def _settings(dataset: Dataset, backbone: Backbone | None) -> dict[str, Any]:
    """All that the result depends on, as it will be read back from JSON."""
    settings: dict[str, Any] = {
        "schema": SCHEMA,
        "fingerprint": dataset.fingerprint,
        "max_distance": duplicates.MAX_DISTANCE,
        "min_correlation": duplicates.MIN_CORRELATION,
        "features": None,
        "labels": None,
    }
    if backbone is None:
        return settings
    from headstart.models.weights import weights_hash

    settings["features"] = dataclasses.asdict(backbone) | {
        "weights_hash": weights_hash(backbone.weights, backbone.model)
    }
    settings["alike"] = [list(least) for least in ALIKE]
    if checks_labels(dataset):
        settings["labels"] = {"folds": FOLDS, "l2_values": list(label_errors.L2_VALUES)}
    return settings


def checks_labels(dataset: Dataset) -> bool:
    """Whether an examination with features looks for label errors."""
    import importlib.util

    return importlib.util.find_spec("cleanlab") is not None and len(dataset.train.class_names) > 1


def _features(dataset: Dataset, backbone: Backbone) -> tuple[Features, Features]:
    """Compute the features of the training and the test images, or read those that trials have cached."""
    from headstart.models import load_model
    from headstart.models.features import FeatureRequest, FrozenLayers
    from headstart.runtime.precision import default_device

    layers = FrozenLayers(
        network=load_model(backbone.model, backbone.weights, image_pixels=backbone.input_pixels),
        precision=backbone.precision,
        device=default_device(),
        calibration=dataset.train,
    )
    train, test = (
        FeatureRequest(layers=layers, images=part).extract(f"{backbone.model} features of the {name} images")
        for part, name in ((dataset.train, "training"), (dataset.test, "test"))
    )
    return train.features, test.features


def _pairs(dataset: Dataset, features: tuple[Features, Features] | None) -> Pairs:
    """Find all pairs that bytes, hashes or features call the same image."""
    parts = (dataset.train.images, dataset.test.images)
    count = len(dataset.train) + len(dataset.test)
    progress.say("comparing images")
    digests = []
    with progress.track("hashing contents", count, "images") as bar:
        for image in itertools.chain(*parts):
            digests.append(hashlib.sha256(np.ascontiguousarray(image).data).digest())
            bar.advance()
    exact = [
        pair
        for group in duplicates.exact_groups(digests)
        for pair in itertools.combinations(group.tolist(), 2)
    ]
    hashes = np.concatenate([duplicates.perceptual_hashes(part) for part in parts])
    small = np.concatenate([duplicates.small_versions(part) for part in parts])
    near = duplicates.near_pairs(hashes)
    near = near[duplicates.confirmed(small, near)]
    rows = FeatureRows([part.values for part in features]) if features is not None else None
    pairs_by_bit = {EXACT: np.array(exact, np.int64).reshape(-1, 2), PERCEPTUAL: near}
    pairs_by_bit[FEATURES] = _alike(rows, small)
    keys = {bit: pairs[:, 0] * count + pairs[:, 1] for bit, pairs in pairs_by_bit.items()}
    all_keys = np.unique(np.concatenate(list(keys.values())))
    by = np.zeros(len(all_keys), np.uint8)
    for bit, some in keys.items():
        by[np.isin(all_keys, some)] |= bit
    places = np.stack([all_keys // count, all_keys % count], axis=1).astype(np.int64)
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    return Pairs(
        places=places,
        labels=labels[places],
        by=by,
        distance=np.bitwise_count(hashes[places[:, 0]] ^ hashes[places[:, 1]]).astype(np.uint8),
        similarity=np.full(len(places), np.nan, np.float32) if rows is None else rows.similarities(places),
    )


def _alike(rows: FeatureRows | None, small: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs int64 (P, 2) that features propose and aligned images confirm."""
    if rows is None:
        return np.zeros((0, 2), np.int64)
    places, similarity = similar_pairs(rows, min(min_similarity for min_similarity, _ in ALIKE))
    correlation = aligned_correlation(small, places)
    confirmed = [
        (similarity >= min_similarity) & (correlation >= min_correlation)
        for min_similarity, min_correlation in ALIKE
    ]
    return places[np.any(confirmed, axis=0)]


def _suspects(train: Features, pairs: Pairs, num_classes: int) -> Suspects:
    """Find training labels that contradict a probe which saw neither the image nor a duplicate of it."""
    labels = np.asarray(train.labels)
    inside = pairs.places[(pairs.places < len(labels)).all(axis=1)]
    units = duplicates.components(inside, len(labels))
    doubtful = label_errors.find_label_errors(train.values, labels, units, num_classes=num_classes)
    return Suspects(
        ids=doubtful.places,
        given=labels[doubtful.places],
        suggested=doubtful.suggested,
        given_probability=doubtful.given_probability.astype(np.float32),
        suggested_probability=doubtful.suggested_probability.astype(np.float32),
    )


def _image(dataset: Dataset, place: int) -> NDArray[np.uint8]:
    """The pixels at a place (as in Pairs), uint8 (H, W, 3), in memory."""
    count = len(dataset.train)
    return np.array(dataset.train.images[place] if place < count else dataset.test.images[place - count])


def require_same_data(folder: Path, dataset: Dataset) -> StudyRecord | None:
    """Read the study of a folder that holds one of this dataset; None where it holds no study.

    Raises: DataError where its study is of other data; ConfigError where the folder is a file."""
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; give a folder with --out")
    if not store.has_study(folder):
        return None
    study = store.read_study(folder)
    if study.dataset.fingerprint != dataset.fingerprint:
        raise DataError(
            f"{folder} holds a study of {study.dataset.title}, not of {dataset.title}; give another --out"
        )
    return study
