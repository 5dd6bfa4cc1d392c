"""The report as one self-contained HTML page, from a study's folder."""

from __future__ import annotations

from pathlib import Path

from headstart import store
from headstart.data_quality.record import Health
from headstart.report.chapters.whole import compose, health_document
from headstart.report.load import load_study
from headstart.report.writers.html import html, style_sheet


def write_report(study_folder: Path) -> Path:
    """Renders report.html into a study's folder, from that folder alone, and returns its path.

    One self-contained file: no network, no script. The same folder gives the same bytes.
    Raises: StoreError where no trial has finished or the folder cannot be written; DataError where the trials
    were tested on different images."""
    path = Path(study_folder) / "report.html"
    document = compose(load_study(Path(study_folder)))
    store.write_bytes(path, html(document, style_sheet()).encode())
    return path


def write_health_page(folder: Path, examination: Health) -> Path:
    """Renders health.html, the section on data health as a page of its own, for data that no study is about.

    Raises: StoreError where the folder cannot be written."""
    path = Path(folder) / "health.html"
    store.write_bytes(path, html(health_document(examination), style_sheet()).encode())
    return path
