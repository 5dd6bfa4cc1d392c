"""Measure joules with the machine's own counters: RAPL, and the NVML library of NVIDIA GPUs.

RAPL is read through /sys/class/powercap, NVML through the driver's library. Counters belong to the machine:
other programs that run at the same time are counted too. Where no counter can be read (virtual machines, RAPL
without root's permission, other GPUs) there is no number.
Source: the kernel's Documentation/power/powercap; NVML's nvmlDeviceGetTotalEnergyConsumption (millijoules,
Volta and later).
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

POWERCAP = Path("/sys/class/powercap")
NVML = "libnvidia-ml.so.1"  # comes with the driver
# A 32-bit RAPL counter wraps around within three to thirty minutes under load: read more often, no round is
# missed.
_READ_EVERY_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class Counter:
    """A running count of energy.

    read: micro- or millijoules, whole; raises OSError. joules: of one unit. round_at: the count after which
    it starts again at 0, None where it never does."""

    what: str
    read: Callable[[], int]
    joules: float
    round_at: int | None = None

    def between(self, before: int, after: int) -> float:
        """Joules between two readings, at most one round apart.

        Raises: OSError where a count fell that cannot."""
        if after >= before:
            return (after - before) * self.joules
        if self.round_at is None or before > self.round_at:
            raise OSError(f"{self.what}: the counter fell from {before} to {after}")
        return (after + self.round_at - before) * self.joules


def rapl_counters(folder: Path = POWERCAP) -> list[Counter]:
    """List the counters of processor packages, and of memory where it is counted apart from them.

    Cores and uncore are parts of their package; "psys" and the mmio zones count a package a second time.
    Counters that cannot be read are left out."""
    readable = []
    for zone in sorted(folder.glob("intel-rapl:*")):  # AMD's processors too go by this name
        try:
            name = (zone / "name").read_text().strip()
            inner = zone.name.count(":") == 2
            if not (name.startswith("package") and not inner) and not (name == "dram" and inner):
                continue
            counter = Counter(
                what=name,
                read=_whole_number(zone / "energy_uj"),
                joules=1e-6,
                round_at=int((zone / "max_energy_range_uj").read_text()),
            )
            counter.read()
        except (OSError, ValueError):
            continue
        readable.append(counter)
    return readable


def _whole_number(path: Path) -> Callable[[], int]:
    def read() -> int:
        try:
            return int(path.read_text())
        except ValueError as error:
            raise OSError(f"{path} holds no number: {error}") from error

    return read


def gpu_counter(uuid: str, library: str = NVML) -> Counter | None:
    """The counter of the NVIDIA GPU with this UUID ("GPU-..."), or None where the driver has none."""
    try:
        nvml = ctypes.CDLL(library)
        handle, value = ctypes.c_void_p(), ctypes.c_ulonglong()

        def read() -> int:
            if nvml.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(value)) != 0:
                raise OSError("NVML gives no energy")
            return int(value.value)

        if (
            nvml.nvmlInit_v2() != 0
            or nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != 0
        ):
            return None
        read()
    except (OSError, AttributeError):  # no such library, or no such function in it
        return None
    return Counter(what="GPU", read=read, joules=1e-3)


_counts = True


def count_nothing() -> None:
    """Stop counting in this process: beside other measured processes, each would count the joules of all."""
    global _counts
    _counts = False


def counters(gpu_uuid: str | None = None) -> list[Counter]:
    """List all counters that this machine can read: RAPL's and that of the named GPU.

    None after count_nothing."""
    if not _counts:
        return []
    gpu = gpu_counter(gpu_uuid) if gpu_uuid is not None else None
    return [*rapl_counters(), *([gpu] if gpu is not None else [])]


class Meter:
    """Count joules in a `with` block.

    `with Meter(counters()) as meter: work()`, then `meter.joules` and, in words, what was counted:
    `meter.covers`."""

    def __init__(self, watched: list[Counter], read_every_seconds: float = _READ_EVERY_SECONDS) -> None:
        self._watched, self._every = watched, read_every_seconds
        self._last: list[int] = []
        self._sum: float | None = None
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._last = [counter.read() for counter in self._watched]
            self._sum = 0.0 if self._watched else None
        except OSError:
            self._sum = None
        if self._sum is not None:
            self._thread = threading.Thread(target=self._keep_reading, name="energy", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        self.read()

    @property
    def joules(self) -> float | None:
        """What the counters counted; None where there is none or one failed."""
        return self._sum

    @property
    def covers(self) -> str:
        """Names of the counters, such as "package-0, dram"; empty where nothing is counted."""
        return ", ".join(counter.what for counter in self._watched) if self._sum is not None else ""

    def read(self) -> None:
        """Read every counter and add what it counted since the last reading."""
        with self._lock:
            if self._sum is None:
                return
            try:
                now = [counter.read() for counter in self._watched]
                self._sum += math.fsum(
                    counter.between(before, after)
                    for counter, before, after in zip(self._watched, self._last, now, strict=True)
                )
                self._last = now
            except OSError:
                self._sum = None

    def _keep_reading(self) -> None:
        while not self._done.wait(self._every):
            self.read()
