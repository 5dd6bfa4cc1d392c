"""Find similar images by their features: all pairs of rows above a cosine similarity.

Every pair is decided by its full similarity. A short version of each row gives an upper bound on the
similarity, which first rules out nearly all pairs (60,000 rows of 2,048 numbers: 1.8 billion pairs).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from headstart.runtime import progress

_SHORT = 256  # numbers in a short row: the principal axes and the length of what they leave out
_SAMPLE = 8192  # rows that the axes are taken from
_CHUNK = 2048  # rows read at once: 16 MB of 2,048 float32
_TOP, _LEFT = 2048, 8192  # rows and columns of a tile of pairs: 64 MB


def similar_pairs(
    reader: FeatureRows, min_similarity: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find all pairs with at least min_similarity.

    Returns int64 (P, 2), first < second, sorted, and their similarities float32 (P,)."""
    if reader.count < 2:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    short = _short_rows(reader)
    pair_parts, similarity_parts = [], []
    tiles = [
        (top, left)
        for top in range(0, reader.count, _TOP)
        for left in range(top - top % _LEFT, reader.count, _LEFT)
    ]
    with progress.track("comparing features", len(tiles), "tiles") as bar:
        for top, left in tiles:
            first, second = _close(short[top : top + _TOP], short[left : left + _LEFT], min_similarity)
            pairs = np.stack([first + top, second + left], axis=1)
            pairs = pairs[pairs[:, 0] < pairs[:, 1]]
            similarity = reader.similarities(pairs)
            pair_parts.append(pairs[similarity >= min_similarity])
            similarity_parts.append(similarity[similarity >= min_similarity])
            bar.advance()
    pairs, similarity = np.concatenate(pair_parts).astype(np.int64), np.concatenate(similarity_parts)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return pairs[order], similarity[order]


def _close(
    rows: NDArray[np.float32], columns: NDArray[np.float32], least: float
) -> tuple[NDArray[np.int64], ...]:
    """Rows and columns of a tile of short rows where the bound on the similarity reaches `least`."""
    # A little below: float32 sums may round the bound down.
    return np.nonzero(rows @ columns.T >= least - 1e-4)


def estimated_seconds(count: int) -> float:
    """Estimate the seconds that `similar_pairs` takes for `count` rows on this machine.

    One tile of random rows is timed and stands for all pairs."""
    rng = np.random.default_rng(0)
    rows, columns = (rng.standard_normal((size, _SHORT)).astype(np.float32) for size in (_TOP, _LEFT))
    start = time.perf_counter()
    _close(rows, columns, np.inf)
    return (time.perf_counter() - start) * count**2 / 2 / (_TOP * _LEFT)


class FeatureRows:
    """Rows of several arrays (N_i, D), float16 or float32, numbered consecutively; may be memory-mapped.

    The similarity of two rows is their cosine after subtracting the mean of all rows, which all images have
    in common; a row equal to the mean has similarity 0 with every other."""

    def __init__(self, parts: Sequence[NDArray[np.floating[Any]]]) -> None:
        self.parts = list(parts)
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        self.count, self.width = int(self.starts[-1]), parts[0].shape[1]
        total = np.zeros(self.width)
        for start in range(0, self.count, _CHUNK):
            total += self._read(np.arange(start, min(start + _CHUNK, self.count))).sum(
                axis=0, dtype=np.float64
            )
        self.mean = (total / max(self.count, 1)).astype(np.float32)

    def _read(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = np.empty((len(places), self.width), np.float32)
        for part, start, stop in zip(self.parts, self.starts[:-1], self.starts[1:], strict=True):
            inside = (places >= start) & (places < stop)
            rows[inside] = part[places[inside] - start]
        return rows

    def unit(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Rows less the mean, scaled to length 1, float32 (P, D); 0 where nothing is left."""
        rows = self._read(places) - self.mean
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        # What rounding leaves of a row that equals the mean points nowhere.
        floor = 1e-5 * max(float(np.linalg.norm(self.mean)), 1e-30)
        np.divide(rows, lengths, out=rows, where=lengths > floor)
        rows[lengths[:, 0] <= floor] = 0
        return rows

    def similarities(self, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """Similarity of each pair of rows, float32 (P,). pairs: int64 (P, 2)."""
        values = np.empty(len(pairs), np.float32)
        for start in range(0, len(pairs), _CHUNK):
            part = pairs[start : start + _CHUNK]
            values[start : start + _CHUNK] = np.einsum(
                "ij,ij->i", self.unit(part[:, 0]), self.unit(part[:, 1])
            )
        return values


def _short_rows(reader: FeatureRows) -> NDArray[np.float32]:
    """Shorten the rows, float32 (N, up to 256); their inner products are upper bounds on the similarities.

    A row is p on the axes and r off them; x . y = p_x . p_y + r_x . r_y, and the last is at most |r_x|
    |r_y|."""
    axes = _axes(reader)
    short = np.empty((reader.count, axes.shape[1] + 1), np.float32)
    for start in range(0, reader.count, _CHUNK):
        rows = reader.unit(np.arange(start, min(start + _CHUNK, reader.count)))
        on = rows @ axes
        short[start : start + _CHUNK, :-1] = on
        short[start : start + _CHUNK, -1] = np.linalg.norm(rows - on @ axes.T, axis=1)
    return short


def _axes(reader: FeatureRows) -> NDArray[np.float32]:
    """Orthonormal columns float32 (D, up to 255): principal axes of an evenly spaced sample of rows."""
    sample = reader.unit(np.arange(0, reader.count, max(1, reader.count // _SAMPLE))).astype(np.float32)
    kept = min(_SHORT - 1, reader.width)
    _, axes = eigh(sample.T @ sample, subset_by_index=[reader.width - kept, reader.width - 1])
    return np.ascontiguousarray(axes, dtype=np.float32)


_CENTRE = 24  # of 32 pixels: frames and borders do not count
_SHIFT = 4  # pixels, in each direction


def aligned_correlation(small: NDArray[np.uint8], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """Correlation of the centre of a pair's first image with the second one: float32 (P,), in [-1, 1].

    small: uint8 (N, 32, 32, 3). pairs: int64 (P, 2). The largest correlation, over pixels and colours, of the
    first one's middle 24 x 24 pixels with any 24 x 24 window of the second one, as it is or mirrored:
    brightness, contrast, mirroring and shifts do not count."""
    best = np.full(len(pairs), -1, np.float32)
    middle = slice(_SHIFT, _SHIFT + _CENTRE)
    with progress.track("aligning images", len(pairs), "pairs") as bar:
        for start in range(0, len(pairs), _CHUNK):
            part = pairs[start : start + _CHUNK]
            centre = _standardised(small[part[:, 0]][:, middle, middle])
            other = small[part[:, 1]]
            best_here = best[start : start + _CHUNK]
            for view in (other, other[:, :, ::-1]):
                for top in range(2 * _SHIFT + 1):
                    for left in range(2 * _SHIFT + 1):
                        window = _standardised(view[:, top : top + _CENTRE, left : left + _CENTRE])
                        np.maximum(best_here, np.einsum("ij,ij->i", centre, window), out=best_here)
            bar.advance(len(part))
    return best


def _standardised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images as rows less their mean, of length 1 (0 for an image of one grey): float32 (P, D)."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, lengths, out=rows, where=lengths > 0)
    return rows
