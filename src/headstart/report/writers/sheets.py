"""A gallery of the page as one image file, for readers that cannot show images inside a page."""

from __future__ import annotations

import base64
import io
import math
import re

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from headstart import plots
from headstart.plots.style import INK, MUTED, shortened, styled
from headstart.report.writers.outline import Node

_ACROSS = 6
_CELL, _LINE = 110.0, 15.0  # SVG units: an image's side and a line of text

Line = tuple[str, str]  # text and colour


@styled
def sheet(gallery: Node) -> Figure:
    """The images of a gallery, which has at least one, in rows with their words under them."""
    items = [
        (images, _lines(item))
        for item in gallery.all("li")
        if (images := [_pixels(image.attributes["src"]) for image in item.all("img")])
    ]
    widest = max(math.fsum(p.shape[1] / p.shape[0] for p in images) for images, _ in items)
    across = max(1, min(len(items), int(_ACROSS / max(widest, 1.0))))
    rows = -(-len(items) // across)
    words = max(len(lines) for _, lines in items)
    width, deep = _CELL * max(widest, 1.0), _CELL + _LINE * words + 16
    figure = Figure(figsize=((width + 14) * across / 72, deep * rows / 72))
    total_width, total_height = (width + 14) * across, deep * rows
    for place, (images, lines) in enumerate(items):
        left, top = (width + 14) * (place % across) + 7, deep * (place // across) + 4
        offset = left
        for image in images:
            wide = _CELL * image.shape[1] / image.shape[0]
            axes = figure.add_axes(
                (
                    offset / total_width,
                    1 - (top + _CELL) / total_height,
                    wide / total_width,
                    _CELL / total_height,
                )
            )
            axes.imshow(image, interpolation="nearest", aspect="auto")
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


def _lines(item: Node) -> list[Line]:
    """The words of one example, each in the colour of the arm that says it."""
    lines: list[Line] = []
    for block in item.all(""):
        if not {"truth", "says"} & set(block.classes):
            continue
        mark = block.first("svg", "mark")
        color_number = re.search(r"var\(--arm(\d+)\)", mark.attributes.get("style", "")) if mark else None
        color = (
            plots.ARM_COLORS_LIGHT[int(color_number[1])]
            if color_number
            else (INK if "truth" in block.classes else MUTED)
        )
        wrong = " ✗" if block.first("", "wrong") else ""
        lines.append((block.text + wrong, color))
    return lines
