"""Figures of one number for each arm, class or cell of a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from headstart.plots.axes import NICE_STEPS, percent_ticks
from headstart.plots.style import (
    GRID,
    HEAT,
    INK,
    MUTED,
    PAPER,
    PIXEL_HEAT,
    WIDTH,
    ArmStyle,
    Estimate,
    new_figure,
    percent,
    short_duration,
    shortened,
    styled,
    wrapped,
)

_MOST_NUMBERED_CLASSES = 20
_CLASS_LETTERS = 26  # beside the cells of a confusion matrix, which must stay larger than its names


@styled
def accuracy(estimates: Mapping[str, Estimate], styles: Mapping[str, ArmStyle], measure: str) -> Figure:
    """Each arm's accuracy as a point with its interval, on one scale, which need not begin at zero."""
    figure, axes = new_figure(66 + 56 * len(estimates), measure)
    # Many arms: long names tell them apart.
    font, letters = (13.0, 34) if len(estimates) <= 4 else (11.0, 50)
    edges = [100 * v for e in estimates.values() for v in (e.value, *(e.interval or ()), *e.points)]
    span = max(max(edges) - min(edges), 1.0)
    axes.set_xlim(max(min(edges) - 0.18 * span, 0), min(max(edges) + 0.3 * span, 100.5))
    for row, (name, estimate) in enumerate(estimates.items()):
        style = styles[name]
        axes.text(
            0.0,
            row - 0.27,
            shortened(style.label, letters),
            transform=axes.get_yaxis_transform(),
            color=style.color,
            va="center",
            fontsize=font,
        )
        _draw_estimate(axes, row + 0.12, estimate, style)
        axes.text(
            1.0,
            row - 0.27,
            _with_interval(estimate),
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=font,
        )
    axes.set_ylim(len(estimates) - 0.5, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=NICE_STEPS))
    percent_ticks(axes.xaxis)
    axes.grid(True, axis="x")
    return figure


def _draw_estimate(axes: Axes, y: float, estimate: Estimate, style: ArmStyle) -> None:
    """Draw the interval as a bar, single seeds as ticks, and the value as the arm's mark."""
    color = style.color
    if estimate.interval:
        ends = [100 * end for end in estimate.interval]
        axes.plot(ends, [y] * 2, color=color, linewidth=3, alpha=0.55, solid_capstyle="butt")
    if len(estimate.points) > 1:
        seeds = [100 * point for point in estimate.points]
        axes.plot(seeds, [y] * len(seeds), linestyle="none", marker="|", markersize=11, color=color)
    axes.plot([100 * estimate.value], [y], marker=style.marker, markersize=9, color=color, linestyle="none")


def _with_interval(estimate: Estimate) -> str:
    if estimate.interval is None:
        return percent(estimate.value, 2)
    low, high = estimate.interval
    return f"{percent(estimate.value, 2)}  [{100 * low:.2f}, {100 * high:.2f}]"


@styled
def confusion(shares: NDArray[np.float64], class_names: Sequence[str], measure: str) -> Figure:
    """One arm's confusion matrix, rows normalised to 1: rows are true classes, columns predicted ones.

    shares: float64 (C, C); NaN in the row of a class without images. The scale is the same in every figure:
    ink grows with the square root of the share, so that errors of a few percent show beside a diagonal near
    100 %. Up to 20 classes, cells carry their percent; more are drawn as pixels.
    """
    numbered = len(class_names) <= _MOST_NUMBERED_CLASSES
    figure, axes = new_figure(WIDTH + (20 if numbered else -10), measure)
    axes.set_aspect("equal")
    if numbered:
        _draw_cells(axes, shares, class_names)
    else:
        _draw_pixels(axes, shares)
    # They cannot widen the figure; measuring them takes most of its time.
    for inside in (*axes.patches, *axes.texts):
        inside.set_in_layout(False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class" if numbered else "predicted class (number)")
    axes.set_ylabel("true class" if numbered else "true class (number)", rotation_mode="anchor", ha="center")
    for side in ("top", "bottom", "left", "right"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color(GRID)
    axes.grid(False)
    return figure


def _ink(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(np.clip(np.nan_to_num(shares), 0, 1))


def _draw_cells(axes: Axes, shares: NDArray[np.float64], class_names: Sequence[str]) -> None:
    count, ink = len(class_names), _ink(shares)
    class_names = [shortened(name, _CLASS_LETTERS) for name in class_names]
    font = 12.5 if count <= 10 else 8.5
    for i, j in np.ndindex(count, count):
        cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=HEAT, alpha=float(ink[i, j]), linewidth=0)
        axes.add_patch(cell)
        if shares[i, j] > 0.005:  # NaN, of a class without images, is not
            axes.text(
                j,
                i,
                f"{100 * shares[i, j]:.0f}",
                ha="center",
                va="center",
                fontsize=font,
                color=PAPER if ink[i, j] > 0.6 else INK,
                fontweight="bold" if i == j else "normal",
            )
    axes.set_xticks(range(count), class_names, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.set_yticks(range(count), class_names)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)


def _draw_pixels(axes: Axes, shares: NDArray[np.float64]) -> None:
    pixels = np.empty((*shares.shape, 4))
    pixels[..., :3], pixels[..., 3] = PIXEL_HEAT, _ink(shares)
    axes.imshow(pixels, interpolation="nearest")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))


@styled
def by_class(
    class_names: Sequence[str],
    values: Mapping[str, Sequence[Estimate]],
    styles: Mapping[str, ArmStyle],
    measure: str,
) -> Figure:
    """A share of each class, with lines as intervals, the arms one under the other.

    Up to three arms are bars from zero with the value at each bar's end; more are marks."""
    bars = len(values) <= 3
    lane = (17.0 if len(values) <= 2 else 14.0) if bars else 9.0
    block = lane * len(values) + 12
    figure, axes = new_figure(64 + block * len(class_names) + 18 * len(values), measure)
    for i in range(len(class_names)):
        for j, (name, row) in enumerate(values.items()):
            y = i * block + 6 + lane * (j + 0.5)
            if bars:
                _draw_class_bar(axes, y, row[i], styles[name], 0.42 * lane)
            else:
                _draw_class_mark(axes, y, row[i], styles[name])
        if i and not bars:
            axes.axhline(i * block, color=GRID, linewidth=1)
    axes.set_ylim(len(class_names) * block, -18 * len(values) - 4)
    for j, name in enumerate(values):
        style, y = styles[name], -18 * (len(values) - j) + 8
        axes.plot([2.2], [y], marker=style.marker, markersize=7, color=style.color)
        axes.text(5.5, y, shortened(style.label, 44), color=style.color, va="center")
    for inside in (*axes.patches, *axes.texts, *axes.lines):
        inside.set_in_layout(False)
    axes.set_yticks(
        [i * block + block / 2 for i in range(len(class_names))], [wrapped(name, 16) for name in class_names]
    )
    axes.set_xlim(0, 108)
    axes.set_xticks(range(0, 101, 20), [f"{v}\u202f%" for v in range(0, 101, 20)])
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    return figure


def _draw_class_bar(axes: Axes, y: float, estimate: Estimate, style: ArmStyle, half: float) -> None:
    """Draw a bar from zero, `half` units to each side of y, with its interval and its value in percent."""
    high = estimate.interval[1] if estimate.interval else estimate.value
    _draw_class_interval(axes, y, estimate, INK, width=1.2, opacity=1)
    axes.add_patch(
        Rectangle((0, y - half), 100 * estimate.value, 2 * half, facecolor=style.color, linewidth=0)
    )
    if estimate.value > 0.06:  # the arm's mark inside its bar: the arms differ in greyscale too
        axes.plot([2.2], [y], marker=style.marker, markersize=5, color=PAPER, markeredgewidth=0)
    axes.text(
        100 * max(estimate.value, high) + 1.2,
        y,
        f"{100 * estimate.value:.0f}",
        va="center",
        fontsize=11.5,
        color=style.color,
    )


def _draw_class_mark(axes: Axes, y: float, estimate: Estimate, style: ArmStyle) -> None:
    _draw_class_interval(axes, y, estimate, style.color, width=1.6, opacity=0.6)
    axes.plot([100 * estimate.value], [y], marker=style.marker, markersize=6, color=style.color, zorder=4)


def _draw_class_interval(
    axes: Axes, y: float, estimate: Estimate, color: str, *, width: float, opacity: float
) -> None:
    low, high = estimate.interval or (estimate.value, estimate.value)
    ends = [100 * low, 100 * high]
    axes.plot(ends, [y, y], color=color, linewidth=width, alpha=opacity, solid_capstyle="butt", zorder=3)


@styled
def cost_by_phase(
    seconds: Mapping[str, Mapping[str, float]],
    styles: Mapping[str, ArmStyle],
    measure: str,
    footnotes: Mapping[str, str] | None = None,
) -> Figure:
    """The seconds of each arm: a bar from zero of its phases in order, named in words under it.

    seconds: by arm and phase. footnotes: by arm, the mark that stands behind its sum."""
    descriptions = [
        _listed([f"{phase} {short_duration(value)}" for phase, value in row.items()])
        for row in seconds.values()
    ]
    lane = 66 + 15 * max(text.count("\n") for text in descriptions)
    figure, axes = new_figure(56 + lane * len(seconds), measure)
    longest = max(math.fsum(row.values()) for row in seconds.values()) or 1.0
    for i, ((name, row), description) in enumerate(zip(seconds.items(), descriptions, strict=True)):
        style, start = styles[name], 0.0
        axes.text(0, i - 24 / lane, shortened(style.label, 50), color=style.color, va="center")
        total = short_duration(math.fsum(row.values())) + (footnotes or {}).get(name, "")
        axes.text(longest, i - 24 / lane, total, ha="right", va="center")
        for k, value in enumerate(row.values()):
            axes.add_patch(
                Rectangle(
                    (start, i - 12 / lane),
                    value,
                    18 / lane,
                    facecolor=style.color,
                    linewidth=0,
                    alpha=(1.0, 0.6, 0.35, 0.8, 0.5)[k % 5],
                )
            )
            start += value
        axes.text(0, i + 10 / lane, description, color=MUTED, fontsize=12, va="top")
    for text in axes.texts:  # a long line of phases must not narrow the bars
        text.set_in_layout(False)
    axes.set_xlim(0, longest)
    axes.set_ylim(len(seconds) - 0.45, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}\u202fs"))
    axes.grid(True, axis="x")
    return figure


def _listed(parts: Sequence[str], width: int = 62) -> str:
    """Parts with dots between them, in lines of at most `width` characters that break at a dot."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if len(longer) > width and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = longer
    return "\n".join(lines)
