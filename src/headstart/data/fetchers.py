"""Programs of this machine that download: npm, pip, apt-get.

Each is watched: how much it writes, whether it still does, and that it and all that it has started end with
this process."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from headstart.errors import DownloadError
from headstart.runtime.interrupts import interrupts_wait
from headstart.runtime.progress import Track, track

STALL_SECONDS = 120.0  # npm resolves, downloads and writes without a word in between
UNKNOWN_BYTES = 4 << 30  # the most of a file whose size nobody has stated
_SPARE_BYTES = 10_000_000
_COPIES = 2  # each program writes everything twice: its own cache or a temporary file, then the archive


def most_bytes(size_bytes: int | None) -> int:
    """How much a download may bring. size_bytes: as its size was stated; None: nobody has."""
    return UNKNOWN_BYTES if size_bytes is None else 2 * size_bytes + _SPARE_BYTES


def too_large(origin: str, size_bytes: int | None, by_hand: str) -> DownloadError:
    """What is said where a download passes `most_bytes`."""
    expected = "" if size_bytes is None else f", {size_bytes / 1e6:,.0f} MB were expected"
    return DownloadError(
        f"{origin} brings more than {most_bytes(size_bytes) / 1e6:,.0f} MB{expected}: given up, nothing is "
        f"kept; try again, or {by_hand}"
    )


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """A command that downloads an archive into `folder`, where it runs, and writes nowhere else.

    name: for messages: `npm pack toy@1.0.0`. size_bytes: of the archive. by_hand: what to do without it."""

    command: Sequence[str]
    folder: Path
    name: str
    size_bytes: int
    by_hand: str
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> tuple[int, str]:
        """The exit code, and what it said on standard error.

        Raises: DownloadError where it writes more than `most_bytes`, or nothing for `STALL_SECONDS`."""
        with (self.folder / "errors").open("w+b") as errors:
            process: subprocess.Popen[bytes] | None = None
            try:
                with interrupts_wait():
                    process = subprocess.Popen(
                        self.command,
                        cwd=self.folder,
                        env=os.environ | self.environment,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.DEVNULL,
                        stderr=errors,
                        start_new_session=True,
                    )
                with track(f"fetch {self.name.split()[-1]}", self.size_bytes // 1_000_000, "MB") as bar:
                    self._watch(process, bar)
            finally:
                if process is not None:
                    with interrupts_wait():
                        _end(process)
            errors.seek(0)
            return process.returncode, errors.read().decode(errors="replace")

    def _watch(self, process: subprocess.Popen[bytes], bar: Track) -> None:
        """Wait for the end. The programs say nothing while they work: progress is the folder's size."""
        last_size, last_growth = 0, time.monotonic()
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.25)
            size = sum(_size(path) for path in self.folder.rglob("*"))
            bar.advance(max(min(size / _COPIES, self.size_bytes) / 1e6 - bar.done, 0))
            if size > _COPIES * most_bytes(self.size_bytes):
                raise too_large(f"`{self.name}`", self.size_bytes, self.by_hand)
            if process.returncode is not None:
                return
            if size > last_size:
                last_size, last_growth = size, time.monotonic()
            if time.monotonic() - last_growth > STALL_SECONDS:
                raise DownloadError(
                    f"`{self.name}` stalled for {STALL_SECONDS:.0f} s; try again, or {self.by_hand}"
                )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and all that it has started, also where it has ended itself."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # moved meanwhile
        return 0
