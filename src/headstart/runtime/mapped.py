"""Memory-mapped arrays read once from end to end, without counting every page that was touched as this
process's memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def file_mapping(values: NDArray[Any]) -> mmap.mmap | None:
    """The file mapping beneath an array or a view of one, where its pages may be dropped without losing
    anything."""
    base: object = values
    shared = False
    while isinstance(base, np.ndarray):
        # "c": private pages, which hold changes that the file does not
        shared = shared or (isinstance(base, np.memmap) and base.mode != "c")
        base = base.base
    return base if shared and isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED") else None


def release_pages(mapping: mmap.mmap | None) -> None:
    """Takes a mapping's pages out of this process; the kernel keeps them cached, and reading them again costs
    a page fault."""
    if mapping is not None:
        mapping.madvise(mmap.MADV_DONTNEED)
