"""When the command that this process runs began: loading it counts, where minutes were asked for."""

from __future__ import annotations

import os
import time
from pathlib import Path

_STAT = Path("/proc/self/stat")
_began: float | None = None


def mark_beginning() -> None:
    """Notes that this process is a command, which began when the process did."""
    global _began
    _began = time.monotonic() - _age_seconds()


def beginning() -> float | None:
    """time.monotonic() when the command began; None where this process is none."""
    return _began


def _age_seconds() -> float:
    """Of this process; 0 where the system does not say (Linux does, see proc(5))."""
    try:
        ticks = int(_STAT.read_text().rsplit(")", 1)[1].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
