"""Jobs: commands of headstart in processes of their own, which an end of the app leaves running.

jobs/<number>-<kind>/ holds job.json (the command), out.txt, err.txt, and end.json once it has ended; the lock
on running.lock says whether it still runs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel

from headstart import store
from headstart.errors import BusyError, StoreError

_NUMBERED = re.compile(r"[0-9]{1,9}-.+")  # a job's folder
_STARTING_SECONDS = 30.0
_BEGINS_SECONDS = 10.0  # that a request to stop waits for a process that is being started
_TAIL_BYTES = 20_000
State = Literal["running", "done", "failed", "stopped", "lost"]


class _Written(BaseModel):
    kind: str
    command: list[str]
    started: float


class _End(BaseModel):
    code: int
    ended: float


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a command. command: after the word headstart. started, ended: Unix time."""

    folder: Path
    kind: str
    command: tuple[str, ...]
    started: float
    ended: float | None
    code: int | None
    is_running: bool

    @property
    def state(self) -> State:
        """Lost: its process was killed."""
        if self.is_running:
            return "running"
        if self.code is None:
            return "lost"
        return "done" if self.code == 0 else "stopped" if self.code in (130, 143) else "failed"

    def lines(self) -> list[str]:
        """The last lines of what it said."""
        return _tail(self.folder / "err.txt")

    def stop(self) -> None:
        """Asks it to end, once it has begun; what it has done is kept."""
        until = time.monotonic() + _BEGINS_SECONDS
        while self.is_running and not (self.folder / "pid").exists() and time.monotonic() < until:
            time.sleep(0.05)
        with suppress(OSError, ValueError):
            if self.is_running:
                os.kill(int((self.folder / "pid").read_text()), signal.SIGTERM)


class Jobs:
    """The jobs in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, kind: str, command: Sequence[str], unique: bool = True) -> Job:
        """Start a command. Raises: BusyError where one of its kind runs; StoreError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "start.lock"):  # two tabs, or two apps
            if unique and (last := self.last(kind)) is not None and last.is_running:
                raise BusyError(f"{kind} is running already; stop it first")
            number = 1 + max(map(_number, self._numbered()), default=0)
            folder = self.folder / f"{number}-{kind}"
            folder.mkdir()
            written = _Written(kind=kind, command=list(command), started=time.time())
            store.write_json(folder / "job.json", written.model_dump())
        process = subprocess.Popen(
            [sys.executable, "-m", "headstart.app.job", str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # neither Ctrl-C in the terminal nor the end of the app reaches it
        )
        threading.Thread(target=process.wait, daemon=True).start()  # an ended one is let go
        return self._read(folder)

    def last(self, kind: str) -> Job | None:
        """The last job of a kind."""
        folders = [folder for folder in self._folders() if folder.name.split("-", 1)[1] == kind]
        return self._read(folders[-1]) if folders else None

    def all(self) -> list[Job]:
        """The jobs, the last one first."""
        return [self._read(folder) for folder in reversed(self._folders())]

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted((each for each in self._numbered() if (each / "job.json").exists()), key=_number)

    def _numbered(self) -> list[Path]:
        """The folders of jobs, also of one that was never begun."""
        return [each for each in self.folder.iterdir() if _NUMBERED.fullmatch(each.name)]

    def _read(self, folder: Path) -> Job:
        try:
            written = store.read_as(_Written, folder / "job.json")
        except StoreError:  # damaged: nothing is known of it but how it ended
            kind, started = folder.name.split("-", 1)[1], folder.stat().st_mtime
            written = _Written(kind=kind, command=[], started=started)
        end = _read_end(folder)
        running = end is None and _is_running(folder, written.started)
        end = end or _read_end(folder)  # it may have ended in between
        return Job(
            folder=folder,
            kind=written.kind,
            command=tuple(written.command),
            started=written.started,
            ended=None if end is None else end.ended,
            code=None if end is None else end.code,
            is_running=running and end is None,
        )


def _number(folder: Path) -> int:
    return int(folder.name.split("-")[0])


def _read_end(folder: Path) -> _End | None:
    try:
        return store.read_as(_End, folder / "end.json")
    except StoreError:
        return None


def _is_running(folder: Path, started: float) -> bool:
    if not (folder / "pid").exists():
        return abs(time.time() - started) < _STARTING_SECONDS  # the clock may have been set back
    lock = FileLock(folder / "running.lock", timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()]
