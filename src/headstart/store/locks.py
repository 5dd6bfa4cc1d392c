"""Locks: one process at a time in a folder, and whom another one waits for."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from headstart.errors import BusyError, StoreError
from headstart.store.durable import disk_error, make_folder, purge_unfinished

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_SAY_AFTER_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 0.2
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
            _say_who_holds(path, what)
            held.acquire(timeout=wait_seconds - _SAY_AFTER_SECONDS)
    except Timeout as error:
        raise _busy(path, what) from error
    except OSError as error:
        raise disk_error(error, path.parent) from error
    _tell_who_holds(path)
    purge_unfinished(path.parent)
    return held


@contextmanager
def shared_lock(path: Path, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """A lock on `path` that several processes hold at once; `lock` on the same path excludes all of them.

    No temporary file is removed: another holder may be about to write it. Who waits is told as by `lock`.
    Raises: BusyError where `lock` holds the path longer than wait_seconds; StoreError where the folder cannot
    be written or its file system has no locks."""
    if fcntl is None:
        raise StoreError(f"{what} cannot be shared on this system: it has no POSIX file locks")
    try:
        make_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    try:
        _take_shared(handle, path, what, wait_seconds)
        _tell_who_holds(path)
        yield
    finally:
        os.close(handle)


def _take_shared(handle: int, path: Path, what: str, wait_seconds: float) -> None:
    """Takes the lock of an open file. Raises: BusyError, StoreError."""
    start, is_told = time.monotonic(), False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            waited = time.monotonic() - start
            if waited >= wait_seconds:
                raise _busy(path, what) from error
            if waited > _SAY_AFTER_SECONDS and not is_told:
                _say_who_holds(path, what)
                is_told = True
            time.sleep(_ASK_AGAIN_SECONDS)
        except OSError as error:
            raise StoreError(
                f"{path.parent} has no locks ({error.strerror}); choose another folder"
            ) from error


def _say_who_holds(path: Path, what: str) -> None:
    print(
        f"headstart: {what} is in use by {_holder(path)}; waiting for it to end", file=sys.stderr, flush=True
    )


def _busy(path: Path, what: str) -> BusyError:
    return BusyError(f"{what} is in use by {_holder(path)}; wait for it to end, or choose another folder")


def _holder_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.holder")


def _tell_who_holds(path: Path) -> None:
    command = " ".join(Path(part).name if place == 0 else part for place, part in enumerate(sys.argv[:3]))
    since = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
    with suppress(OSError):  # a full disk keeps nobody from working
        _holder_file(path).write_text(
            f"process {os.getpid()} on {socket.gethostname()} ({command[:200]}), since {since}",
            encoding="utf-8",
            errors="backslashreplace",  # an argument may be a path of any bytes
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
