"""Accuracy against what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from headstart.plots.axes import LineEnd, height_for_names, label_marks, percent_axis, tick_duration
from headstart.plots.style import MUTED, PAPER, ArmStyle, Estimate, new_figure, percent, styled

# The roundest first.
_ROUND_FLOPS = tuple(step * 10.0**power for step in (1, 5, 2, 3, 7, 1.5, 4) for power in range(6, 25))
_MINUTE, _HOUR = 60, 3600
_ROUND_SECONDS = (
    *(1, _MINUTE, _HOUR, 10, 10 * _MINUTE, 24 * _HOUR),
    *(0.1, 30, 5 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 10 * _HOUR),
    *(5, 20, 2 * _MINUTE, 20 * _MINUTE, 5 * _HOUR),
    *(2, 3 * _MINUTE, 0.5, 0.2, 15, 4 * _MINUTE, 45, 90, 7 * _MINUTE, 15 * _MINUTE, 3 * _HOUR),
)
_FLOP_UNITS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"))


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """One arm's accuracy at its cost (seconds or floating-point operations)."""

    cost: float
    estimate: Estimate


@styled
def accuracy_against_cost(
    points: Mapping[str, CostPoint],
    front: Sequence[str],
    styles: Mapping[str, ArmStyle],
    unit: str,
    measure: str,
) -> Figure:
    """Each arm's accuracy at its cost (log scale; unit: "seconds" or "flops").

    front: the arms that no other arm beats on both (the Pareto front), cheapest first; their marks are filled
    and joined by steps, the others' are hollow."""
    figure, axes = new_figure(height_for_names(340, len(points)), measure)
    axes.set_xscale("log")
    costs = [point.cost for point in points.values()]
    # Wide enough for a tick or two, and a mark never on the edge.
    left, right = min(costs) / 1.6, max(costs) * 1.6
    axes.set_xlim(left, right)
    _draw_front(axes, [points[name] for name in front], right)
    drawn: list[float] = []
    for name, point in points.items():
        drawn += _draw_point(axes, point, styles[name], filled=name in front)
    percent_axis(axes, drawn)
    words = tick_duration if unit == "seconds" else _flop_words
    ticks = _ticks(_ROUND_SECONDS if unit == "seconds" else _ROUND_FLOPS, left, right)
    axes.set_xticks(ticks, [words(value) for value in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="x")
    ends = [
        LineEnd(style=styles[name], value=100 * value, text=percent(value), filled=name in front)
        for name, value in ((name, point.estimate.value) for name, point in points.items())
    ]
    label_marks(axes, ends, hollow=PAPER)
    return figure


def _draw_front(axes: Axes, front: Sequence[CostPoint], right: float) -> None:
    if not front:
        return
    x = [*(point.cost for point in front), right]
    y = [100 * point.estimate.value for point in (*front, front[-1])]
    axes.step(x, y, where="post", color=MUTED, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1)


def _draw_point(axes: Axes, point: CostPoint, style: ArmStyle, *, filled: bool) -> list[float]:
    """Draw the mark with its interval; the percents that it covers."""
    value = 100 * point.estimate.value
    low, high = (100 * end for end in point.estimate.interval or (point.estimate.value,) * 2)
    axes.plot(
        [point.cost] * 2,
        [low, high],
        color=style.color,
        linewidth=3,
        alpha=0.45,
        solid_capstyle="butt",
        zorder=2,
    )
    axes.plot(
        [point.cost],
        [value],
        marker=style.marker,
        markersize=9,
        linestyle="none",
        color=style.color,
        zorder=3,
        markerfacecolor=style.color if filled else PAPER,
        markeredgewidth=2,
    )
    return [value, low, high]


def _ticks(candidates: Sequence[float], left: float, right: float) -> list[float]:
    """Round values on a log axis, far enough apart for their words, the roundest first, none at the very
    edge."""
    span = np.log(right / left)
    kept: list[float] = []
    for value in candidates:
        place = np.log(value / left) / span
        if 0.05 < place < 0.95 and all(abs(np.log(value / other)) / span >= 0.22 for other in kept):
            kept.append(value)
    return sorted(kept)


def _flop_words(value: float) -> str:
    size, unit = next(((size, unit) for size, unit in _FLOP_UNITS if value >= size), (1.0, "FLOP"))
    return f"{value / size:g}\u202f{unit}"
