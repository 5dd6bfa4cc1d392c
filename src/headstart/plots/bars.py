"""Figures of one number an arm, a class or a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

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


@styled
def accuracy(estimates: Mapping[str, Estimate], styles: Mapping[str, ArmStyle], measure: str) -> Figure:
    """Each arm's accuracy as a point with its interval, on one scale (which need not begin at zero)."""
    height = 66 + 56 * len(estimates)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    small, longest = (
        (13.0, 34) if len(estimates) <= 4 else (11.0, 50)
    )  # many arms: long names tell them apart
    edges = [100 * v for e in estimates.values() for v in (e.value, *(e.interval or ()), *e.points)]
    span = max(max(edges) - min(edges), 1.0)
    axes.set_xlim(max(min(edges) - 0.18 * span, 0), min(max(edges) + 0.3 * span, 100.5))
    for row, (name, estimate) in enumerate(estimates.items()):
        style = styles[name]
        axes.text(
            0.0,
            row - 0.27,
            shortened(style.label, longest),
            transform=axes.get_yaxis_transform(),
            color=style.color,
            va="center",
            fontsize=small,
        )
        if estimate.interval:
            axes.plot(
                [100 * v for v in estimate.interval],
                [row + 0.12] * 2,
                color=style.color,
                linewidth=3,
                alpha=0.55,
                solid_capstyle="butt",
            )
        if len(estimate.points) > 1:
            axes.plot(
                [100 * v for v in estimate.points],
                [row + 0.12] * len(estimate.points),
                linestyle="none",
                marker="|",
                markersize=11,
                color=style.color,
            )
        axes.plot(
            [100 * estimate.value],
            [row + 0.12],
            marker=style.marker,
            markersize=9,
            color=style.color,
            linestyle="none",
        )
        axes.text(
            1.0,
            row - 0.27,
            _with_interval(estimate),
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=small,
        )
    axes.set_ylim(len(estimates) - 0.5, -0.6)
    axes.yaxis.set_major_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}\u202f%"))
    axes.grid(True, axis="x")
    return figure


def _with_interval(estimate: Estimate) -> str:
    if estimate.interval is None:
        return percent(estimate.value, 2)
    low, high = estimate.interval
    return f"{percent(estimate.value, 2)}  [{100 * low:.2f}, {100 * high:.2f}]"


@styled
def confusion(shares: NDArray[np.float64], class_names: Sequence[str], measure: str) -> Figure:
    """One arm's confusion matrix, rows normalised to 1: rows are true classes, columns predicted ones.

    The scale is the same in every figure: ink grows with the square root of the share, so that errors of a
    few percent show beside a diagonal near 100 %. Up to 20 classes, cells carry their percent; more are drawn
    as pixels.
    """
    count = len(class_names)
    small = count <= 20
    figure, axes = new_figure(WIDTH + (20 if small else -10))
    axes.set_title(measure)
    axes.set_aspect("equal")
    ink = np.sqrt(np.clip(np.nan_to_num(shares), 0, 1))
    if small:
        size = 12.5 if count <= 10 else 8.5
        for i, j in np.ndindex(count, count):
            axes.add_patch(
                Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=HEAT, alpha=float(ink[i, j]), linewidth=0)
            )
            if shares[i, j] > 0.005:  # NaN, of a class without images, is not
                axes.text(
                    j,
                    i,
                    f"{100 * shares[i, j]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=size,
                    color=PAPER if ink[i, j] > 0.6 else INK,
                    fontweight="bold" if i == j else "normal",
                )
        axes.set_xticks(
            range(count), class_names, rotation=90, rotation_mode="anchor", ha="right", va="center"
        )
        axes.set_yticks(range(count), class_names)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
    else:
        pixels = np.empty((count, count, 4))
        pixels[..., :3], pixels[..., 3] = PIXEL_HEAT, ink
        axes.imshow(pixels, interpolation="nearest")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    for inside in (
        *axes.patches,
        *axes.texts,
    ):  # they cannot widen the figure; measuring them takes most of its time
        inside.set_in_layout(False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class" if small else "predicted class (number)")
    axes.set_ylabel("true class" if small else "true class (number)", rotation_mode="anchor", ha="center")
    for side in ("top", "bottom", "left", "right"):
        axes.spines[side].set_visible(True)
        axes.spines[side].set_color(GRID)
    axes.grid(False)
    return figure


@styled
def by_class(
    class_names: Sequence[str],
    values: Mapping[str, Sequence[Estimate]],
    styles: Mapping[str, ArmStyle],
    measure: str,
) -> Figure:
    """A share of each class. Up to three arms: bars from zero, one under the other, with the value at each
    bar's end; more arms: marks, one under the other. Lines are intervals."""
    bars = len(values) <= 3
    lane = (17.0 if len(values) <= 2 else 14.0) if bars else 9.0
    block = lane * len(values) + 12
    height = 64 + block * len(class_names) + 18 * len(values)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    for i in range(len(class_names)):
        for j, (name, row) in enumerate(values.items()):
            style, estimate, y = styles[name], row[i], i * block + 6 + lane * (j + 0.5)
            low, high = estimate.interval or (estimate.value, estimate.value)
            axes.plot(
                [100 * low, 100 * high],
                [y, y],
                color=INK if bars else style.color,
                linewidth=1.2 if bars else 1.6,
                alpha=1 if bars else 0.6,
                solid_capstyle="butt",
                zorder=3,
            )
            if not bars:
                axes.plot(
                    [100 * estimate.value],
                    [y],
                    marker=style.marker,
                    markersize=6,
                    color=style.color,
                    zorder=4,
                )
                continue
            axes.add_patch(
                Rectangle(
                    (0, y - 0.42 * lane),
                    100 * estimate.value,
                    0.84 * lane,
                    facecolor=style.color,
                    linewidth=0,
                )
            )
            if estimate.value > 0.06:  # the arm's mark inside its bar: the sides differ in greyscale too
                axes.plot([2.2], [y], marker=style.marker, markersize=5, color=PAPER, markeredgewidth=0)
            axes.text(
                100 * max(high, estimate.value) + 1.2,
                y,
                f"{100 * estimate.value:.0f}",
                va="center",
                fontsize=11.5,
                color=style.color,
            )
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


@styled
def cost_by_phase(
    seconds: Mapping[str, Mapping[str, float]],
    styles: Mapping[str, ArmStyle],
    measure: str,
    marks: Mapping[str, str] | None = None,
) -> Figure:
    """Where an arm's seconds went: a bar from zero, its phases in order, told in words under it.

    marks: by arm, what stands behind its sum."""
    told = [
        _listed([f"{phase} {short_duration(took)}" for phase, took in row.items()])
        for row in seconds.values()
    ]
    lane = 66 + 15 * (max(text.count("\n") for text in told))
    height = 56 + lane * len(seconds)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    longest = max(sum(row.values()) for row in seconds.values()) or 1.0
    for i, (name, row) in enumerate(seconds.items()):
        style, start = styles[name], 0.0
        axes.text(0, i - 24 / lane, shortened(style.label, 50), color=style.color, va="center")
        total = short_duration(sum(row.values())) + (marks or {}).get(name, "")
        axes.text(longest, i - 24 / lane, total, ha="right", va="center")
        for k, took in enumerate(row.values()):
            axes.add_patch(
                Rectangle(
                    (start, i - 12 / lane),
                    took,
                    18 / lane,
                    facecolor=style.color,
                    linewidth=0,
                    alpha=(1.0, 0.6, 0.35, 0.8, 0.5)[k % 5],
                )
            )
            start += took
        axes.text(0, i + 10 / lane, told[i], color=MUTED, fontsize=12, va="top")
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
