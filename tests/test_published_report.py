"""The reports in the repository are what their own trials give."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.report import differences

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("folder", ["report", "report/cnn", "report/cpu", "report/equal", "report/gpu"])
def test_a_report_in_the_repository_is_made_from_its_trials(folder: str) -> None:
    """Page, Markdown, tables and SVG byte for byte, the PDF by its text, pictures by their pixels."""
    assert differences(ROOT / folder) == []
