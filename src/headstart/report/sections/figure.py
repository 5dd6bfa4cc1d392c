"""A figure of the report: a drawing with its message and its caption."""

from __future__ import annotations

from dataclasses import dataclass, field

from matplotlib.figure import Figure as MplFigure

from headstart import plots
from headstart.report.load import StudyView


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with its message (a sentence from its own numbers) and caption."""

    name: str
    message: str
    caption: str
    svg: str
    wide: bool = False
    drawing: MplFigure | None = field(default=None, repr=False, compare=False)  # what the SVG was made from


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
