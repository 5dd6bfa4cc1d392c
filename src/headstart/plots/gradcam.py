"""Grad-CAM heatmaps of several networks over the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from headstart.plots.style import INK, MUTED, WIDTH, ArmStyle, percent, shortened, styled, wrapped

_MOST_TILE = 92.0
_MOST_PIXELS = 64  # of an image's side in the drawing
_TEXT, _LINE, _LETTER = 12.0, 14.0, 7.3  # font size, line height and a letter's width, in units
_GAP = 5.0
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class GradCamColumn:
    """One network's predictions for N images, each with its heatmap.

    heatmaps: floating (N, H, W) in 0..1, of the predicted class. predictions: class names. probabilities:
    0..1, of the predictions. right: whether each prediction is the true class."""

    style: ArmStyle
    heatmaps: NDArray[np.floating]
    predictions: Sequence[str]
    probabilities: Sequence[float]
    right: Sequence[bool]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where tiles stand: each of `groups` columns of images holds `across` tiles, in rows `pitch` apart."""

    across: int
    groups: int
    tile: float
    top: float
    pitch: float

    def left(self, place: int, column: int) -> float:
        return (place % self.groups * self.across + column) * (self.tile + _GAP)

    def upper(self, place: int) -> float:
        return self.top + place // self.groups * self.pitch

    @property
    def letters(self) -> int:
        return int((self.tile + _GAP - 2) / _LETTER)


@styled
def gradcam_grid(
    images: NDArray[np.uint8], class_names: Sequence[str], columns: Sequence[GradCamColumn]
) -> Figure:
    """Each image with its true class, then a column for each network: the image in grey with the heatmap over
    it, the prediction and its probability, with "✗" behind a wrong one.

    images: uint8 (N, H, W, 3). class_names: the N true classes. Where networks are few, images stand beside
    each other."""
    across = 1 + len(columns)
    groups = max(1, min(len(images), 6 // across))
    tile = min(_MOST_TILE, (WIDTH + _GAP) / (across * groups) - _GAP)
    layout = _Layout(across=across, groups=groups, tile=tile, top=0, pitch=tile + 2 * _LINE + 10)
    titles = [wrapped(column.style.label, layout.letters, lines=4) for column in columns]
    top = _LINE * (2 + max(title.count("\n") for title in titles)) + 4
    layout = replace(layout, top=top)
    height = top + -(-len(images) // groups) * layout.pitch
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for group in range(groups):
        _write_titles(axes, layout, group, [column.style for column in columns], titles)
    for place, (image, class_name) in enumerate(zip(images, class_names, strict=True)):
        x, y = layout.left(place, 0), layout.upper(place)
        small = _shrunk(image)
        _show(axes, small, x, y, tile)
        _write(axes, x, y + tile + _LINE * 0.7, shortened(class_name, layout.letters), INK)
        for k, column in enumerate(columns, 1):
            x, right = layout.left(place, k), column.right[place]
            probability = percent(column.probabilities[place], 0)
            _show(axes, _overlaid(small, column.heatmaps[place]), x, y, tile)
            _write(axes, x, y + tile + _LINE * 0.7, shortened(column.predictions[place], layout.letters), INK)
            text, color = (probability, MUTED) if right else (f"{probability} ✗", INK)
            _write(axes, x, y + tile + _LINE * 1.7, text, color)
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _write(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    axes.text(x, y, text, fontsize=_TEXT, color=color, va="center")


def _write_titles(
    axes: Axes, layout: _Layout, group: int, styles: Sequence[ArmStyle], titles: Sequence[str]
) -> None:
    bottom = layout.top - 4
    _write(axes, layout.left(group, 0), bottom - _LINE / 2, "the image", MUTED)
    for k, (style, title) in enumerate(zip(styles, titles, strict=True), 1):
        lines = title.split("\n")
        x, first = layout.left(group, k), bottom - _LINE * (len(lines) + 0.5)
        axes.plot(x + 5, first, marker=style.marker, color=style.color, markersize=7)
        for line, text in enumerate(lines, 1):
            _write(axes, x, first + _LINE * line, text, style.color)


def _show(axes: Axes, image: NDArray[np.uint8], x: float, y: float, tile: float) -> None:
    # Without interpolation, an SVG holds the image's own pixels.
    axes.imshow(image, extent=(x, x + tile, y + tile, y), interpolation="none", aspect="auto")


def _shrunk(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    side = min(max(image.shape[:2]), _MOST_PIXELS)
    if max(image.shape[:2]) == side:
        return image
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))


def _overlaid(image: NDArray[np.uint8], heatmap: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The image in grey with the heatmap over it: the hotter, the less of the image shows through."""
    rows, columns = image.shape[:2]
    grid = Image.fromarray(np.ascontiguousarray(heatmap, dtype=np.float32))
    heat = np.asarray(grid.resize((columns, rows), Image.Resampling.BILINEAR)).clip(0, 1)
    grey = np.repeat((image @ _LUMINANCE)[..., None], 3, axis=2)
    alpha = (0.15 + 0.55 * heat)[..., None]
    pixels = np.rint((1 - alpha) * grey + alpha * 255 * mpl.colormaps["inferno"](heat)[..., :3])
    return np.asarray(pixels, np.uint8)
