"""A study's page that is written anew only where something that it is made from has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import headstart
from headstart import plugins, store
from headstart.errors import HeadstartError
from headstart.report.sources import PAGE, RECORD, by_time, sources


def keep_report(study_folder: Path) -> Path:
    """As write_report; a page that was made from the same files by the same code stays as it is.

    What it was made from is a digest in report.json: the files at the top of the folder by content, those in
    run folders, which are written once, by size and time of change.
    Raises: as write_report."""
    folder = Path(study_folder)
    page, made_from = folder / PAGE, _digest(folder)
    if _is_current(folder, made_from):
        return page
    from headstart.report.writers.page import write_report  # with all that draws: half a second

    page = write_report(folder)
    record = {"made_from": made_from, "page_sha256": store.facts_of(page).sha256}
    store.write_json(folder / RECORD, record)
    return page


def _is_current(folder: Path, made_from: str) -> bool:
    page, record = folder / PAGE, folder / RECORD
    if not page.is_file() or not record.is_file():
        return False
    try:
        return bool(
            store.read_json(record) == {"made_from": made_from, "page_sha256": store.facts_of(page).sha256}
        )
    except HeadstartError:
        return False


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for line in (*_code(), *sources(folder)):
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def _code() -> Iterator[str]:
    """Which code writes the page: the version, packages that add to it, and the files themselves."""
    root = Path(headstart.__file__).parent
    yield headstart.__version__
    yield from plugins.installed()
    yield from (
        by_time(path, root) for path in sorted(root.rglob("*")) if path.suffix in (".py", ".css", ".toml")
    )
