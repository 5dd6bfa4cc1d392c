"""Figures of the images themselves: grids of images, class counts, maps of feature spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.plots.axes import percent_ticks
from headstart.plots.style import ARM_COLORS_LIGHT, INK, MUTED, WIDTH, new_figure, shortened, styled

_TITLE, _LINE = 10.0, 13.0  # font size and line height of a tile's title, in units
# Classes are no arms: ten hues of their own, each class named beside its middle too, so that colour is never
# alone.
_CLASS_COLORS = (
    "#005a96",
    "#c24a00",
    "#007a58",
    "#a3407a",
    "#8f6200",
    "#5ba3d8",
    "#f08c5a",
    "#3cb58c",
    "#d486b4",
    "#6b6b6d",
)


@styled
def image_grid(
    images: NDArray[Any] | Sequence[NDArray[Any]],
    titles: Sequence[str] = (),
    *,
    columns: int = 8,
    row_titles: Sequence[str] = (),
) -> Figure:
    """Images in rows of `columns`, pixel by pixel, with a title under each image or before each row.

    images: uint8 (N, H, W, 3); or floating (N, H, W, 3), each brought from its own range to 0..1, as filters
    need. titles: may have several lines."""
    rows = math.ceil(len(images) / columns)
    lines = max((title.count("\n") + 1 for title in titles), default=0)
    left = 92.0 if row_titles else 2.0
    tile = (WIDTH - left) / columns
    pitch = tile + lines * _LINE + (6 if lines else 0)
    height = rows * pitch + 2
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")
    letters = int(tile / 5.6)
    for place, image in enumerate(images):
        x, y = left + tile * (place % columns), pitch * (place // columns)
        axes.imshow(
            _displayable(np.asarray(image)),
            extent=(x + 1, x + tile - 1, y + tile - 1, y + 1),
            interpolation="nearest",
            aspect="auto",
        )
        for line, text in enumerate(titles[place].split("\n") if place < len(titles) else ()):
            axes.text(
                x + 1,
                y + tile + _LINE * (line + 0.6),
                shortened(text, letters),
                fontsize=_TITLE,
                va="center",
                color=MUTED if line else INK,
            )
    for row, title in enumerate(row_titles):
        axes.text(0, row * pitch + tile / 2, shortened(title, 14), va="center")
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    return figure


def _displayable(image: NDArray[Any]) -> NDArray[Any]:
    if image.dtype == np.uint8:
        return image
    low, high = float(image.min()), float(image.max())
    return (image - low) / (high - low) if high > low else np.full(image.shape, 0.5)


@styled
def class_counts(class_names: Sequence[str], counts: Mapping[str, Sequence[int]], measure: str) -> Figure:
    """The number of images of each class, a bar for each class made of parts with the counts written on them.

    counts: by part ("training", "validation", ...), one number for each class."""
    figure, axes = new_figure(64 + 26 * len(class_names) + 18, measure)
    start = np.zeros(len(class_names))
    longest = max(sum(column) for column in zip(*counts.values(), strict=True)) or 1
    for part, (name, values) in enumerate(counts.items()):
        color = ARM_COLORS_LIGHT[(0, 4, 6)[part % 3]]
        axes.barh(
            range(len(class_names)),
            values,
            left=start,
            height=0.72,
            color=color,
            alpha=(1.0, 0.85, 0.85)[part % 3],
        )
        for row, value in enumerate(values):
            if value / longest > 0.07:
                axes.text(
                    start[row] + value / 2,
                    row,
                    f"{value:,}",
                    color="white",
                    ha="center",
                    va="center",
                    fontsize=12,
                )
        if max(values):
            axes.text(start[0] + values[0] / 2, -0.75, name, color=color, ha="center", va="center")
        start = start + np.asarray(values)
    axes.set(
        yticks=range(len(class_names)),
        yticklabels=[shortened(name, 16) for name in class_names],
        ylim=(len(class_names) - 0.4, -1.2),
    )
    axes.tick_params(axis="y", labelcolor=INK)
    axes.grid(False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    return figure


@styled
def embedding(
    points: NDArray[np.floating[Any]], labels: NDArray[np.int64], class_names: Sequence[str], measure: str
) -> Figure:
    """A map of images in two dimensions: a dot for each image in the colour of its class, and the class's
    name at the median of its dots.

    points: (N, 2). labels: int64 (N,). Axes have no unit: only near and far mean something."""
    figure, axes = new_figure(WIDTH * 0.86, measure)
    for label, name in enumerate(class_names):
        own = points[labels == label]
        if not len(own):
            continue
        color = _CLASS_COLORS[label % len(_CLASS_COLORS)]
        axes.scatter(
            own[:, 0],
            own[:, 1],
            s=max(4.0, min(18.0, 12000 / len(points))),
            color=color,
            alpha=0.65,
            linewidths=0,
        )
        middle = np.median(own, axis=0)
        axes.text(
            middle[0],
            middle[1],
            name,
            color=color,
            ha="center",
            va="center",
            fontweight="bold",
            bbox={
                "facecolor": "white",
                "edgecolor": color,
                "alpha": 0.85,
                "boxstyle": "round,pad=0.2",
                "linewidth": 0.8,
            },
        )
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    return figure


@styled
def lines(
    x: Sequence[float], series: Mapping[str, Sequence[float]], axis: str, measure: str, *, log_x: bool = False
) -> Figure:
    """Shares (0..1) over a number, drawn in percent: a line with marks for each of `series`, named at its
    last mark."""
    figure, axes = new_figure(300, measure)
    if log_x:
        axes.set_xscale("log")
    for place, (name, values) in enumerate(series.items()):
        color = ARM_COLORS_LIGHT[place % len(ARM_COLORS_LIGHT)]
        axes.plot(x, [100 * value for value in values], color=color, marker="os^Dv"[place % 5])
        axes.annotate(
            f"{name} {100 * values[-1]:.1f}\u202f%",
            (x[-1], 100 * values[-1]),
            xytext=(0, 9),
            ha="right",
            textcoords="offset points",
            color=color,
        )
    axes.set_xticks(list(x), [f"{value:,g}" for value in x])
    axes.minorticks_off()
    axes.set_xlabel(axis)
    axes.margins(y=0.18)
    percent_ticks(axes.yaxis)
    return figure
