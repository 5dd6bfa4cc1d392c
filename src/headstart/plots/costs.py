"""Accuracy against what it cost, and against the labels it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from headstart.plots.curves import FEW, _tick_duration, label_ends, percent_axis
from headstart.plots.style import (
    GRID,
    MUTED,
    PAPER,
    ArmStyle,
    Estimate,
    new_figure,
    percent,
    spread,
    styled,
    wrapped,
)

# The roundest first.
_ROUND_FLOPS = tuple(step * 10.0**power for step in (1, 5, 2, 3, 7, 1.5, 4) for power in range(6, 25))
_ROUND_SECONDS = (
    1,
    60,
    3600,
    10,
    600,
    86400,
    0.1,
    30,
    300,
    1800,
    7200,
    36000,
    5,
    20,
    120,
    1200,
    18000,
    2,
    180,
    0.5,
    0.2,
    15,
    240,
    45,
    90,
    420,
    900,
    10800,
)
_FLOP_UNITS = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP"))


@styled
def accuracy_against_cost(
    points: Mapping[str, tuple[float, Estimate]],
    front: Sequence[str],
    styles: Mapping[str, ArmStyle],
    unit: str,
    measure: str,
) -> Figure:
    """Each arm's accuracy at its cost (log scale; unit: "seconds" or "flops").

    The arms of `front` (names, cheapest first), which none beats on both, are filled and joined by steps; the
    others are hollow."""
    height = 340 + 23 * max(len(points) - FEW, 0)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    axes.set_xscale("log")
    costs = [cost for cost, _ in points.values()]
    # Wide enough for a tick or two, and a mark never on the edge.
    left, right = min(costs) / 1.6, max(costs) * 1.6
    axes.set_xlim(left, right)
    steps = [(points[name][0], 100 * points[name][1].value) for name in front]
    if steps:
        x = [step[0] for step in steps] + [right]
        y = [step[1] for step in steps] + [steps[-1][1]]
        axes.step(x, y, where="post", color=MUTED, linewidth=1.4, linestyle=(0, (4, 2)), zorder=1)
    finite: list[float] = []
    for name, (cost, estimate) in points.items():
        style, value = styles[name], 100 * estimate.value
        low, high = (100 * end for end in estimate.interval or (estimate.value, estimate.value))
        finite += [value, low, high]
        axes.plot(
            [cost, cost],
            [low, high],
            color=style.color,
            linewidth=3,
            alpha=0.45,
            solid_capstyle="butt",
            zorder=2,
        )
        axes.plot(
            [cost],
            [value],
            marker=style.marker,
            markersize=9,
            linestyle="none",
            color=style.color,
            zorder=3,
            markerfacecolor=style.color if name in front else PAPER,
            markeredgewidth=2,
        )
    percent_axis(axes, finite)
    words = _tick_duration if unit == "seconds" else _flop_words
    shown = _ticks(_ROUND_SECONDS if unit == "seconds" else _ROUND_FLOPS, left, right)
    axes.set_xticks(shown, [words(value) for value in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="x")
    _label_marks(
        axes,
        [(styles[name], 100 * estimate.value, name in front) for name, (_, estimate) in points.items()],
        height,
    )
    return figure


def _label_marks(axes: Axes, marks: Sequence[tuple[ArmStyle, float, bool]], height: float) -> None:
    """Names each mark at the right edge, near its own height: the mark again, filled or hollow, then the
    text."""
    low, high = axes.get_ylim()
    few = len(marks) <= FEW
    texts = [
        f"{wrapped(style.label, 16)}\n{percent(value / 100)}" if few else wrapped(style.label, 17, 2)
        for style, value, _ in marks
    ]
    lines = max((text.count("\n") + 1 for text in texts), default=1)
    half = lines * 7.5 / (0.74 * height)
    places = spread(
        [(value - low) / (high - low) for _, value, _ in marks],
        (lines * 15.5 + 5) / (0.74 * height),
        half,
        1 - half,
    )
    for (style, _, filled), text, place in zip(marks, texts, places, strict=True):
        axes.plot(
            [1.045],
            [place],
            transform=axes.transAxes,
            clip_on=False,
            color=style.color,
            marker=style.marker,
            markerfacecolor=style.color if filled else PAPER,
            markeredgewidth=1.6,
            markersize=7,
        )
        axes.text(
            1.085,
            place,
            text,
            transform=axes.transAxes,
            va="center",
            ha="left",
            color=style.color,
            fontsize=12.5,
            linespacing=1.15,
        )


def _ticks(candidates: Sequence[float], left: float, right: float) -> list[float]:
    """Round values on a log axis, far enough apart for their words, the roundest first, none at the very
    edge."""
    span = np.log(right / left)
    kept: list[float] = []
    for value in candidates:
        place = np.log(value / left) / span
        if 0.05 < place < 0.95 and all(abs(np.log(value / other)) / span >= 0.21 for other in kept):
            kept.append(value)
    return sorted(kept)


def _flop_words(value: float) -> str:
    size, unit = next(((size, unit) for size, unit in _FLOP_UNITS if value >= size), (1.0, "FLOP"))
    return f"{value / size:g}\u202f{unit}"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted curve to draw: x labels a class, y accuracy 0..1, each float64 (G,); low and high its band,
    None with one seed.
    measured_to: the largest budget measured; the curve beyond it is a guess, drawn dotted."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None
    high: NDArray[np.float64] | None
    measured_to: float


@styled
def accuracy_by_labels(
    points: Mapping[str, Sequence[tuple[float, str, Estimate]]],
    styles: Mapping[str, ArmStyle],
    measure: str,
    fits: Mapping[str, Fit] | None = None,
    crossing: tuple[float, tuple[float, float] | None] | None = None,
) -> Figure:
    """Accuracy against labels a class (log scale): points are (labels a class, tick text, estimate),
    ascending.

    fits: arms with a fitted curve show it with its band, the others join their points. crossing: the labels
    at which two curves meet, and the interval of that."""
    height = 350 + 23 * max(len(points) - FEW, 0)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    axes.set_xscale("log")
    finite, ticks, ends = [], {}, []
    for name, row in points.items():
        style, fit = styles[name], (fits or {}).get(name)
        x = [labels for labels, _, _ in row]
        y = [100 * estimate.value for _, _, estimate in row]
        for labels, text, estimate in row:
            ticks[labels] = text
            if estimate.interval:
                finite += [100 * v for v in estimate.interval]
                axes.plot(
                    [labels] * 2,
                    [100 * v for v in estimate.interval],
                    color=style.color,
                    linewidth=3,
                    alpha=0.45,
                    solid_capstyle="butt",
                )
        if fit is not None:
            _draw_fit(axes, fit, style)
            finite += [100 * float(fit.y.max())]
        axes.plot(
            x,
            y,
            color=style.color,
            linestyle="none" if fit is not None else style.line,
            marker=style.marker,
            markersize=7,
        )
        finite += y
        ends.append((style, 100 * float(fit.y[-1]) if fit is not None else y[-1], percent(y[-1] / 100)))
    if crossing is not None:
        meet, interval = crossing
        if interval is not None:
            axes.axvspan(*interval, color=GRID, alpha=0.6, linewidth=0, zorder=0)
        axes.axvline(meet, color=MUTED, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    axes.set_xticks(sorted(ticks), [ticks[v] for v in sorted(ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images a class (log scale)")
    percent_axis(axes, finite)
    label_ends(axes, ends, height)
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
