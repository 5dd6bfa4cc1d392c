"""Pictures with, for each arm, where its network found evidence for its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from headstart.plots.style import INK, MUTED, WIDTH, ArmStyle, percent, shortened, styled, wrapped

_MOST_TILE = 92.0
_MOST_PIXELS = 64  # of a picture's side in the drawing
_TEXT, _LINE, _LETTER = 12.0, 14.0, 7.3  # font size, line height and a letter's width, in units
_GAP = 5.0
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class EvidenceColumn:
    """One arm's evidence float (N, H, W) in 0..1 for its answers, and these with their probability (0..1)."""

    style: ArmStyle
    evidence: NDArray[Any]
    answers: Sequence[str]
    probabilities: Sequence[float]
    right: Sequence[bool]


@styled
def evidence_grid(
    images: NDArray[np.uint8], truths: Sequence[str], columns: Sequence[EvidenceColumn]
) -> Figure:
    """Each picture with its true class, then an arm a column: the picture in grey with the evidence over it,
    the arm's answer and its probability, a wrong one before "✗". Where arms are few, pictures stand beside
    each other.

    images: uint8 (N, H, W, 3)."""
    across = 1 + len(columns)
    groups = max(1, min(len(images), 6 // across))
    tile = min(_MOST_TILE, (WIDTH + _GAP) / (across * groups) - _GAP)
    letters, rows = int((tile + _GAP - 2) / _LETTER), -(-len(images) // groups)
    titles = [wrapped(column.style.label, letters, lines=4) for column in columns]
    top = _LINE * (2 + max(title.count("\n") for title in titles)) + 4
    pitch = tile + 2 * _LINE + 10
    height = top + rows * pitch
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")

    def write(x: float, y: float, text: str, color: str) -> None:
        axes.text(x, y, text, fontsize=_TEXT, color=color, va="center")

    def left(place: int, column: int) -> float:
        return (place % groups * across + column) * (tile + _GAP)

    for group in range(groups):
        write(left(group, 0), top - 4 - _LINE / 2, "the picture", MUTED)
        for k, (column, title) in enumerate(zip(columns, titles, strict=True), 1):
            lines = title.split("\n")
            first = top - 4 - _LINE * (len(lines) + 0.5)
            axes.plot(
                left(group, k) + 5, first, marker=column.style.marker, color=column.style.color, markersize=7
            )
            for line, text in enumerate(lines, 1):
                write(left(group, k), first + _LINE * line, text, column.style.color)
    for place, (image, truth) in enumerate(zip(images, truths, strict=True)):
        y = top + place // groups * pitch
        small = _small(image)
        _show(axes, small, left(place, 0), y, tile)
        write(left(place, 0), y + tile + _LINE * 0.7, shortened(truth, letters), INK)
        for k, column in enumerate(columns, 1):
            x, sure = left(place, k), percent(column.probabilities[place], 0)
            _show(axes, _heated(small, column.evidence[place]), x, y, tile)
            write(x, y + tile + _LINE * 0.7, shortened(column.answers[place], letters), INK)
            write(
                x,
                y + tile + _LINE * 1.7,
                sure if column.right[place] else f"{sure} ✗",
                MUTED if column.right[place] else INK,
            )
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _show(axes: Axes, image: NDArray[np.uint8], x: float, y: float, tile: float) -> None:
    axes.imshow(
        image, extent=(x, x + tile, y + tile, y), interpolation="none", aspect="auto"
    )  # its own pixels in an SVG


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = min(max(image.shape[:2]), _MOST_PIXELS)
    if max(image.shape[:2]) == side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def _heated(image: NDArray[np.uint8], evidence: NDArray[Any]) -> NDArray[np.uint8]:
    """The picture in grey with the evidence over it, the stronger the less of the picture shows through."""
    rows, columns = image.shape[:2]
    grid = Image.fromarray(np.ascontiguousarray(evidence, dtype=np.float32))
    heat = np.asarray(grid.resize((columns, rows), Image.Resampling.BILINEAR)).clip(0, 1)
    grey = np.repeat((image @ _LUMINANCE)[..., None], 3, axis=2)
    alpha = (0.15 + 0.55 * heat)[..., None]
    return np.rint((1 - alpha) * grey + alpha * 255 * mpl.colormaps["inferno"](heat)[..., :3]).astype(
        np.uint8
    )
