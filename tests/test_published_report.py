"""The report in the repository is what its own trials give."""

from __future__ import annotations

from pathlib import Path

from headstart.report import differences

REPORT = Path(__file__).parents[1] / "report"


def test_the_report_in_the_repository_is_made_from_its_trials() -> None:
    """Page, Markdown, tables and SVG byte for byte, the PDF by its text, pictures by their pixels."""
    assert differences(REPORT) == []
