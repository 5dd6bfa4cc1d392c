"""Find exact and near duplicates among many images, without an N x N matrix in memory.

A near duplicate is the same image saved again: re-encoded, resized, slightly cropped, brighter or darker.
Detection has two steps. A 64-bit perceptual hash (signs of the lowest frequencies of the discrete cosine
transform, as in pHash) proposes pairs that differ in few bits; pairs of flat, simple images agree by chance,
so each pair is then confirmed by comparing small colour versions of both images.

Recall in %, of the hash alone and of both steps (benchmarks/near_duplicates.py; 2,000 CIFAR-10 training
images enlarged to 128 px, and 47 tiles of 256 px cut from scikit-image's photographs):

| bits that may differ       | 8: hash, both | 12: hash, both | 14: hash, both | 12, tiles: hash, both  |
|----------------------------|---------------|----------------|----------------|------------------------|
| JPEG q90, JPEG q60         | 100, 100      | 100, 100       | 100, 100       | 100, 100               |
| resized to 3/4             | 100, 100      | 100, 100       | 100, 100       | 100, 100               |
| brightness x 1.2           | 99.7, 99.7    | 100, 100       | 100, 100       | 100, 93.6              |
| contrast x 0.8, JPEG q75   | 100, 100      | 100, 100       | 100, 100       | 100, 97.9              |
| cropped by 2 % a side      | 89.0, 88.9    | 99.7, 99.6     | 100, 99.8      | 100, 97.9              |
| left 4 % cut off           | 79.6, 79.1    | 98.9, 98.2     | 99.8, 99.1     | 97.9, 85.1             |
| cropped by 4 % a side      | 42.8, 39.4    | 85.2, 75.4     | 94.8, 82.1     | 72.3, 44.7             |
| pairs among 50,000 others  | 797, 507      | 7,535, 791     | 41,630, 869    |                        |

The last row is CIFAR-10's training set as it is: of 7,535 pairs that the hash proposes, 791 are confirmed.
Of 24 pairs inspected with correlations between 0.85 and 0.95, all showed one image, or one car of the same
series, twice; between 0.8 and 0.85 a third to a half did not, hence 0.9. All 1.25e9 pairs of 50,000 hashes
take 1.9 s of a core of an AMD EPYC; 1,000,000 hashes take 78 s by bands of bits. imagehash's phash gives
other hashes (docs/decisions/0017).
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.runtime.progress import Track, track

SMALL_PIXELS = 32  # side of the small version that is hashed and compared
MAX_DISTANCE = 12  # bits of 64 that the hashes of a near duplicate may differ in
MIN_CORRELATION = 0.9  # of the small colour versions
FLAT_DEVIATION = 4.0  # grey levels: below this standard deviation an image has nothing to correlate
FLAT_DIFFERENCE = 3.0  # grey levels, mean absolute: flat images nearer than this are duplicates

_HASH_SIDE = 8
_CHUNK = 4096  # images hashed at once: 50 MB
_ROWS, _COLUMNS = 128, 4096  # of a tile of pairs: its 4 MB stay in a core's own cache
_BAND_BITS = (13, 13, 13, 13, 12)  # of a hash: two hashes of 14 bits' difference differ in 2 or fewer in one
_BANDED_FROM = 100_000  # hashes: below, comparing all pairs is as fast (both take 8 s of a core)


def exact_groups(items: NDArray[np.uint8] | Sequence[str] | Sequence[bytes]) -> list[NDArray[np.int64]]:
    """Group the positions of equal items: int64 and sorted, two at least; ordered by their first item.

    items: uint8 (N, ...) of images, compared byte by byte (through SHA-256), or N digests.
    """
    keys: Iterable[Hashable] = items
    if hasattr(items, "dtype"):
        keys = (hashlib.sha256(np.ascontiguousarray(row).data).digest() for row in items)
    places: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return [np.array(group, np.int64) for group in places.values() if len(group) > 1]


def perceptual_hashes(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash each image to 64 bits, uint64 (N,): similar images differ in few bits.

    images: uint8 (N, H, W, 3), RGB, may be memory-mapped; sizes other than 32 x 32 are first brought to it.
    """
    if not len(images):
        return np.zeros(0, np.uint64)
    basis = _cosines(SMALL_PIXELS, _HASH_SIDE + 1)[1:]
    hashes = []
    with track("hashing images", len(images), "images") as bar:
        for start in range(0, len(images), _CHUNK):
            small = small_versions(images[start : start + _CHUNK])
            grey = small @ np.array([0.299, 0.587, 0.114], np.float32)
            waves = (basis @ grey @ basis.T).reshape(len(grey), -1)
            # A hundredth of a grey level: rounding must not decide the bits of a flat image.
            bits = waves > np.median(waves, axis=1, keepdims=True) + 0.01
            hashes.append(np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64))
            bar.advance(len(small))
    return np.concatenate(hashes)


def small_versions(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Squeeze images to 32 x 32 (bicubic, antialiased): uint8 (N, 32, 32, 3).

    Images of that size stay as they are."""
    if images.shape[1:3] == (SMALL_PIXELS, SMALL_PIXELS):
        return images
    from PIL import Image

    side = (SMALL_PIXELS, SMALL_PIXELS)
    resized = [np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC)) for image in images]
    return np.stack(resized) if resized else np.zeros((0, *side, 3), np.uint8)


def near_pairs(hashes: NDArray[np.uint64], max_distance: int = MAX_DISTANCE) -> NDArray[np.int64]:
    """Find all pairs of hashes that differ in at most max_distance bits: int64 (P, 2), sorted.

    In each pair first < second. No pair is missed. Of few hashes every pair is compared, tile by tile, in a
    few megabytes. Of many only those that are near in one of five bands of bits: of five numbers whose sum is
    at most max_distance, one is at most a fifth of it. That is 6 % of the pairs at 12 bits."""
    count = len(hashes)
    if count < _BANDED_FROM:
        tops = range(0, count, _ROWS)
        everything = ((slice(top, top + _ROWS), [slice(top, count)]) for top in tops)
        all_pairs = sum(min(_ROWS, count - top) * (count - top) for top in tops)
        with track("comparing hashes", all_pairs / 1e6, "million pairs") as bar:
            return _sorted_pairs(_compared(hashes, everything, max_distance, bar))
    most = max_distance // len(_BAND_BITS)
    bands = []
    for low, bits in zip(np.cumsum((0, *_BAND_BITS[:-1])), _BAND_BITS, strict=True):
        keys = ((hashes >> np.uint64(low)) & np.uint64(2**bits - 1)).astype(np.int64)
        bands.append((np.argsort(keys, kind="stable"), np.bincount(keys, minlength=2**bits)))
    by_band = []
    with track(
        "comparing hashes", sum(_work(counts, most) for _, counts in bands) / 1e6, "million pairs"
    ) as bar:
        for order, counts in bands:
            blocks = _near_blocks(counts, most)
            compared = _compared(hashes[order], blocks, max_distance, bar)
            by_band += [np.sort(order[pairs], axis=1) for pairs in compared]
    return _sorted_pairs(by_band)


def _work(counts: NDArray[np.int64], most: int) -> int:
    """How many pairs the blocks of `_near_blocks` have."""
    keys = np.arange(len(counts))
    near = keys[:, None] ^ keys[np.bitwise_count(keys) <= most]
    return int((counts * np.where(near >= keys[:, None], counts[near], 0).sum(axis=1)).sum())


def _near_blocks(counts: NDArray[np.int64], most: int) -> Iterator[tuple[slice, list[slice]]]:
    """Of items sorted by a key: the places of each key's items, with those of every key from it on that
    differs in at most so many bits. counts: of each key's items, a power of two of them."""
    ends = np.cumsum(counts)
    starts = ends - counts
    keys = np.arange(len(counts))
    masks = keys[np.bitwise_count(keys) <= most]
    for key in np.flatnonzero(counts):
        near = key ^ masks
        near = np.sort(near[(near >= key) & (counts[near] > 0)])
        columns = [slice(starts[other], ends[other]) for other in near]
        for top in range(starts[key], ends[key], _ROWS):
            yield slice(top, min(top + _ROWS, ends[key])), columns


def _compared(
    hashes: NDArray[np.uint64], blocks: Iterable[tuple[slice, list[slice]]], max_distance: int, bar: Track
) -> Iterator[NDArray[np.int64]]:
    """The pairs of places (P, 2), first < second, that are near among each block's rows and columns."""
    differs = np.empty((_ROWS, _COLUMNS), np.uint64)
    distance = np.empty((_ROWS, _COLUMNS), np.uint8)
    for rows, parts in blocks:
        left = hashes[rows, None]
        columns = np.concatenate([hashes[part] for part in parts])
        places: NDArray[np.int64] | None = None  # of the columns; of most tiles nobody asks for them
        for start in range(0, len(columns), _COLUMNS):
            right = columns[None, start : start + _COLUMNS]
            tile = (slice(len(left)), slice(right.shape[1]))
            np.bitwise_xor(left, right, out=differs[tile])
            np.bitwise_count(differs[tile], out=distance[tile])
            # np.nonzero takes 9 ns for each element of a 2-D array, this 0.4.
            near = np.flatnonzero(distance[tile] <= max_distance)
            if not len(near):
                continue
            if places is None:
                places = np.concatenate([np.arange(part.start, part.stop) for part in parts])
            first, second = np.divmod(near, right.shape[1])
            pairs = np.stack([first + rows.start, places[second + start]], axis=1)
            yield pairs[pairs[:, 0] < pairs[:, 1]]
        bar.advance(len(left) * len(columns) / 1e6)


def _sorted_pairs(parts: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The pairs of all parts, each once, by their first and then their second item."""
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *parts])
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    is_new = np.ones(len(pairs), bool)
    is_new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[is_new]


def confirmed(
    images: NDArray[np.uint8], pairs: NDArray[np.int64], min_correlation: float = MIN_CORRELATION
) -> NDArray[np.bool_]:
    """Tell which pairs of images look alike at 16 x 16 pixels in colour: bool (P,).

    images: uint8 (N, H, W, 3). pairs: int64 (P, 2). Alike: the correlation over all pixels and channels,
    which ignores brightness and contrast, is at least min_correlation, both around the common mean (colours
    agree) and around each channel's own (patterns agree). For images without a pattern the mean difference
    decides.
    """
    is_alike = np.zeros(len(pairs), bool)
    with track("comparing near images", len(pairs), "pairs") as bar:
        for start in range(0, len(pairs), _CHUNK):
            part = pairs[start : start + _CHUNK]
            a, b = (_blurred(images[part[:, side]]) for side in (0, 1))
            difference = np.abs(a - b).mean(axis=(1, 2))
            colour, _ = _correlation(a, b, axis=(1, 2))
            pattern, deviation = _correlation(a, b, axis=1)
            correlated = np.minimum(colour, pattern) >= min_correlation
            is_alike[start : start + _CHUNK] = np.where(
                deviation < FLAT_DEVIATION, difference <= FLAT_DIFFERENCE, correlated
            )
            bar.advance(len(part))
    return is_alike


def _correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], axis: int | tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Correlate images, float32 (N, 256, 3), around their means over `axis`: float32 (N,).

    Returns the smaller of the two images' standard deviations too."""
    a, b = a - a.mean(axis=axis, keepdims=True), b - b.mean(axis=axis, keepdims=True)
    deviations = [np.sqrt((values**2).mean(axis=(1, 2))) for values in (a, b)]
    return (a * b).mean(axis=(1, 2)) / np.maximum(deviations[0] * deviations[1], 1e-6), np.minimum(
        *deviations
    )


def near_duplicates(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Find pairs of exact and near duplicates: int64 (P, 2), first < second, sorted.

    images: uint8 (N, H, W, 3), RGB, may be memory-mapped.
    """
    pairs = near_pairs(perceptual_hashes(images))
    return pairs[confirmed(images, pairs)]


def components(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Number the groups that pairs connect, by first item: int64 (count,), the group of each item."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _blurred(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean of 2 x 2 pixels of the small versions, float32 (N, 256, 3)."""
    small = small_versions(images)
    # The same bits as numpy's mean over two axes, which takes 27 times as long.
    rows = small[:, ::2].astype(np.uint16) + small[:, 1::2]
    means: NDArray[np.float32] = (rows[:, :, ::2] + rows[:, :, 1::2]).astype(np.float32)
    means /= 4
    return means.reshape(len(small), -1, 3)


def _cosines(size: int, count: int) -> NDArray[np.float32]:
    """First `count` rows of the discrete cosine transform (type II, orthonormal): float32 (count, size)."""
    place, frequency = np.arange(size), np.arange(count)[:, None]
    waves: NDArray[np.float64] = np.cos(np.pi * (2 * place + 1) * frequency / (2 * size)) * np.sqrt(2 / size)
    waves[0] /= np.sqrt(2)
    return waves.astype(np.float32)
