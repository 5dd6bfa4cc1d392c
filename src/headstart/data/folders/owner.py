"""Output folders remember whose they are: the results of other images never replace them."""

from __future__ import annotations

from pathlib import Path

from headstart import store
from headstart.errors import ConfigError
from headstart.runtime.show import printable, shown

FILE = "belongs-to.json"


def claim(folder: Path, images: Path, command: str) -> None:
    """Note in an output folder which images its results are of.

    Raises: ConfigError where they are of other images; StoreError where it cannot be written."""
    mine = printable(str(images.resolve()))
    path = folder / FILE
    if path.exists():
        theirs = str(store.read_json(path).get("images", ""))
        if theirs != mine:
            raise ConfigError(
                f"{shown(str(folder))} holds results of {shown(theirs)}, not of {shown(mine)}; choose "
                "another "
                f"folder with --out, or delete it"
            )
        return
    store.write_json(path, {"images": mine, "command": command})
