"""Measure what work costs: wall seconds by phase, floating-point operations, peak memory of the process."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from headstart.runtime.eager import without_compiler

Value = TypeVar("Value")


def _attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_backward_flop_count(gradient, query, key, value))  # type: ignore[no-untyped-call]


# The counter knows these products (given as shapes) by the names that they have on a GPU, not on a CPU (torch
# 2.13).
_ATTENTION_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def count_flops(work: Callable[[], Value]) -> tuple[Value, int]:
    """Run `work`; return its value and the floating-point operations that it took.

    Convolutions and matrix products count, a multiply and an add as two; elementwise work, pooling and
    normalisation count as none (torch's own counter)."""
    without_compiler()
    with FlopCounterMode(display=False, custom_mapping=_ATTENTION_ON_CPU) as counter:
        value = work()
    return value, int(counter.get_total_flops())


class Stopwatch:
    """Wall seconds by phase.

    carried_joules: energy of cached parts when they were computed; None once one of them is unknown."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.carried_joules: float | None = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a `with` block and add its seconds to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.carry(name, time.perf_counter() - start)

    def carry(self, name: str, seconds: float) -> None:
        """Add seconds to a phase: those of cached parts, or of the run before an interruption."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def carry_joules(self, joules: Iterable[float | None]) -> None:
        """Add the joules of cached parts; None where one is unknown."""
        for each in joules:
            if self.carried_joules is not None:
                self.carried_joules = None if each is None else self.carried_joules + each


_STATUS = Path("/proc/self/status")


def reset_peak_memory() -> None:
    """Reset the process's peak memory where the kernel allows it (Linux).

    Elsewhere the peak covers the process's whole life."""
    # Read-only or absent elsewhere: peak_memory_bytes then covers the whole process, which is an upper bound.
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_bytes() -> int:
    """Highest resident memory of this process since reset_peak_memory, in bytes."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
