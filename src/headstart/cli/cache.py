"""The command about the cache: what lies there, and clearing it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from headstart import store
from headstart.cli.output import console
from headstart.errors import StoreError, unknown_name
from headstart.runtime.show import shown
from headstart.store.reading import read_table

_KINDS = {
    "pictures": "decoded images of folders and tables",
    "datasets": "datasets, ready for training",
    "features": "features of frozen networks",
    "unpacked": "zips of images, unpacked",
    "weights": "pretrained weights, fetched once",
}


def cache(
    clear: Annotated[
        str | None,
        typer.Option(help=f"Delete one kind, all of which is made or fetched again: {', '.join(_KINDS)}."),
    ] = None,
) -> None:
    """Show what the cache holds, or clear a part of it.

    Images that changed are noticed without it: files are compared by their content."""
    home = store.cache_folder()
    if clear is not None:
        if clear not in _KINDS:
            raise unknown_name("part of the cache", clear, _KINDS)
        size = _bytes_in(home / clear)
        try:
            shutil.rmtree(home / clear)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StoreError(f"cannot clear {home / clear}: {error.strerror or error}") from error
        print(f"cleared {home / clear}: {_megabytes(size)}")
        return
    table = Table(show_header=True, box=None, padding=(0, 2, 0, 0))
    for title in ("part", "holds", "size"):
        table.add_column(title, justify="right" if title == "size" else "left")
    for kind, words in _KINDS.items():
        table.add_row(kind, words, _megabytes(_bytes_in(home / kind)))
        for root in _roots(home / kind) if kind == "pictures" else []:
            table.add_row("", f"  of {shown(root)}", "")
    console.print(f"cache: {home}", soft_wrap=True)
    console.print(table)


def _roots(home: Path) -> list[str]:
    """The folders whose decoded images lie there."""
    roots = set()
    for path in home.glob("*/*/meta.json"):
        try:
            roots.add(str(read_table(path).get("root", "an earlier version"))[:4096])
        except StoreError:
            continue
    return sorted(roots)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
