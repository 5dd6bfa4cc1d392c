"""Output folders: where they lie, never among the images, and whose they are: the results of other images
never replace them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from headstart import store
from headstart.errors import ConfigError
from headstart.runtime.show import printable, shown
from headstart.store.remedies import OUTPUT

FILE = "belongs-to.json"
_LONGEST = 4096  # letters of a path: systems take no longer one, and a message names it


class _Owner(BaseModel):
    """belongs-to.json."""

    images: Annotated[str, Field(max_length=_LONGEST)] = ""


def output_folder(what: str, images: Path, out: Path | None) -> Path:
    """Where results go: `out`, else WHAT/NAME seen from here; beside the folder of images where that would
    lie inside it, for its next reader would take it for a class.

    Raises: ConfigError where `out` lies inside."""
    source = images.resolve()
    folder = Path(what) / source.name if out is None else out
    if out is None and _lies_in(folder, source):
        return source.parent / what / source.name
    require_outside(folder, images)
    return folder


def require_outside(folder: Path, images: Path) -> None:
    """Raises: ConfigError where results would lie inside a folder of images."""
    if _lies_in(folder, images.resolve()):
        raise ConfigError(
            f"{shown(str(folder))} lies in {shown(str(images))}: what is written there would be among the "
            "images; name a folder elsewhere with --out"
        )


def _lies_in(folder: Path, source: Path) -> bool:
    return source.is_dir() and folder.resolve().is_relative_to(source)


def claim(folder: Path, images: Path, command: str) -> None:
    """Note in an output folder which images its results are of.

    Raises: ConfigError where they are of other images; StoreError where it cannot be written."""
    mine = printable(str(images.resolve()))
    path = folder / FILE
    if path.exists():
        theirs = store.read_as(_Owner, path, OUTPUT).images
        if theirs != mine:
            raise ConfigError(
                f"{shown(str(folder))} holds results of {shown(theirs)}, not of {shown(mine)}; choose "
                "another folder with --out, or move that folder elsewhere"
            )
        return
    store.write_sealed(path, {"images": mine, "command": command})
