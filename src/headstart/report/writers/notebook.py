"""A study's figures, and any other, for notebooks: on a white ground, with the message above and the caption
below."""

from __future__ import annotations

import importlib
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from headstart import plots
from headstart.plots.fonts import give_families, missing_letters_pass
from headstart.plots.style import STYLE
from headstart.report.chapters.whole import compose
from headstart.report.document import Figure as ReportFigure
from headstart.report.document import figures
from headstart.report.load import StudyView, load_study
from headstart.report.sections import gallery

_DOTS_A_PIXEL = 2  # of a PNG: sharp on a screen of high density


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure that a notebook shows by itself: its message, the drawing, its caption. `svg` or `png` holds
    the drawing.

    width: in CSS pixels, of a PNG."""

    message: str = ""
    caption: str = ""
    svg: str = field(default="", repr=False)
    png: bytes = field(default=b"", repr=False)
    width: int = 0

    def _ipython_display_(self) -> None:
        shown: Any = importlib.import_module("IPython.display")  # untyped
        if self.message:
            shown.display(shown.Markdown(f"**{self.message}**"))
        shown.display(shown.SVG(self.svg) if self.svg else shown.Image(self.png, width=self.width))
        if self.caption:
            shown.display(shown.Markdown(f"*{self.caption.strip()}*"))


def show(figure: Figure, message: str = "", caption: str = "") -> Picture:
    """A matplotlib figure (of `headstart.plots`, or any other) as a Picture: PNG on white, two dots a pixel.

    Examples:
        >>> grid = headstart.plots.image_grid(dataset.train.images[:4], columns=4)
        >>> picture = headstart.show(grid, "Four training images")
        >>> picture.message, picture.png[1:4]
        ('Four training images', b'PNG')
    """
    buffer = io.BytesIO()
    give_families(figure, picture=True)
    with mpl.rc_context(STYLE), missing_letters_pass():  # type: ignore[arg-type]
        figure.savefig(
            buffer, format="png", dpi=72 * _DOTS_A_PIXEL, facecolor="white", metadata={"Software": None}
        )
    width = round(figure.get_size_inches()[0] * 72)
    return Picture(message=message, caption=caption, png=buffer.getvalue(), width=width)


def load_figures(folder: str | Path) -> dict[str, Picture]:
    """Every figure of a study's report that its finished trials allow, by name: "accuracy", "curves-epochs",
    "curves-seconds", "time", "cost", "labels" (where there are several label budgets), "confusion-ARM",
    "classes", "reliability". Of more than six arms some are two figures: "labels-random" and "-pretrained".

    Examples:
        >>> sorted(headstart.load_figures(folder))[:3]
        ['accuracy', 'answer-cost', 'classes']

    Raises: StoreError where study.json or every finished trial is missing; DataError where trials have
    different test sets."""
    view = load_study(Path(folder))
    return {figure.name.removeprefix("fig-"): _on_white(figure) for figure in figures(compose(view))}


def load_gallery(folder: str | Path) -> dict[str, Picture]:
    """Test images with the arms' answers: "A-not-B" that A gets right and B wrong (both directions), "sure-A"
    that A is surest about and wrong; the clearest cases first. Kinds without an image are left out.

    Examples:
        >>> sorted(headstart.load_gallery(folder))
        ['cnn-not-probe', 'probe-not-cnn', 'sure-cnn', 'sure-probe']

    Raises: as `load_figures`."""
    view = load_study(Path(folder))
    panels = [*gallery.disagreements(view), *gallery.confident_errors(view)]
    return {panel.name: _panel(view, panel) for panel in panels if panel.examples}


def _panel(view: StudyView, panel: gallery.Panel) -> Picture:
    titles = [
        "\n".join(
            [
                example.truth,
                *(
                    f"{'✓' if answer.right else '✗'} {100 * answer.confidence:.0f} % {answer.predicted}"
                    for answer in example.answers
                ),
            ]
        )
        for example in panel.examples
    ]
    arms = ", then ".join(answer.arm.label for answer in panel.examples[0].answers)
    message = panel.title if len(panel.examples[0].answers) > 1 else f"{panel.title}: surest, and wrong"
    caption = (
        f"{len(panel.examples)} of {panel.total:,} such test images, the clearest first. Under each: its "
        "class, then what "
        f"was said and how surely, by {arms}."
    )
    drawing = plots.image_grid([view.images[example.id] for example in panel.examples], titles, columns=6)
    return show(drawing, message, caption)


def _on_white(figure: ReportFigure) -> Picture:
    # Alone in a page the drawing follows nobody's colours: a white ground keeps it readable in dark themes.
    svg = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', figure.svg, count=1)
    return Picture(message=figure.message, caption=figure.caption, svg=svg)
