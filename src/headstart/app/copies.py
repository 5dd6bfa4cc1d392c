"""Copies of the user's images in class folders of a project: they join the training set, the files stay."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from headstart import store
from headstart.app.drops import Drop
from headstart.errors import DataError
from headstart.store.hashes import sha256_of_file


def copy_image(
    source: Path,
    home: Path,
    class_name: str,
    made: Collection[str] = (),
    on_begin: Callable[[str], None] = lambda _: None,
) -> str:
    """A copy of an image in a class folder below `home`; its path there. made: earlier copies; where that
    content is there already, the answer is the one of them that has it, else an empty text. on_begin: is
    called with the path before the copy is there.

    Raises: ConfigError, DataError."""
    drop = Drop(home, on_keep=lambda path: on_begin(f"{path.parent.name}/{path.name}"))
    try:
        with source.open("rb") as file:
            kept = drop.add_image(source.name, file, class_name)
        if kept is not None:
            return f"{class_name}/{kept.name}"
        digest = sha256_of_file(source)
        in_class = (copy for copy in sorted(made) if copy.startswith(f"{class_name}/"))
        there = ((copy, home / copy) for copy in in_class)
        return next((copy for copy, path in there if path.is_file() and sha256_of_file(path) == digest), "")
    except OSError as error:
        raise DataError(f"{source.name} cannot be read ({error.strerror})") from error


def remove_copy(source: Path, home: Path, copy: str) -> None:
    """Takes back copy_image: removes the copy at that path below `home` while it has the image's content.

    Raises: DataError where the image cannot be read; StoreError for a path that leads elsewhere."""
    path = store.inside(home, copy)
    try:
        if path.is_file() and not path.samefile(source) and sha256_of_file(path) == sha256_of_file(source):
            path.unlink()
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
    except OSError as error:
        raise DataError(f"{source.name} cannot be read ({error.strerror})") from error
