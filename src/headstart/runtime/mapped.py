"""Release the pages of memory-mapped arrays that are read once: they do not count as the process's memory."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def file_mapping(values: NDArray[Any]) -> mmap.mmap | None:
    """The file mapping beneath an array or a view of one; None where its pages may not be dropped."""
    base: object = values
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
