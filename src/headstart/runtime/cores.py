"""What the processor is and can do: its name, cores, instructions and threads worth trying; without torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def processor_name() -> str:
    """The processor's name, as the operating system gives it."""
    try:
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sensible_counts(cores: int) -> list[int]:
    """Numbers of threads worth trying: all cores, half and a fourth of them; descending."""
    return sorted({max(1, cores // part) for part in (1, 2, 4)}, reverse=True)


def threads_are_said() -> bool:
    """Whether the environment says how many threads OpenMP has."""
    return "OMP_NUM_THREADS" in os.environ


def instructions() -> frozenset[str] | None:
    """Names of the instruction sets as Linux lists them for x86, e.g. "amx_bf16"; None elsewhere."""
    try:
        for line in _CPUINFO.read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return None
