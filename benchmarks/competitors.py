"""Busy processes beside what is measured: each multiplies matrices on two threads without pause, as another
training would.

They are started once and stopped (SIGSTOP) while they are not wanted, so that they cost nothing then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

THREADS = 2
_SETTLE_SECONDS = 0.3  # until the scheduler has spread them
_PROGRAM = """
import numpy as np
a, out = np.ones((1024, 1024), np.float32), np.empty((1024, 1024), np.float32)
print("ready", flush=True)
while True:
    np.matmul(a, a, out=out)
"""


class Competitors:
    """So many processes of THREADS threads each, all stopped. A context: they end with it."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", _PROGRAM]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": str(THREADS), "OMP_NUM_THREADS": str(THREADS)}
        for _ in range(self._count):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            self._processes.append(process)
            assert process.stdout
            process.stdout.readline()
            os.kill(process.pid, signal.SIGSTOP)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdout
            process.stdout.close()

    @contextmanager
    def running(self, count: int) -> Iterator[Callable[[], float]]:
        """So many of them run in the block; a call says how many CPU seconds each has had in it, the mean."""
        chosen = self._processes[:count]
        for process in chosen:
            os.kill(process.pid, signal.SIGCONT)
        if chosen:
            time.sleep(_SETTLE_SECONDS)
        before = sum(map(_cpu_seconds, chosen))
        try:
            yield lambda: (sum(map(_cpu_seconds, chosen)) - before) / max(count, 1)
        finally:
            for process in chosen:
                os.kill(process.pid, signal.SIGSTOP)


def _cpu_seconds(process: subprocess.Popen[str]) -> float:
    """CPU seconds that the process has had, of all its threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, see proc(5)
