"""What files are known by: their size and SHA-256, checked when they are read back."""

from __future__ import annotations

import hashlib
import os
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from headstart.errors import DamagedError, StoreError
from headstart.store.opening import open_file

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

_CHUNK_BYTES = 1 << 20
TRUSTED_BYTES = 1_000_000_000  # a second of hashing; of a larger file the times are believed
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Stamp = tuple[int, int, int, int, int]
_HASHED: dict[Stamp, str] = {}  # of files that this process has read, as long as nothing has written them
_HASHED_CHUNKS: dict[tuple[int, ...], list[str]] = {}  # likewise, with the size of the chunks


class FileFacts(BaseModel):
    """Size and SHA-256 of a file."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


def facts_of_bytes(content: bytes) -> FileFacts:
    """Size and SHA-256 of a file with this content."""
    return FileFacts(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def stamp_of(path: Path) -> Stamp | None:
    """What stays while a file is not written: its place, size and times; None where there is none."""
    try:
        return _stamp(path.stat())
    except OSError:
        return None


def facts_of(path: Path, remedy: str = "put the file back as it was") -> FileFacts:
    """Size and SHA-256 of a file; read once a process while its size and times stay.

    remedy: what the user should do; it ends the error's sentence. Raises: StoreError."""
    try:
        with open_file(path) as file:
            status = os.fstat(file.fileno())
            stamp = _stamp(status)
            if stamp not in _HASHED:
                _HASHED[stamp] = sha256_of(file)
            return FileFacts(bytes=status.st_size, sha256=_HASHED[stamp])
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}; {remedy}") from error


class CheckedFile(FileFacts):
    """Size and SHA-256 of a large file, and its times when that was found out. ctime_ns: None in what older
    versions wrote."""

    mtime_ns: int
    ctime_ns: int | None = None


def look_at(path: Path) -> CheckedFile:
    """What a large file is known by, hashed now. Raises: StoreError."""
    facts = facts_of(path)
    try:
        status = path.stat()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    return CheckedFile(
        bytes=facts.bytes, sha256=facts.sha256, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns
    )


def require_checked(path: Path, stored: CheckedFile, trusted_bytes: int = TRUSTED_BYTES) -> CheckedFile:
    """Compare a large file with what it was when it was written; returns what it is known by now.

    It is hashed, once a process, unless it has more than `trusted_bytes` and its times are as they were
    noted: those can be set back, and a disk's own errors leave them. Raises: DamagedError."""
    if _is_trusted(path, stored, trusted_bytes):
        return stored
    now = look_at(path)
    if now.sha256 != stored.sha256:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not that of what was written")
    return now


class ChunkedFile(BaseModel):
    """A large file by the SHA-256 of each `chunk_bytes` of it, the last one shorter: damage says where it is.
    And its times when that was found out."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    bytes: Annotated[int, Field(ge=0)]
    chunk_bytes: Annotated[int, Field(gt=0)]
    sha256: list[Sha256]
    mtime_ns: int
    ctime_ns: int


def look_at_chunks(path: Path, chunk_bytes: int) -> ChunkedFile:
    """What a large file is known by, chunk by chunk, hashed now; read once a process while its size and times
    stay. Raises: StoreError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            stamp = _stamp(status)
            if (*stamp, chunk_bytes) not in _HASHED_CHUNKS:
                hashes = [hash_of_next(file, chunk_bytes) for _ in range(0, status.st_size, chunk_bytes)]
                _HASHED_CHUNKS[(*stamp, chunk_bytes)] = hashes
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    return ChunkedFile(
        bytes=status.st_size,
        chunk_bytes=chunk_bytes,
        sha256=_HASHED_CHUNKS[(*stamp, chunk_bytes)],
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )


def damaged_chunks(path: Path, stored: ChunkedFile, trusted_bytes: int = TRUSTED_BYTES) -> list[int]:
    """Numbers of the chunks that are not what was written; hashed as require_checked does.

    Raises: DamagedError where the file is missing or of another size: then all of it is."""
    if _is_trusted(path, stored, trusted_bytes):
        return []
    now = look_at_chunks(path, stored.chunk_bytes).sha256
    return [n for n, (a, b) in enumerate(zip(now, stored.sha256, strict=True)) if a != b]


def require_unchanged(path: Path, stored: FileFacts, remedy: str) -> None:
    """Compare a file with what it was when it was written.

    remedy: what the user should do; it ends the error's sentence. Raises: DamagedError where the file is
    missing, of another size or of another SHA-256."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DamagedError(f"{path} is missing or cannot be read ({error.strerror}); {remedy}") from error
    if size != stored.bytes:
        raise DamagedError(f"{path} is damaged: it has {size:,} bytes, not {stored.bytes:,}; {remedy}")
    if facts_of(path).sha256 != stored.sha256:
        raise DamagedError(f"{path} is damaged: its SHA-256 is not that of what was written; {remedy}")


def sha256_of_file(path: Path) -> str:
    """SHA-256 (hex) of an ordinary file. Raises: OSError, also for what is none."""
    with open_file(path) as file:
        return sha256_of(file)


def sha256_of(file: BufferedReader) -> str:
    """SHA-256 (hex) of an open file from where it stands, read in pieces. Raises: OSError."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of_next(file: BufferedReader, count_bytes: int) -> str:
    """SHA-256 (hex) of the next bytes of an open file, fewer at its end. Raises: OSError."""
    content, left = hashlib.sha256(), count_bytes
    while left and (piece := file.read(min(_CHUNK_BYTES, left))):
        content.update(piece)
        left -= len(piece)
    return content.hexdigest()


def hash_of_start(path: Path, count_bytes: int) -> Hash:
    """SHA-256 of the first bytes of a file, to be updated with what is written after them. Raises:
    OSError."""
    begun, left = hashlib.sha256(), count_bytes
    with open_file(path) as file:
        while left and (chunk := file.read(min(_CHUNK_BYTES, left))):
            begun.update(chunk)
            left -= len(chunk)
    return begun


def _is_trusted(path: Path, stored: CheckedFile | ChunkedFile, trusted_bytes: int) -> bool:
    """Whether a large file need not be hashed: its times are as they were noted. Raises: DamagedError where
    it is missing or of another size."""
    try:
        status = path.stat()
    except OSError as error:
        raise DamagedError(f"{path} is missing or cannot be read ({error.strerror})") from error
    if status.st_size != stored.bytes:
        raise DamagedError(f"{path} is damaged: it has {status.st_size:,} bytes, not {stored.bytes:,}")
    untouched = (status.st_mtime_ns, status.st_ctime_ns) == (stored.mtime_ns, stored.ctime_ns)
    return untouched and stored.bytes > trusted_bytes
