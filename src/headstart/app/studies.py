"""Studies on this machine: the folders below runs/, those that run now, and the published one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.errors import HeadstartError

_ALIVE_SECONDS = 120.0  # since something was written
_MOST = 200


@dataclass(frozen=True, kw_only=True)
class StudyFolder:
    """A study. finished: trials; changed: Unix time of the last one. report: its page, if any."""

    name: str
    title: str
    folder: Path
    finished: int
    changed: float
    report: Path | None

    @property
    def is_running(self) -> bool:
        """Whether something was written within the last two minutes."""
        return time.time() - self.changed < _ALIVE_SECONDS


def studies_in(folders: Sequence[Path]) -> list[StudyFolder]:
    """The studies directly below some folders, the last changed first."""
    studies = []
    for folder in folders:
        children = sorted(folder.iterdir())[:_MOST] if folder.is_dir() else []
        studies += [study for child in children if (study := _read(child)) is not None]
    return sorted(studies, key=lambda study: -study.changed)


def _read(folder: Path) -> StudyFolder | None:
    if not folder.is_dir() or not store.has_study(folder):
        return None
    try:
        title = store.read_study(folder).title
    except HeadstartError:
        title = folder.name
    results = [path.stat().st_mtime for path in folder.glob("*/result.json")]
    histories = [path.stat().st_mtime for path in folder.glob("*/history.jsonl")]
    report = folder / "report.html"
    return StudyFolder(
        name=folder.name,
        title=title,
        folder=folder,
        finished=len(results),
        changed=max([*results, *histories, folder.stat().st_mtime]),
        report=report if report.exists() else None,
    )


def published_report() -> Path | None:
    """The published CIFAR-10 study's page, where this is a checkout of the repository."""
    path = Path(__file__).parents[3] / "report" / "report.html"
    return path if path.exists() else None
