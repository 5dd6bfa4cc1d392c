"""Copies of the user's images in class folders of a project: they join the training set, the files stay."""

from __future__ import annotations

import hashlib
from pathlib import Path

from headstart.app.drops import Drop
from headstart.errors import DataError


def copy_image(source: Path, home: Path, class_name: str) -> None:
    """A copy of an image in a class folder below `home`. Raises: ConfigError, DataError."""
    try:
        with source.open("rb") as file:
            Drop(home).add_image(source.name, file, class_name)
    except OSError as error:
        raise DataError(f"{source.name} cannot be read ({error.strerror})") from error


def remove_copy(source: Path, home: Path, class_name: str) -> None:
    """Takes back copy_image: removes the copy of that content from the class folder.

    Raises: DataError where the image cannot be read."""
    folder = home / class_name
    try:
        size, digest = source.stat().st_size, _digest_of(source)
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_file() and path.stat().st_size == size and _digest_of(path) == digest:
                path.unlink()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    except OSError as error:
        raise DataError(f"{source.name} cannot be read ({error.strerror})") from error


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
