"""Memory-mapped arrays: rows of one in another order without a copy, and the release of pages that are read
once: they do not count as the process's memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

_BLOCK_BYTES = 16 * 2**20


class IndexedRows(NDArrayOperatorsMixin):
    """Rows of a memory-mapped array in another order, read when they are asked for.

    It stands where an array (N, ...) stands that is read by its rows: `rows[3]`, `rows[2:5]` and `rows[ids]`
    are arrays in memory. `np.asarray(rows)` is the whole; so are all else that arrays can do, operators and
    methods, done with the whole in memory. source: the mapped array. places: int64 (N,), row i here is
    source[places[i]]."""

    def __init__(self, source: NDArray[Any], places: NDArray[np.int64]) -> None:
        self.source, self.places = source, places
        self.shape = (len(places), *source.shape[1:])
        self.dtype, self.ndim = source.dtype, source.ndim
        self.nbytes = int(np.prod(self.shape)) * source.itemsize

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        rows, *rest = index if isinstance(index, tuple) else (index,)
        found = np.asarray(self.source[self.places[rows]])
        if not rest:
            return found
        return found[tuple(rest)] if isinstance(rows, (int, np.integer)) else found[(slice(None), *rest)]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[place] for place in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = np.asarray(self.source[self.places])
        return whole if dtype is None else whole.astype(dtype, copy=False)

    def __array_ufunc__(self, function: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        whole = [np.asarray(each) if isinstance(each, IndexedRows) else each for each in inputs]
        return getattr(function, method)(*whole, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "places" not in self.__dict__:  # the latter: while it is copied
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


def indexed(source: NDArray[Any], places: NDArray[np.int64]) -> NDArray[Any]:
    """The rows `places` of a memory-mapped array without a copy: IndexedRows, for whatever reads rows."""
    return cast("NDArray[Any]", IndexedRows(source, places))


def blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """An array's rows in contiguous pieces of some megabytes; the pages of a mapped one are let go."""
    row_bytes = max(1, values.nbytes // max(len(values), 1))
    step = max(1, _BLOCK_BYTES // row_bytes)
    mapping = file_mapping(values)
    for start in range(0, len(values), step):
        yield np.ascontiguousarray(values[start : start + step])
        release_pages(mapping)


def file_mapping(values: NDArray[Any]) -> mmap.mmap | None:
    """The file mapping beneath an array, a view of one, or IndexedRows; None where its pages may not be
    dropped."""
    base: object = values.source if isinstance(values, IndexedRows) else values
    shared = False
    while isinstance(base, np.ndarray):
        # "c": private pages, which hold changes that the file does not
        shared = shared or (isinstance(base, np.memmap) and base.mode != "c")
        base = base.base
    return base if shared and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None


def release_pages(mapping: mmap.mmap | None) -> None:
    """Take a mapping's pages out of this process.

    The kernel keeps them cached; reading them again costs a page fault."""
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)
