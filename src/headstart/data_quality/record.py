"""What is known of a dataset's health: health.json (settings, counts) and health.npz (pairs, suspects, pixels
to show).

Torch-free: a report reads it from the study's folder alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.duplicates import components
from headstart.errors import StoreError
from headstart.store import read_json, read_npz, write_json, write_npz

EXACT, PERCEPTUAL, FEATURES = 1, 2, 4  # bits of Pairs.by: which way found a pair
Where = Literal["train", "test", "across"]
WHERE: tuple[Where, ...] = ("across", "test", "train")


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of images that show the same: places int64 (P, 2), first < second, training images first, then
    the test images.

    labels: int64 (P, 2). by: uint8 (P,), bits EXACT, PERCEPTUAL and FEATURES. distance: uint8 (P,), differing
    bits of the two 64-bit hashes. similarity: float32 (P,), of their features; NaN without features."""

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    by: NDArray[np.uint8]
    distance: NDArray[np.uint8]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Training images whose label looks wrong, most suspicious first: ids int64 (M,), their given and
    suggested labels int64 (M,), and the probability float32 (M,) that a probe which never saw the image gives
    to each of the two."""

    ids: NDArray[np.int64]
    given: NDArray[np.int64]
    suggested: NDArray[np.int64]
    given_probability: NDArray[np.float32]
    suggested_probability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, kw_only=True)
class Health:
    """dataset: name, title, fingerprint, class_names, train_images, test_images. settings: all that the
    findings depend on.
    suspects: None where no labels were checked. pictures: place (as in Pairs) -> uint8 (H, W, 3)."""

    dataset: Mapping[str, Any]
    settings: Mapping[str, Any]
    pairs: Pairs
    suspects: Suspects | None
    seconds: float
    pictures: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def train_images(self) -> int:
        return int(self.dataset["train_images"])

    def chosen(self, where: Where, by: int = EXACT | PERCEPTUAL | FEATURES) -> NDArray[np.bool_]:
        """bool (P,): pairs within train, within test or across both that one of these ways found."""
        of_test = self.pairs.places >= self.train_images
        inside = {
            "train": ~of_test.any(axis=1),
            "test": of_test.all(axis=1),
            "across": of_test[:, 0] != of_test[:, 1],
        }
        return inside[where] & ((self.pairs.by & by) > 0)

    def affected_test_ids(self, by: int = EXACT | PERCEPTUAL | FEATURES) -> NDArray[np.int64]:
        """Sorted positions in the test set of images that the training set has too, as these ways see it."""
        return np.unique(self.pairs.places[self.chosen("across", by), 1] - self.train_images)

    def counts(self) -> dict[str, dict[str, int]]:
        """For across, test and train: pairs by each way, all of them, those with two labels, and surplus
        images (what would go if of every group one were kept; across: test images that the training set
        has)."""
        answer: dict[str, dict[str, int]] = {}
        for where in WHERE:
            inside = self.chosen(where)
            two = int((self.pairs.labels[inside, 0] != self.pairs.labels[inside, 1]).sum())
            surplus = (
                len(self.affected_test_ids()) if where == "across" else _surplus(self.pairs.places[inside])
            )
            ways = {
                name: int(self.chosen(where, by).sum())
                for name, by in (("exact", EXACT), ("perceptual", PERCEPTUAL), ("features", FEATURES))
            }
            answer[where] = ways | {"pairs": int(inside.sum()), "two_labels": two, "images": surplus}
        return answer


def _surplus(places: NDArray[np.int64]) -> int:
    known, small = np.unique(places, return_inverse=True)
    group = components(small.reshape(places.shape), len(known))
    return len(known) - (int(group.max()) + 1 if len(known) else 0)


def write_health(folder: Path, health: Health) -> None:
    """Writes health.npz, then health.json (which says that both are there). Raises: StoreError."""
    arrays: dict[str, NDArray] = {
        f"pairs_{name}": getattr(health.pairs, name) for name in Pairs.__dataclass_fields__
    }
    if health.suspects is not None:
        arrays |= {
            f"suspects_{name}": getattr(health.suspects, name) for name in Suspects.__dataclass_fields__
        }
    places = sorted(health.pictures)
    arrays["pictures_places"] = np.array(places, np.int64)
    if places:
        arrays["pictures"] = np.stack([health.pictures[place] for place in places])
    write_npz(folder / "health.npz", arrays)
    write_json(
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
    """What a folder holds, None where its data was not examined. Raises: StoreError where the files are
    damaged."""
    if not (folder / "health.json").is_file():
        return None
    value, path = read_json(folder / "health.json"), folder / "health.npz"
    advice = "delete it and health.json and examine the data again"
    arrays = read_npz(path, advice)
    try:
        pairs = Pairs(**{name: arrays[f"pairs_{name}"] for name in Pairs.__dataclass_fields__})
        suspects = None
        if value["suspects"] is not None:
            suspects = Suspects(
                **{name: arrays[f"suspects_{name}"] for name in Suspects.__dataclass_fields__}
            )
        pictures = dict(zip(arrays["pictures_places"].tolist(), arrays.get("pictures", ()), strict=True))
        return Health(
            dataset=value["dataset"],
            settings=value["settings"],
            pairs=pairs,
            suspects=suspects,
            seconds=value["seconds"],
            pictures=pictures,
        )
    except (ValueError, KeyError) as error:
        raise StoreError(f"cannot read {path}: {error}; {advice}") from error


# ---------------------------------------------------------------- what is shown

_PAIRS_SHOWN, _SUSPECTS_SHOWN = 12, 24


def shown_pairs(health: Health) -> dict[str, NDArray[np.int64]]:
    """Rows of health.pairs that galleries show, by gallery: "surest" and "edge" are the most and the least
    alike pairs across train and test (the least alike that hashes found, then those that features alone did),
    "two_labels" the most alike ones, anywhere, whose labels differ. Orders are total."""
    pairs = health.pairs
    # Without features the hash decides; -1 to 0, below every similarity that counts.
    alike = np.where(np.isnan(pairs.similarity), -pairs.distance / 64.0, pairs.similarity)
    exact = (pairs.by & EXACT) > 0
    first_alike = np.lexsort((pairs.places[:, 1], pairs.places[:, 0], -alike, ~exact))
    across, differ = health.chosen("across"), pairs.labels[:, 0] != pairs.labels[:, 1]
    ranked = first_alike[across[first_alike]]
    rest = ranked[_PAIRS_SHOWN:][::-1]
    by_hash, alone = rest[(pairs.by[rest] & (EXACT | PERCEPTUAL)) > 0], rest[pairs.by[rest] == FEATURES]
    return {
        "surest": ranked[:_PAIRS_SHOWN],
        "edge": np.concatenate([by_hash[: _PAIRS_SHOWN // 2], alone[: _PAIRS_SHOWN // 2]]),
        "two_labels": first_alike[differ[first_alike]][:_PAIRS_SHOWN],
    }


def shown_places(health: Health) -> NDArray[np.int64]:
    """Sorted places of all images that galleries show."""
    places = [health.pairs.places[rows].ravel() for rows in shown_pairs(health).values()]
    if health.suspects is not None:
        places.append(health.suspects.ids[:_SUSPECTS_SHOWN])
    return np.unique(np.concatenate(places)).astype(np.int64)
