"""The reports in the repository, and what the README tells of them, are what their own trials give."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart.report import differences
from headstart.report.writers import bundle

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
update_readme = importlib.import_module("update_readme")

SMALLEST = "report/cnn"
FOLDERS = ["report", "report/cnn", "report/cpu", "report/equal", "report/gpu", "report/fashion"]


def test_every_published_report_is_checked() -> None:
    published = {part.folder for part in update_readme.PARTS} - {update_readme.QUICK}
    assert {ROOT / folder / "trials" for folder in FOLDERS} == published


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_report_in_the_repository_is_made_from_its_trials(folder: str) -> None:
    """Page, Markdown, tables and SVG byte for byte; the smallest report's PDF by its text, PNG by pixels."""
    assert differences(ROOT / folder, drawn=folder == SMALLEST) == []


@pytest.mark.slow
@pytest.mark.parametrize("folder", sorted({*FOLDERS} - {SMALLEST}))
def test_what_is_drawn_in_a_report_is_made_from_its_trials(folder: str) -> None:
    """As above, every PDF by its text and every PNG by its pixels: two thirds of the time."""
    assert differences(ROOT / folder) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_published_pdf_gives_the_verdicts_of_its_page(folder: str) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed; on Debian: apt-get install poppler-utils")
    told = re.sub(r"[\s\u2060]+", "", bundle._pdf_text(ROOT / folder / "report.pdf", "-raw"))
    for finding in json.loads((ROOT / folder / "findings.json").read_text()):
        assert re.sub(r"\s+", "", finding["claim"]["sentence"]) in told


@pytest.mark.parametrize("part", update_readme.PARTS, ids=lambda part: part.page.name)
def test_a_page_says_what_the_published_trials_give(part: Any) -> None:
    text = part.page.read_text()
    assert update_readme.with_part(text, part) == text


def test_the_home_page_shows_the_published_figure() -> None:
    assert update_readme.PICTURE.read_bytes() == update_readme.FIGURE.read_bytes()
