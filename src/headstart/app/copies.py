"""Copies of the user's images in class folders of a project: they join the training set, the files stay."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from headstart import store
from headstart.app.drops import Drop
from headstart.errors import DataError


def copy_image(source: Path, home: Path, class_name: str, made: Collection[str] = ()) -> str:
    """A copy of an image in a class folder below `home`; its path there. made: earlier copies; where that
    content is there already, the answer is the one of them that has it, else an empty text.

    Raises: ConfigError, DataError."""
    folder, drop = home / class_name, Drop(home)
    try:
        before = _same(source, folder)
        with source.open("rb") as file:
            drop.add_image(source.name, file, class_name)
        found = _same(source, folder) - before if drop.dropped.joined else before.intersection(made)
    except OSError as error:
        raise DataError(f"{source.name} cannot be read ({error.strerror})") from error
    return min(found, default="")


def remove_copy(source: Path, home: Path, copy: str) -> None:
    """Takes back copy_image: removes the copy at that path below `home` while it has the image's content.

    Raises: DataError where the image cannot be read; StoreError for a path that leads elsewhere."""
    path = store.inside(home, copy)
    try:
        if path.is_file() and not path.samefile(source) and _digest_of(path) == _digest_of(source):
            path.unlink()
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise DataError(f"{source.name} cannot be read ({error.strerror})") from error


def _same(source: Path, folder: Path) -> set[str]:
    """The files of a class folder with the content of an image, as CLASS/NAME."""
    size, digest = source.stat().st_size, _digest_of(source)
    return {
        f"{folder.name}/{path.name}"
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.is_file() and path.stat().st_size == size and _digest_of(path) == digest
    }


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
