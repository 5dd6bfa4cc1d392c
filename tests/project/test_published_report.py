"""The reports in the repository, and what the README tells of them, are what their own trials give."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from headstart.report import differences

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
update_readme = importlib.import_module("update_readme")

FOLDERS = ["report", "report/cnn", "report/cpu", "report/equal", "report/gpu"]


def test_every_published_report_is_checked() -> None:
    published = {part.folder for part in update_readme.PARTS} - {update_readme.QUICK}
    assert {ROOT / folder / "trials" for folder in FOLDERS} == published


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_report_in_the_repository_is_made_from_its_trials(folder: str) -> None:
    """Page, Markdown, tables and SVG byte for byte, the PDF by its text, pictures by their pixels."""
    assert differences(ROOT / folder) == []


@pytest.mark.parametrize("part", update_readme.PARTS, ids=lambda part: part.page.name)
def test_a_page_says_what_the_published_trials_give(part: Any) -> None:
    text = part.page.read_text()
    assert update_readme.with_part(text, part) == text


def test_the_home_page_shows_the_published_figure() -> None:
    assert update_readme.PICTURE.read_bytes() == update_readme.FIGURE.read_bytes()
