"""A gallery as one picture file, for readers that cannot show pictures inside a page."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from headstart import plots
from headstart.plots.style import INK, MUTED, shortened, styled
from headstart.report.document import Gallery, GalleryItem, Mark, Run, Text, plain

_ACROSS = 6
_CELL, _LINE = 110.0, 15.0  # SVG units: a picture's side and a line of text

Line = tuple[str, str]  # text and colour


@styled
def sheet(gallery: Gallery) -> Figure:
    """The pictures of a gallery, which has at least one, in rows with their words under them."""
    items = [([_pixels(each.picture.source) for each in item.shown], _lines(item)) for item in gallery.items]
    widest = max(math.fsum(p.shape[1] / p.shape[0] for p in pictures) for pictures, _ in items)
    across = max(1, min(len(items), int(_ACROSS / max(widest, 1.0))))
    rows = -(-len(items) // across)
    words = max(len(lines) for _, lines in items)
    width, deep = _CELL * max(widest, 1.0), _CELL + _LINE * words + 16
    figure = Figure(figsize=((width + 14) * across / 72, deep * rows / 72))
    total_width, total_height = (width + 14) * across, deep * rows
    for place, (pictures, lines) in enumerate(items):
        left, top = (width + 14) * (place % across) + 7, deep * (place // across) + 4
        offset = left
        for picture in pictures:
            wide = _CELL * picture.shape[1] / picture.shape[0]
            axes = figure.add_axes(
                (
                    offset / total_width,
                    1 - (top + _CELL) / total_height,
                    wide / total_width,
                    _CELL / total_height,
                )
            )
            axes.imshow(picture, interpolation="nearest", aspect="auto")
            axes.set_axis_off()
            offset += wide + 2
        for k, (text, color) in enumerate(lines):
            figure.text(
                left / total_width,
                1 - (top + _CELL + 4 + _LINE * k) / total_height,
                shortened(text, round(width / 6.4)),
                fontsize=11,
                color=color,
                va="top",
                fontweight="bold" if k == 0 else "normal",
            )
    return figure


def _pixels(uri: str) -> NDArray[np.uint8]:
    content = io.BytesIO(base64.b64decode(uri.partition(",")[2]))
    return np.asarray(Image.open(content, formats=["PNG"]).convert("RGB"))


def _lines(item: GalleryItem) -> list[Line]:
    """The words of one example, each in the colour of the arm that says it."""
    lines = [
        _line(content, first=place == 0) for shown in item.shown for place, content in enumerate(shown.lines)
    ]
    return [*lines, (plots.visible(item.note), MUTED)] if item.note else lines


def _line(content: Text, *, first: bool) -> Line:
    mark = next((each for each in content if isinstance(each, Mark)), None)
    color = (
        plots.ARM_COLORS_LIGHT[mark.place % len(plots.ARM_COLORS_LIGHT)] if mark else INK if first else MUTED
    )
    wrong = any(isinstance(each, Run) and each.style == "wrong" for each in content)
    return " ".join(plots.visible(plain(content)).split()) + (" ✗" if wrong else ""), color
