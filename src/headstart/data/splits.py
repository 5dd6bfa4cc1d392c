"""Draw a trial's training and validation images: pure functions of the labels and the dataset's fingerprint.

Every draw ranks the images of one class by random 64-bit numbers from PCG64 seeded with SHA-256 of the draw's
parts. The raw numbers, not numpy's shuffles, because only the raw stream is promised to stay the same across
numpy versions. All ids are int64 positions in the training set, sorted. scikit-learn's splitters give other
ids (docs/decisions/0018).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.grouped import hold_out
from headstart.errors import ConfigError, DataError
from headstart.types import ImageSet

Ids = NDArray[np.int64]

VALIDATION_IMAGES = 5000
_FEWEST = 10  # training images of which a tenth is an image
_ENOUGH = 20  # images of a class
FOLDS = 5  # of cross-validation, wherever folds are asked for


def validation_split(
    labels: NDArray[np.int64],
    fingerprint: str,
    count: int = VALIDATION_IMAGES,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Ids, Ids]:
    """Draw `count` images for validation and leave the rest for training: (train_ids, val_ids).

    labels: int64 (N,), of the whole training set. Each class gives its exact proportion of `count`, rounded
    by largest remainder (ties: the lower class first). The draw depends on the fingerprint alone.
    groups: int64 (N,) or None; where given, a group is never divided, and counts are met as nearly as the
    groups allow.
    Raises: ConfigError where `count` is not in [1, N) or would leave a class without training images.
    """
    if not 0 < count < len(labels):
        raise ConfigError(
            f"{count:,} validation images asked of {len(labels):,}; choose 1 to {len(labels) - 1:,}"
        )
    sizes = np.bincount(labels)
    for label in np.flatnonzero(sizes == 0):
        raise ConfigError(f"class {label} has no images; every class from 0 to {len(sizes) - 1} needs some")
    if groups is not None:
        held = hold_out(
            labels, groups, [f"{fingerprint} {place}" for place in range(len(labels))], count / len(labels)
        )
        return np.flatnonzero(~held), np.flatnonzero(held)
    quotas, remainders = np.divmod(count * sizes, len(labels))
    extra = np.argsort(-remainders, kind="stable")[: count - quotas.sum()]
    quotas[extra] += 1
    for label in np.flatnonzero(quotas >= sizes):
        raise ConfigError(
            f"{count:,} validation images would take all {sizes[label]} of class {label}; choose fewer"
        )
    val_ids = np.sort(
        np.concatenate(
            [_ranked(labels, label, fingerprint, "validation")[:quota] for label, quota in enumerate(quotas)]
        )
    )
    return np.setdiff1d(np.arange(len(labels)), val_ids), val_ids


def split_for_choosing(train: ImageSet) -> tuple[Ids, Ids]:
    """A training set's images to learn from and those kept for choosing: (train_ids, val_ids).

    Raises: DataError naming the class that has too few, and how many to collect."""
    sizes = np.bincount(train.labels, minlength=len(train.class_names))
    smallest = int(sizes.argmin())
    name, fewest = train.class_names[smallest], int(sizes[smallest])
    count = validation_count(len(train))
    if count < 1:
        raise DataError(
            f"{len(train)} images to train on are too few: a tenth is kept for choosing, and class "
            f"{name!r} has "
            f"{fewest}; collect {_FEWEST - len(train)} more in all, {_ENOUGH} a class for an accuracy "
            "that says "
            "something"
        )
    try:
        return validation_split(train.labels, train.fingerprint, count, train.groups)
    except ConfigError as error:
        raise DataError(
            f"class {name!r} has {fewest} {'image' if fewest == 1 else 'images'} to train on, and one is "
            "needed to "
            f"learn from and one for choosing; collect {max(1, 2 - fewest)} more of each such class "
            f"({_ENOUGH} for "
            "an accuracy that says something), or remove it"
        ) from error


def validation_count(images: int) -> int:
    """Number of validation images for a training set: VALIDATION_IMAGES, a tenth of a small set."""
    return VALIDATION_IMAGES if images > 2 * VALIDATION_IMAGES else images // 10


def label_subset(
    labels: NDArray[np.int64],
    train_ids: Ids,
    fingerprint: str,
    seed: int,
    labels_per_class: int | None,
    class_names: Sequence[str] | None = None,
) -> Ids:
    """Draw `labels_per_class` training images of each class; all of train_ids where it is None.

    labels: int64 (N,), of the whole training set. A class's order depends on (fingerprint, seed, class)
    alone, so every arm gets the same subset, and the subsets of one seed nest as the label budget grows.
    class_names: for the messages only.
    Raises: ConfigError where a class has fewer images in train_ids than asked for.
    """
    if labels_per_class is None:
        return np.sort(train_ids)
    if labels_per_class < 1:
        raise ConfigError(f'labels_per_class is {labels_per_class}; it must be at least 1, or "all"')
    classes = len(class_names) if class_names is not None else int(labels.max()) + 1
    allowed = np.zeros(len(labels), bool)
    allowed[train_ids] = True
    chosen = []
    for label in range(classes):
        ranked = _ranked(labels, label, fingerprint, "subset", seed)
        ranked = ranked[allowed[ranked]]
        if len(ranked) < labels_per_class:
            name = f"class {class_names[label]!r}" if class_names is not None else f"class {label}"
            raise ConfigError(
                f"{labels_per_class} labels per class asked for, but {name} has {len(ranked)} training "
                "images; "
                f"choose {len(ranked)} or fewer"
                if len(ranked)
                else f"{labels_per_class} labels per class asked for, but {name} has no training images"
            )
        chosen.append(ranked[:labels_per_class])
    return np.sort(np.concatenate(chosen))


def stratified_folds(
    labels: NDArray[np.int64], ids: Ids, folds: int, fingerprint: str, seed: int
) -> list[tuple[Ids, Ids]]:
    """Divide `ids` into folds: (train_ids, val_ids) for each.

    The val_ids are disjoint and cover all of `ids`. Each class is dealt evenly, starting at the fold where
    the class before stopped: fold sizes differ by at most one, in each class and altogether.
    Raises: ConfigError where folds is under 2 or a class in `ids` has fewer images than folds."""
    if folds < 2:
        raise ConfigError(f"{folds} folds asked for; at least 2 are needed")
    allowed = np.zeros(len(labels), bool)
    allowed[ids] = True
    fold_of = np.full(len(labels), -1)
    dealt = 0
    for label in np.unique(labels[ids]):
        ranked = _ranked(labels, int(label), fingerprint, "folds", seed)
        ranked = ranked[allowed[ranked]]
        if len(ranked) < folds:
            raise ConfigError(
                f"{folds} folds asked for, but class {label} has {len(ranked)} images; use {len(ranked)} "
                "folds or fewer"
            )
        fold_of[ranked] = (dealt + np.arange(len(ranked))) % folds
        dealt += len(ranked)
    return [
        (np.flatnonzero((fold_of >= 0) & (fold_of != fold)), np.flatnonzero(fold_of == fold))
        for fold in range(folds)
    ]


def class_weights(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """Weight the classes so that all count alike: float64 (num_classes,).

    The mean over images is 1; a class without images weighs 0."""
    counts = np.bincount(labels, minlength=num_classes)
    present = int((counts > 0).sum())
    return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 0.0)


def _ranked(labels: NDArray[np.int64], label: int, *parts: str | int) -> Ids:
    """Ids of one class in an order that depends on `parts` and the class alone."""
    ids = np.flatnonzero(labels == label)
    seed = hashlib.sha256(json.dumps(["headstart split 1", *parts, int(label)]).encode()).digest()
    numbers = np.random.PCG64(int.from_bytes(seed, "little")).random_raw(len(ids))
    return ids[np.argsort(numbers, kind="stable")]


def fold_numbers(
    labels: NDArray[np.int64], units: NDArray[np.int64], folds: int = FOLDS, repetition: int = 0
) -> NDArray[np.int64]:
    """Assign each image to a fold, int64 (N,) in [0, folds): units stay together, classes are spread evenly.

    labels, units: int64 (N,). Units are dealt in a fixed random order, each to the fold that has fewest
    images of its first class. repetition: another number gives another order."""
    salt = f" {repetition}" if repetition else ""
    fold_of = np.zeros(len(labels), np.int64)
    members: dict[int, list[int]] = {}
    for place, unit in enumerate(units.tolist()):
        members.setdefault(unit, []).append(place)
    sizes = np.zeros((int(labels.max(initial=0)) + 1, folds), np.int64)
    for unit in sorted(
        members, key=lambda unit: hashlib.sha256(f"headstart folds 1 {unit}{salt}".encode()).digest()
    ):
        places = members[unit]
        label = int(labels[places[0]])
        fold = int(np.lexsort((sizes.sum(axis=0), sizes[label]))[0])
        fold_of[places] = fold
        sizes[:, fold] += np.bincount(labels[places], minlength=len(sizes))
    return fold_of
