"""Hold out images for testing: what belongs together stays together, whatever the files are called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data import duplicates

TEST_FRACTION = 0.2


def units_of(
    near: NDArray[np.int64], digests: Sequence[str], groups: Sequence[str | None]
) -> NDArray[np.int64]:
    """Number the units of images that belong together, int64 (N,).

    Near duplicates, exact duplicates and the user's groups are joined. near: int64 (P, 2), pairs of near
    duplicates. digests, groups: one for each image."""
    pairs = [near]
    for keys in (
        digests,
        [f"image {place}" if group is None else f"group {group}" for place, group in enumerate(groups)],
    ):
        for places in duplicates.exact_groups(keys):
            pairs.append(np.stack([places[:-1], places[1:]], axis=1))
    return duplicates.components(np.concatenate(pairs), len(digests))


def hold_out(
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
    digests: Sequence[str],
    fraction: float = TEST_FRACTION,
) -> NDArray[np.bool_]:
    """Mask of the images held out: bool (N,). No unit is divided and every class keeps an image for training.

    labels, units: int64 (N,). digests: of the pixels; with labels and units they decide everything. Each
    class gives the rounded fraction of its images, at least one, as far as its units allow: never more,
    unless it would give none (then the unit that exceeds least). A class whose images are all one unit gives
    none.

    scikit-learn's StratifiedGroupKFold balances whole folds and does not do this (docs/decisions/0018): a
    class that is one group may land in the test fold, and then has no training image.
    """
    count = int(labels.max(initial=-1)) + 1
    totals = np.bincount(labels, minlength=count)
    target = np.maximum(1, np.round(fraction * totals)).astype(np.int64)
    held = np.zeros(count, np.int64)
    members: dict[int, list[int]] = {}
    for place, unit in enumerate(units.tolist()):
        members.setdefault(unit, []).append(place)
    needs = {unit: np.unique(labels[places], return_counts=True) for unit, places in members.items()}
    ranked = sorted(members, key=lambda unit: (_rank(digests[place] for place in members[unit]), unit))
    chosen: set[int] = set()

    def leaves_some(unit: int) -> bool:
        classes, sizes = needs[unit]
        return bool((totals[classes] - held[classes] > sizes).all())

    def take(unit: int) -> None:
        classes, sizes = needs[unit]
        held[classes] += sizes
        chosen.add(unit)

    def excess(unit: int) -> int:
        classes, sizes = needs[unit]
        return int(np.maximum(held[classes] + sizes - target[classes], 0).sum())

    for unit in ranked:
        if not excess(unit) and leaves_some(unit):
            take(unit)
    for label in np.flatnonzero((held == 0) & (totals > 0)).tolist():
        possible = [
            unit for unit in ranked if unit not in chosen and label in needs[unit][0] and leaves_some(unit)
        ]
        if possible and not held[label]:
            take(min(possible, key=excess))
    return np.isin(units, sorted(chosen))


def _rank(digests: Iterable[str]) -> bytes:
    """Random rank of a unit in the draw; the names and places of its files do not matter."""
    return hashlib.sha256(b"headstart hold-out 1 " + "".join(sorted(digests)).encode()).digest()
