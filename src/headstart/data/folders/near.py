"""Near duplicates among decoded images, searched once: a million images take minutes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import duplicates
from headstart.data.folders.cache import NEAR, DecodedSource
from headstart.errors import StoreError
from headstart.store.files import write_npz
from headstart.store.reading import read_npz
from headstart.store.remedies import CACHED


def near_pairs_of(decoded: DecodedSource, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of near duplicates among the images at `places`, as positions in it: int64 (P, 2).

    The pairs of all readable images are kept beside the decoded ones."""
    pairs = _all_pairs(decoded)
    position = np.full(len(decoded.facts), -1, np.int64)
    position[places] = np.arange(len(places))
    pairs = np.sort(position[pairs], axis=1)
    return pairs[pairs[:, 0] >= 0]


def _all_pairs(decoded: DecodedSource) -> NDArray[np.int64]:
    path, count = decoded.folder / NEAR, len(decoded.facts)
    if (stored := _stored(path)) is not None and (
        not len(stored) or 0 <= stored.min() <= stored.max() < count
    ):
        return stored
    readable = np.array([n for n, fact in enumerate(decoded.facts) if fact.reason is None], np.int64)
    small = decoded.small if len(readable) == count else decoded.small[readable]
    pairs = readable[duplicates.near_duplicates(small)].reshape(-1, 2)
    with (
        suppress(StoreError),
        store.disk_errors(path.parent),
    ):  # a cache that cannot be written: searched again
        write_npz(path, {"pairs": pairs})
    return pairs


def _stored(path: Path) -> NDArray[np.int64] | None:
    """The pairs that a search has left; None where there are none, or damaged ones."""
    try:
        pairs = read_npz(path, CACHED)["pairs"] if path.exists() else None
    except (StoreError, KeyError):
        return None
    is_sound = pairs is not None and pairs.dtype == np.int64 and pairs.ndim == 2 and pairs.shape[1] == 2
    return pairs if is_sound else None
