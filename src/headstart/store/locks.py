"""Locks: one process at a time in a folder, and whom another one waits for."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from headstart.errors import BusyError, StoreError
from headstart.store.durable import disk_error, make_folder, purge_unfinished

_SAY_AFTER_SECONDS = 1.0
_HOLDER_BYTES = 500


class _HeldLock(FileLock):
    """A lock that is acquired before its `with`: FileLock would count that as a second hold and stay locked
    after it."""

    def __enter__(self) -> _HeldLock:
        return self

    def release(self, force: bool = False) -> None:
        if self.is_locked:
            with suppress(OSError):
                _holder_file(Path(self.lock_file)).unlink()
        super().release(force)


def lock(path: Path, what: str, wait_seconds: float = 0.0) -> FileLock:
    """A held lock on `path`; release it or use it as a context manager.

    Once it is held, the temporary files that killed processes left in its folder are removed. Who waits is
    told on standard error, after a second, which process holds it.
    Raises: BusyError where another process holds it longer than wait_seconds; StoreError where the folder
    cannot be written."""
    try:
        make_folder(path.parent)
        held = _HeldLock(path, timeout=min(wait_seconds, _SAY_AFTER_SECONDS))
        try:
            held.acquire()
        except Timeout:
            if wait_seconds <= _SAY_AFTER_SECONDS:
                raise
            print(
                f"headstart: {what} is in use by {_holder(path)}; waiting for it to end",
                file=sys.stderr,
                flush=True,
            )
            held.acquire(timeout=wait_seconds - _SAY_AFTER_SECONDS)
    except Timeout as error:
        raise BusyError(
            f"{what} is in use by {_holder(path)}; wait for it to end, or choose another folder"
        ) from error
    except OSError as error:
        raise disk_error(error, path.parent) from error
    _tell_who_holds(path)
    purge_unfinished(path.parent)
    return held


def _holder_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.holder")


def _tell_who_holds(path: Path) -> None:
    command = " ".join(Path(part).name if place == 0 else part for place, part in enumerate(sys.argv[:3]))
    since = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
    with suppress(OSError):  # a full disk keeps nobody from working
        _holder_file(path).write_text(
            f"process {os.getpid()} on {socket.gethostname()} ({command[:200]}), since {since}",
            encoding="utf-8",
        )


def _holder(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        with _holder_file(path).open(encoding="utf-8", errors="replace") as file:
            text = "".join(c if c.isprintable() else "?" for c in file.read(_HOLDER_BYTES))
    except OSError:
        text = ""
    return f"another headstart process: {text}" if text else "another headstart process"


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises: StoreError where `folder`'s disk has less than needed_bytes free."""
    here = folder
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free
    if free < needed_bytes:
        raise StoreError(
            f"{what} needs {needed_bytes / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free; "
            "free space or set HEADSTART_CACHE to another disk"
        )
