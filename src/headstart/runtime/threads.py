"""Choose the number of threads to compute with, by measurement.

Which is fastest depends on the processor and on what else runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

ROUNDS = 3


@contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Compute with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def seconds_by_count(step: Callable[[], object], counts: Sequence[int]) -> dict[int, float]:
    """Seconds of a step with each number of threads, the median of ROUNDS after one to warm up.

    The counts take turns, so that other programs disturb all of them alike."""
    taken: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(1 + ROUNDS):
        for count in counts:
            with use_threads(count):
                start = time.perf_counter()
                step()
                taken[count].append(time.perf_counter() - start)
    return {count: statistics.median(seconds[1:]) for count, seconds in taken.items()}
