"""What a study's report is made from, as lines that change when it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from headstart import store

PAGE, RECORD = "report.html", "report.json"
_NO_SOURCE = {PAGE, RECORD, "lock"}


def sources(folder: Path) -> Iterator[str]:
    """A line for each file below a study's folder, but for the page itself: those at the top of the folder by
    content, those in run folders, which are written once, by size and time of change."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or (path.parent == folder and path.name in _NO_SOURCE):
            continue
        if path.parent == folder:
            yield f"{path.name!r} {store.facts_of(path).sha256}"
        else:
            yield by_time(path, folder)


def by_time(path: Path, root: Path) -> str:
    """A file's name below `root`, its size and its times."""
    facts = path.stat()
    return f"{path.relative_to(root).as_posix()!r} {facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"
