"""Files: written whole or not at all, read with one error for all that can be wrong, locked, hashed."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from headstart.errors import BusyError, StoreError
from headstart.types import LabelBudget, Recipe


def cache_folder() -> Path:
    """Where data, weights and features are kept: HEADSTART_CACHE, else the platform's user cache folder."""
    configured = os.environ.get("HEADSTART_CACHE")
    return (
        Path(configured).expanduser()
        if configured
        else Path(platformdirs.user_cache_dir("headstart", appauthor=False))
    )


def as_stored(value: Any) -> Any:
    """A value of these types as dicts, lists, texts and numbers, under the names that JSON files use."""
    if isinstance(value, LabelBudget):
        return value.per_class
    if isinstance(value, Recipe):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        stored = {}
        for each in dataclasses.fields(value):
            part = getattr(value, each.name)
            if each.name == "gap_at" and part is not None:
                part = part.toml  # null says that there is none
            stored[_STORED_NAMES.get(each.name, each.name)] = as_stored(part)
        return stored
    if isinstance(value, Mapping):
        return {name: as_stored(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_stored(part) for part in value]
    return value


_STORED_NAMES = {"label_budget": "labels_per_class", "label_budgets": "labels_per_class"}


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return as_stored(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all: temporary file, fsync, rename.

    Raises: StoreError where the folder cannot be written or the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes a value as readable JSON, whole or not at all."""
    write_bytes(
        path,
        (json.dumps(value, indent=1, ensure_ascii=False, default=_plain, allow_nan=False) + "\n").encode(),
    )


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises: StoreError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete its folder {path.parent} and run the study again"
        ) from error


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line, whole or not at all."""
    text = "".join(json.dumps(row, default=_plain, allow_nan=False) + "\n" for row in rows)
    write_bytes(path, text.encode())


Arrays = dict[str, NDArray[Any]]


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes plain arrays as one compressed .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # mypy takes a name for `allow_pickle`
    write_bytes(path, buffer.getvalue())


def read_npz(path: Path, advice: str, names: Iterable[str] | None = None) -> Arrays:
    """The arrays in an .npz file; with `names` those alone, and no other is decompressed.

    advice: what the user should do with a damaged file; it ends the error's sentence.
    Raises: StoreError where the file or a name is missing, or the file is damaged."""
    try:
        # Opened here, not by numpy, which leaves the file open where it is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in (stored.files if names is None else names)}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"cannot read {path}: {error}; {advice}") from error


class _HeldLock(FileLock):
    """A lock that is acquired before its `with`: FileLock would count that as a second hold and stay locked
    after it."""

    def __enter__(self) -> _HeldLock:
        return self


def lock(path: Path, what: str, wait_seconds: float = 0.0) -> FileLock:
    """A held lock on `path`; release it or use it as a context manager.

    Raises: BusyError where another process holds it longer than wait_seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _HeldLock(path, timeout=wait_seconds)
        held.acquire()
    except Timeout as error:
        raise BusyError(
            f"{what} is in use by another headstart process; wait for it to end, or choose another folder"
        ) from error
    except OSError as error:
        raise StoreError(
            f"cannot write {path.parent}: {error.strerror or error}; choose another folder"
        ) from error
    return held


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


def purge_unfinished(folder: Path, keep: Sequence[str] = ()) -> None:
    """Removes stray temporary files that a killed run left in a folder."""
    for stray in folder.glob(".*.part"):
        if stray.name not in keep:
            stray.unlink(missing_ok=True)
