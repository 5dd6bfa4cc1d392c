"""Output folders remember whose they are: the results of other images never replace them."""

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
