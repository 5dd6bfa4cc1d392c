"""Accuracies, and differences of accuracies, over label budgets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from headstart.plots.axes import (
    NICE_STEPS,
    LineEnd,
    draw_interval,
    height_for_names,
    label_ends,
    percent_axis,
)
from headstart.plots.style import GRID, MUTED, ArmStyle, Estimate, new_figure, percent, styled

_AXIS_WIDTH, _LETTER = (
    585.0,
    15.0,
)  # of these figures' axes and of a letter of their ticks, in dots of one size


@dataclass(frozen=True, kw_only=True)
class BudgetPoint:
    """An accuracy, or a difference of accuracies, at one label budget.

    labels: labelled images per class. tick: the text of the budget's tick."""

    labels: float
    tick: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted curve: x labels per class, y accuracy 0..1, each float64 (G,); low and high its band, None
    with one seed.

    measured_to: the largest budget measured; beyond it the curve extrapolates and is drawn dotted."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    measured_to: float


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The labels per class at which two curves meet, and the interval of that number."""

    labels: float
    interval: tuple[float, float] | None


@styled
def accuracy_by_labels(
    points: Mapping[str, Sequence[BudgetPoint]],
    styles: Mapping[str, ArmStyle],
    measure: str,
    fits: Mapping[str, Fit] | None = None,
    crossing: Crossing | None = None,
) -> Figure:
    """Accuracy over labels per class (log scale), a line for each arm.

    points: ascending in labels. fits: arms with a fitted curve show it with its band, the others join their
    points."""
    figure, axes = new_figure(height_for_names(350, len(points)), measure)
    axes.set_xscale("log")
    finite: list[float] = []
    ends = []
    for name, row in points.items():
        style, fit = styles[name], (fits or {}).get(name)
        y = [100 * point.estimate.value for point in row]
        for point in row:
            if point.estimate.interval:
                finite += draw_interval(axes, point.labels, point.estimate.interval, style.color)
        if fit is not None:
            _draw_fit(axes, fit, style)
            finite += [100 * float(fit.y.max())]
        axes.plot(
            [point.labels for point in row],
            y,
            color=style.color,
            linestyle="none" if fit is not None else style.line,
            marker=style.marker,
            markersize=7,
        )
        finite += y
        end = 100 * float(fit.y[-1]) if fit is not None else y[-1]
        ends.append(LineEnd(style=style, value=end, text=percent(y[-1] / 100)))
    if crossing is not None:
        if crossing.interval is not None:
            axes.axvspan(*crossing.interval, color=GRID, alpha=0.6, linewidth=0, zorder=0)
        axes.axvline(crossing.labels, color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    _budget_axis(axes, points)
    percent_axis(axes, finite)
    label_ends(axes, ends)
    return figure


def _draw_fit(axes: Axes, fit: Fit, style: ArmStyle) -> None:
    if fit.low is not None and fit.high is not None:
        axes.fill_between(
            fit.x, 100 * fit.low, 100 * fit.high, color=style.color, alpha=0.16, linewidth=0, zorder=1
        )
    inside = fit.x <= fit.measured_to
    beyond = fit.x >= fit.x[inside][-1]
    axes.plot(fit.x[inside], 100 * fit.y[inside], color=style.color, linestyle=style.line, linewidth=2)
    axes.plot(fit.x[beyond], 100 * fit.y[beyond], color=style.color, linestyle=(0, (1, 2.2)), linewidth=1.6)


def _with_room(ticks: Mapping[float, str], lines: Mapping[float, int]) -> set[float]:
    """The ticks whose words have room on a log axis; those at which most lines have a point come first."""
    decades = math.log10(max(ticks) / min(ticks)) or 1.0
    named: set[float] = set()
    for place in sorted(ticks, key=lambda place: (-lines[place], place)):
        width = _widest(ticks[place])
        if all(
            _AXIS_WIDTH * abs(math.log10(place / other)) / decades
            > _LETTER * (width + _widest(ticks[other])) / 2 + _LETTER
            for other in named
        ):
            named.add(place)
    return named


def _widest(text: str) -> int:
    return max(map(len, text.split("\n")))


def _budget_axis(axes: Axes, points: Mapping[str, Sequence[BudgetPoint]]) -> None:
    ticks = {point.labels: point.tick for row in points.values() for point in row}
    named = _with_room(ticks, Counter(point.labels for row in points.values() for point in row))
    axes.set_xticks(sorted(ticks), [ticks[v] if v in named else "" for v in sorted(ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images a class (log scale)")


@styled
def points_by_labels(
    points: Mapping[str, Sequence[BudgetPoint]], styles: Mapping[str, ArmStyle], measure: str
) -> Figure:
    """Differences of accuracies, in percentage points, over labels per class (log scale), a line for each arm
    and one at zero.

    points: ascending in labels. An interval far wider than the differences are apart (two seeds have such) is
    cut by the edge: it must not flatten everything else."""
    figure, axes = new_figure(height_for_names(350, len(points)), measure)
    axes.set_xscale("log")
    drawn, values, ends = [0.0], [0.0], []
    for place, (name, row) in enumerate(points.items()):
        style = styles[name]
        aside = 1.06 ** (place - (len(points) - 1) / 2)  # bars at one budget stand beside one another
        for point in row:
            if interval := point.estimate.interval:
                drawn += draw_interval(
                    axes, aside * point.labels, interval, style.color, width=2, opacity=0.5
                )
        y = [100 * point.estimate.value for point in row]
        x = [aside * point.labels for point in row]
        axes.plot(x, y, color=style.color, linestyle=style.line, marker=style.marker, markersize=6)
        drawn += y
        values += y
        text = f"{y[-1]:+z.1f} points".replace("-", "−")
        ends.append(LineEnd(style=style, value=y[-1], text=text))
    axes.axhline(0, color=MUTED, linewidth=1.2)
    span = max(max(values) - min(values), 2.0)
    axes.set_ylim(
        max(min(drawn), min(values) - 0.5 * span) - 0.06 * span,
        min(max(drawn), max(values) + 0.5 * span) + 0.06 * span,
    )
    _budget_axis(axes, points)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=NICE_STEPS))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+g}".replace("-", "−") if v else "0"))
    axes.set_ylabel("percentage points")
    label_ends(axes, ends)
    return figure
