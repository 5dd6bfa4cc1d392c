"""Figures of the report, from drawings: a message and a caption with each."""

from __future__ import annotations

from matplotlib.figure import Figure as MplFigure

from headstart import plots
from headstart.report.document import Figure
from headstart.report.load import StudyView


def finish(drawing: MplFigure, name: str, message: str, caption: str) -> Figure:
    return Figure(
        name=name,
        message=message,
        caption=caption,
        drawing=drawing,
        svg=plots.svg_text(drawing, name, f"{message}. {caption}"),
    )


def test_count(view: StudyView) -> str:
    return f"n = {view.test_images:,} test images"
