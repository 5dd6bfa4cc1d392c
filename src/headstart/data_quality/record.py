"""Store the examination of a dataset: health.json (settings, counts), health.npz (pairs, suspects, pixels).

Torch-free: a report reads both from the study's folder alone. The fields of Pairs and Suspects are names of
arrays in health.npz.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates import components
from headstart.errors import DamagedError
from headstart.store import read_npz, write_npz, write_sealed
from headstart.store.reading import Arrays, checked, read_table
from headstart.store.remedies import HEALTH as REMEDY
from headstart.store.schema import HealthFields

EXACT, PERCEPTUAL, FEATURES = 1, 2, 4  # bits of Pairs.by: which way found a pair
Where = Literal["train", "test", "across"]
WHERE: tuple[Where, ...] = ("across", "test", "train")


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of images that show the same.

    places: int64 (P, 2), first < second; training images are numbered first, then the test images. labels:
    int64 (P, 2). by: uint8 (P,), bits EXACT, PERCEPTUAL and FEATURES. distance: uint8 (P,), differing bits of
    the two 64-bit hashes. similarity: float32 (P,), cosine of the centred features; NaN without features."""

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    by: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Training images whose label looks wrong, the surest first.

    ids: int64 (M,). given, suggested: int64 (M,), their label and the most probable class. given_probability,
    suggested_probability: float32 (M,), from a probe that was fitted without the image."""

    ids: NDArray[np.int64]
    given: NDArray[np.int64]
    suggested: NDArray[np.int64]
    given_probability: NDArray[np.float32]
    suggested_probability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Health:
    """The examination of a dataset.

    dataset: name, title, fingerprint, class_names, train_images, test_images. settings: all that the result
    depends on. suspects: None where no labels were checked. images: those that galleries show, uint8 (H, W,
    3) by place (as in Pairs)."""

    dataset: Mapping[str, Any]
    settings: Mapping[str, Any]
    pairs: Pairs
    suspects: Suspects | None
    seconds: float
    images: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def train_images(self) -> int:
        return int(self.dataset["train_images"])

    def chosen(self, where: Where, by: int = EXACT | PERCEPTUAL | FEATURES) -> NDArray[np.bool_]:
        """Mask of the pairs within train, within test or across both: bool (P,).

        by: bits of which a pair has one at least."""
        first_in_test, second_in_test = (self.pairs.places >= self.train_images).T
        inside = {
            "train": ~first_in_test & ~second_in_test,
            "test": first_in_test & second_in_test,
            "across": first_in_test != second_in_test,
        }
        mask: NDArray[np.bool_] = inside[where] & ((self.pairs.by & by) > 0)
        return mask

    def affected_test_ids(self, by: int = EXACT | PERCEPTUAL | FEATURES) -> NDArray[np.int64]:
        """Positions in the test set, sorted, of images with a duplicate in the training set by these bits."""
        return np.unique(self.pairs.places[self.chosen("across", by), 1] - self.train_images)

    def counts(self) -> dict[str, dict[str, int]]:
        """Count pairs across, in test and in train: by each bit, in all, with two labels, and surplus images.

        Surplus: the images to remove so that one of every group remains; across: test images with a duplicate
        in the training set."""
        counts: dict[str, dict[str, int]] = {}
        for where in WHERE:
            inside = self.chosen(where)
            two = int((self.pairs.labels[inside, 0] != self.pairs.labels[inside, 1]).sum())
            surplus = (
                len(self.affected_test_ids()) if where == "across" else _surplus(self.pairs.places[inside])
            )
            by_bit = {
                name: int(self.chosen(where, by).sum())
                for name, by in (("exact", EXACT), ("perceptual", PERCEPTUAL), ("features", FEATURES))
            }
            counts[where] = by_bit | {"pairs": int(inside.sum()), "two_labels": two, "images": surplus}
        return counts


def _surplus(places: NDArray[np.int64]) -> int:
    """Number of images in pairs less the number of groups that the pairs form."""
    images, numbered = np.unique(places, return_inverse=True)
    group = components(numbered.reshape(places.shape), len(images))
    return len(images) - (int(group.max()) + 1 if len(images) else 0)


def write_health(folder: Path, health: Health) -> None:
    """Write health.npz, then health.json, which marks both as complete. Raises: StoreError."""
    arrays: dict[str, NDArray[Any]] = {
        f"pairs_{name}": getattr(health.pairs, name) for name in Pairs.__dataclass_fields__
    }
    if health.suspects is not None:
        arrays |= {
            f"suspects_{name}": getattr(health.suspects, name) for name in Suspects.__dataclass_fields__
        }
    places = sorted(health.images)
    arrays["pictures_places"] = np.array(places, np.int64)
    if places:
        arrays["pictures"] = np.stack([health.images[place] for place in places])
    write_npz(folder / "health.npz", arrays)
    write_sealed(
        folder / "health.json",
        {
            "dataset": health.dataset,
            "settings": health.settings,
            "seconds": round(health.seconds, 1),
            "counts": health.counts(),
            "suspects": None if health.suspects is None else len(health.suspects),
            "affected_test_ids": health.affected_test_ids().tolist(),
        },
    )


def read_health(folder: Path) -> Health | None:
    """Read the examination in a folder; None where there is none.

    Raises: StoreError where health.npz is missing; DamagedError where a file is damaged."""
    about, path = folder / "health.json", folder / "health.npz"
    if not about.is_file():
        return None
    value = read_table(about, REMEDY)
    fields = checked(HealthFields, value, about, REMEDY)
    arrays = read_npz(path, REMEDY)
    try:
        pairs = Pairs(**{name: arrays[f"pairs_{name}"] for name in Pairs.__dataclass_fields__})
        suspects = None
        if fields.suspects is not None:
            suspects = Suspects(
                **{name: arrays[f"suspects_{name}"] for name in Suspects.__dataclass_fields__}
            )
        _require_sound(pairs, suspects, arrays, fields)
        images = dict(zip(arrays["pictures_places"].tolist(), arrays.get("pictures", ()), strict=True))
        return Health(
            dataset=value["dataset"],
            settings=value["settings"],
            pairs=pairs,
            suspects=suspects,
            seconds=value["seconds"],
            images=images,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"cannot read {path}: {error}; {REMEDY}") from error


def _require_sound(pairs: Pairs, suspects: Suspects | None, arrays: Arrays, fields: HealthFields) -> None:
    """Raises: ValueError where arrays have other shapes or types than they are written with, or name images
    or classes that the dataset has not."""
    count, images = len(pairs.places), fields.dataset.train_images + fields.dataset.test_images
    classes = len(fields.dataset.class_names)
    _require_array(pairs.places, "iu", (count, 2), images, "pairs_places")
    _require_array(pairs.labels, "iu", (count, 2), classes, "pairs_labels")
    _require_array(pairs.by, "iu", (count,), 8, "pairs_by")
    _require_array(pairs.distance, "iu", (count,), 256, "pairs_distance")
    _require_array(pairs.similarity, "f", (count,), None, "pairs_similarity")
    if suspects is not None:
        count = len(suspects.ids)
        _require_array(suspects.ids, "iu", (count,), fields.dataset.train_images, "suspects_ids")
        for name in ("given", "suggested"):
            _require_array(getattr(suspects, name), "iu", (count,), classes, f"suspects_{name}")
            _require_array(
                getattr(suspects, f"{name}_probability"), "f", (count,), None, f"suspects_{name}_probability"
            )
    shown = arrays["pictures_places"]
    _require_array(shown, "iu", (shown.size,), images, "pictures_places")
    pictures = arrays.get("pictures", np.zeros((0, 1, 1, 3), np.uint8))
    _require_array(pictures, "u", (shown.size, *pictures.shape[1:3], 3), None, "pictures")


def _require_array(
    array: NDArray[Any], kinds: str, shape: tuple[int, ...], below: int | None, name: str
) -> None:
    if array.dtype.kind not in kinds or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} {array.shape}, not {shape}")
    if below is not None and array.size and not (array.min() >= 0 and array.max() < below):
        raise ValueError(f"{name} has values outside 0 to {below - 1}")


# ---------------------------------------------------------------- what is shown

_PAIRS_SHOWN, _SUSPECTS_SHOWN = 12, 24


def shown_pairs(health: Health) -> dict[str, NDArray[np.int64]]:
    """Rows of health.pairs that galleries show, by gallery.

    "surest" and "edge" are the most and the least similar pairs across train and test (the least similar that
    hashes detect, then those that features alone detect), "two_labels" the most similar ones, anywhere, whose
    labels differ. Orders are total."""
    pairs = health.pairs
    # Without features the hash decides; -1 to 0, below every similarity that counts.
    similarity = np.where(np.isnan(pairs.similarity), -pairs.distance / 64.0, pairs.similarity)
    exact = (pairs.by & EXACT) > 0
    by_similarity = np.lexsort((pairs.places[:, 1], pairs.places[:, 0], -similarity, ~exact))
    across, differ = health.chosen("across"), pairs.labels[:, 0] != pairs.labels[:, 1]
    ranked = by_similarity[across[by_similarity]]
    rest = ranked[_PAIRS_SHOWN:][::-1]
    by_hash, by_features = rest[(pairs.by[rest] & (EXACT | PERCEPTUAL)) > 0], rest[pairs.by[rest] == FEATURES]
    return {
        "surest": ranked[:_PAIRS_SHOWN],
        "edge": np.concatenate([by_hash[: _PAIRS_SHOWN // 2], by_features[: _PAIRS_SHOWN // 2]]),
        "two_labels": by_similarity[differ[by_similarity]][:_PAIRS_SHOWN],
    }


def shown_places(health: Health) -> NDArray[np.int64]:
    """Places of all images that galleries show, sorted."""
    places = [health.pairs.places[rows].ravel() for rows in shown_pairs(health).values()]
    if health.suspects is not None:
        places.append(health.suspects.ids[:_SUSPECTS_SHOWN])
    return np.unique(np.concatenate(places)).astype(np.int64)
