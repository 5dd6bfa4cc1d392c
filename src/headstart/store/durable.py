"""Writing: a file is there whole or not at all, and stays there after a power failure.

Every file of the program that replaces another goes through `replacing`: a temporary file in the same
folder, fsync, rename, fsync of the folder. A killed process leaves at most a file `.NAME.part`, which
`purge_unfinished` removes: the file's own lock says whether somebody still writes it.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from headstart.errors import StoreError
from headstart.store.places import cache_folder

try:
    import fcntl
except ImportError:  # Windows removes no file that is open: there the file needs no lock
    fcntl = None  # type: ignore[assignment]

_PATTERN = ".*.part"
_LONGEST_NAME = 255  # bytes of a file's name


_OF_THE_DISK = {
    getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EIO", "EROFS", "EFBIG") if hasattr(errno, name)
}


def is_disk_error(error: BaseException) -> bool:
    """Whether a disk that is full, broken or not to be written is to blame: the next file would meet it
    too."""
    return isinstance(error, OSError) and error.errno in _OF_THE_DISK


def what_failed(error: OSError, path: Path | str, remedy: str) -> str:
    """A path, what the system says of it, and what to do: the remedy, or another path where the disk is not
    to blame."""
    name = os.fsdecode(path)
    if error.errno == errno.ENAMETOOLONG:
        longest = max(Path(name).parts, key=len, default="")
        begins = longest if len(longest.encode(errors="replace")) > _LONGEST_NAME else name
        return (
            f"{begins[:40]}... is a path of {len(name):,} letters, its longest name of {len(longest):,}; "
            "file systems take names of 255 bytes and paths of 4,095: give a shorter one"
        )
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST):
        remedy = "give another path"
    return f"{name}: {error.strerror or error}; {remedy}"


def disk_error(error: OSError, path: Path | str) -> StoreError:
    """What a user is told of a file that cannot be written."""
    where = (
        error.filename
        if isinstance(error.filename, str) and not str(error.filename).endswith(".part")
        else path
    )
    remedy = "free space or choose another folder"
    if Path(os.fsdecode(where)).is_relative_to(cache_folder()):
        remedy += " for the cache, HEADSTART_CACHE"
    return StoreError(f"cannot write {what_failed(error, where, remedy)}")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Every OSError inside is a StoreError that names `path`."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file, open for writing and reading, that takes the place of `path` when the `with` ends.

    After an exception the old file is there as it was and nothing else remains. The file has the rights
    that the umask leaves.
    Raises: StoreError where the folder cannot be written or the disk is full."""
    with disk_errors(path):
        make_folder(path.parent)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(handle, "w+b") as file:
                if fcntl is not None:
                    with suppress(OSError):  # a file system without locks
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                yield file
                file.flush()
                os.fsync(file.fileno())
                if fcntl is None:
                    file.close()
                os.replace(part, path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises: StoreError where the folder cannot be written or the disk is full."""
    with replacing(path) as file:
        file.write(content)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; each is on the disk before this returns. Raises: OSError."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; without this a rename may be lost with the power."""
    try:
        handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError:  # Windows opens no folder
        return
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems cannot sync a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def purge_unfinished(folder: Path) -> int:
    """Remove the temporary files that killed processes left in a folder and below; returns how many.

    One that a living process writes is kept. No link is followed."""
    removed = 0
    for stray in folder.rglob(_PATTERN):
        with suppress(OSError):
            if not stray.is_symlink() and stray.is_file() and not _is_being_written(stray):
                stray.unlink()
                removed += 1
    return removed


def _is_being_written(part: Path) -> bool:
    if fcntl is None:
        return False
    with part.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
