"""Finding what is wrong with a dataset: copies within and across train and test, and labels that look
wrong."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import time
from collections.abc import Mapping
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
from headstart.errors import ConfigError, DataError, DownloadError, WeightsError
from headstart.registry.methods import FeatureUse, stored_method
from headstart.runtime import progress
from headstart.types import Dataset, Features

SCHEMA = 1  # raised when the same data would give other findings
# (similarity of centred features, correlation of the aligned pictures) that a pair must reach, one of the
# two; chosen on sight of CIFAR-10's pairs (ResNet-50 at 96 pixels), see docs/decisions/0011. Features alone
# take one frame for one picture, and below 0.85 different horses on different meadows begin.
ALIKE = ((0.9, 0.65), (0.85, 0.85))


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The frozen network whose features are compared. precision: "bf16", "fp32" or "int8"."""

    model: str
    weights: str
    input_pixels: int | None
    precision: str


def default_backbone() -> Backbone:
    """What is used where a study has no frozen features of its own."""
    from headstart.runtime.precision import default_device, resolve_feature_precision

    return Backbone(
        model="resnet50",
        weights="imagenet-keras",
        input_pixels=96,
        precision=resolve_feature_precision("auto", default_device()),
    )


def backbone_of(study: Mapping[str, Any]) -> Backbone:
    """The backbone whose features a study's own arms have cached, where there is one. study: as in
    study.json."""
    from headstart.runtime.precision import default_device, resolve_feature_precision

    # Features of all images first, the test images' too; among those the method that learns more from them.
    for uses in (FeatureUse.ALL_IMAGES, FeatureUse.TRAINING_IMAGES):
        for arm in sorted(study["arms"], key=lambda arm: -(stored_method(arm["method"]).depth or 0)):
            if stored_method(arm["method"]).features is uses and arm["weights"] != "none":
                precision = resolve_feature_precision(
                    study.get("feature_precision", "auto"), default_device()
                )
                return Backbone(
                    model=arm["model"],
                    weights=arm["weights"],
                    input_pixels=arm["input_pixels"],
                    precision=precision,
                )
    return default_backbone()


def examine_into(folder: Path, dataset: Dataset, backbone: Backbone) -> Health:
    """Examines a dataset into a folder, or reads what is there already of the same data and settings.

    Raises: as `examine`; StoreError where the folder cannot be written."""
    known = known_health(folder, dataset, backbone)
    if known is None:
        known = examine(dataset, backbone)
        write_health(folder, known)
    return known


def known_health(folder: Path, dataset: Dataset, backbone: Backbone) -> Health | None:
    """What a folder holds already of the same data and settings."""
    known = read_health(folder)
    return known if known is not None and dict(known.settings) == _settings(dataset, backbone) else None


def examine(dataset: Dataset, backbone: Backbone) -> Health:
    """Pairs of images that show the same, and training labels that look wrong.

    Where the backbone's weights are not to be had, hashes alone are compared and no label is checked; without
    cleanlab no label is checked: `settings` says so."""
    started = time.perf_counter()
    settings = _settings(dataset, backbone)
    found = None
    try:
        found = _features(dataset, backbone)
    except (DownloadError, WeightsError) as error:
        progress.say(f"without features: {error}")
        settings = _settings(dataset, None)
    pairs = _pairs(dataset, found)
    suspects = (
        _suspects(found[0], pairs, len(dataset.train.class_names))
        if found is not None and settings["labels"]
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
    pictures = {int(place): np.array(_image(dataset, int(place))) for place in shown_places(health)}
    return dataclasses.replace(health, pictures=pictures)


def _settings(dataset: Dataset, backbone: Backbone | None) -> dict[str, Any]:
    """All that the findings depend on, as it will be read back from JSON."""
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
    """Of the training and the test images, under the keys that trials use: what they have cached is read."""
    from headstart.models import features, load_model
    from headstart.models.weights import weights_hash
    from headstart.runtime.precision import default_device

    model = load_model(backbone.model, backbone.weights, image_pixels=backbone.input_pixels)
    train, test = (
        features.extract(
            model,
            part,
            weights_hash=weights_hash(backbone.weights, backbone.model),
            precision=backbone.precision,
            device=default_device(),
            calibration=dataset.train,
            what=f"{backbone.model} features of the {name} images",
        )
        for part, name in ((dataset.train, "training"), (dataset.test, "test"))
    )
    return train.features, test.features


def _pairs(dataset: Dataset, found: tuple[Features, Features] | None) -> Pairs:
    """All pairs that bytes, hashes or features call the same picture."""
    parts = (dataset.train.images, dataset.test.images)
    count = len(dataset.train) + len(dataset.test)
    progress.say("comparing images")
    digests = [hashlib.sha256(np.ascontiguousarray(image).data).digest() for part in parts for image in part]
    exact = [
        pair
        for group in duplicates.exact_groups(digests)
        for pair in itertools.combinations(group.tolist(), 2)
    ]
    hashes = np.concatenate([duplicates.perceptual_hashes(part) for part in parts])
    small = np.concatenate([duplicates.small_versions(part) for part in parts])
    near = duplicates.near_pairs(hashes)
    near = near[duplicates.confirmed(small, near)]
    rows = FeatureRows([part.values for part in found]) if found is not None else None
    ways = [np.array(exact, np.int64).reshape(-1, 2), near, _alike(rows, small)]
    keys = [pairs[:, 0] * count + pairs[:, 1] for pairs in ways]
    every = np.unique(np.concatenate(keys))
    by = sum(
        np.isin(every, key).astype(np.uint8) * bit
        for key, bit in zip(keys, (EXACT, PERCEPTUAL, FEATURES), strict=True)
    )
    places = np.stack([every // count, every % count], axis=1).astype(np.int64)
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    return Pairs(
        places=places,
        labels=labels[places],
        by=np.asarray(by, np.uint8),
        distance=np.bitwise_count(hashes[places[:, 0]] ^ hashes[places[:, 1]]).astype(np.uint8),
        similarity=np.full(len(places), np.nan, np.float32) if rows is None else rows.similarities(places),
    )


def _alike(rows: FeatureRows | None, small: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pairs int64 (P, 2) that features propose and aligned pictures confirm."""
    if rows is None:
        return np.zeros((0, 2), np.int64)
    places, similarity = similar_pairs(rows, min(least for least, _ in ALIKE))
    correlation = aligned_correlation(small, places)
    return places[
        np.any([(similarity >= least) & (correlation >= pictures) for least, pictures in ALIKE], axis=0)
    ]


def _suspects(train: Features, pairs: Pairs, num_classes: int) -> Suspects:
    """Training labels that a probe which never saw the image, nor a copy of it, contradicts."""
    labels = np.asarray(train.labels)
    inside = pairs.places[(pairs.places < len(labels)).all(axis=1)]
    units = duplicates.components(inside, len(labels))
    found = label_errors.find_label_errors(train.values, labels, units, num_classes=num_classes)
    return Suspects(
        ids=found.places,
        given=labels[found.places],
        suggested=found.suggested,
        given_probability=found.given_probability.astype(np.float32),
        suggested_probability=found.suggested_probability.astype(np.float32),
    )


def _image(dataset: Dataset, place: int) -> NDArray[np.uint8]:
    count = len(dataset.train)
    return dataset.train.images[place] if place < count else dataset.test.images[place - count]


def require_same_data(folder: Path, dataset: Dataset) -> dict[str, Any] | None:
    """study.json where the folder holds a study of this dataset, None where it holds none.

    Raises: DataError where its study is of other data; ConfigError where the folder is a file."""
    if folder.is_file():
        raise ConfigError(f"{folder} is a file; give a folder with --out")
    if not (folder / "study.json").is_file():
        return None
    study = store.read_json(folder / "study.json")
    if study["dataset"]["fingerprint"] != dataset.fingerprint:
        raise DataError(
            f"{folder} holds a study of {study['dataset']['title']}, not of {dataset.title}; give another "
            "--out"
        )
    return study
