"""The reports in the repository, and what the README tells of them, are what their own trials give."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from headstart.report import differences

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
update_readme = importlib.import_module("update_readme")

FOLDERS = ["report", "report/cnn", "report/cpu", "report/equal", "report/gpu"]


def test_every_published_report_is_checked() -> None:
    assert {ROOT / folder / "trials" for folder in FOLDERS} == set(update_readme.SECTIONS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_report_in_the_repository_is_made_from_its_trials(folder: str) -> None:
    """Page, Markdown, tables and SVG byte for byte, the PDF by its text, pictures by their pixels."""
    assert differences(ROOT / folder) == []


@pytest.mark.parametrize(
    "folder", ["docs/results/cifar10-quick", *(f"{folder}/trials" for folder in FOLDERS)]
)
def test_the_readme_says_what_the_published_trials_give(folder: str) -> None:
    text = (ROOT / "README.md").read_text()
    assert update_readme.with_section(text, ROOT / folder) == text
