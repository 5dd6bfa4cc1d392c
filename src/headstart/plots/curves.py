"""Learning curves, and the time until validation accuracy reaches a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from headstart.plots.axes import LineEnd, height_for_names, label_ends, percent_axis, tick_duration
from headstart.plots.style import (
    GRID,
    MUTED,
    ArmStyle,
    Curve,
    new_figure,
    percent,
    short_duration,
    shortened,
    styled,
)

_SMEARED = 20  # times as long as the shortest: then seconds stand on a log scale
_ROUND_SECONDS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180),
    *(300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400),
)
_LETTER = 5.9  # units, a letter's width in a target's row
_ROW_WIDTH = 420  # units, of the axes


@styled
def learning_curves(
    curves: Sequence[Curve],
    styles: Mapping[str, ArmStyle],
    axis: str,
    measure: str,
    footnotes: Mapping[str, str] | None = None,
) -> Figure:
    """Accuracy over epochs or seconds: validation images as thick lines with markers, training images as thin
    ones.

    axis: the label of the x axis, "epoch" or "seconds ...". footnotes: by arm, the mark that stands behind
    its name."""
    figure, axes = new_figure(height_for_names(330, len({curve.arm for curve in curves})), measure)
    drawn: list[float] = []
    ends: dict[str, LineEnd] = {}
    with_val: set[str] = set()
    for curve in curves:
        style = styles[curve.arm]
        for is_val in (False, True):
            values = _draw_curve(axes, curve, style, is_val=is_val)
            if not values:
                continue
            drawn += values
            if is_val:
                with_val.add(curve.arm)
            if is_val or curve.arm not in with_val:
                text = f"{percent(values[-1] / 100)}{'' if is_val else ' training'}"
                ends[curve.arm] = LineEnd(style=style, value=values[-1], text=text)
    if "second" in axis and _far_apart(curves):
        axes.set_xscale("log")
        places = [x for curve in curves for x in _drawn_at(curve) if x > 0]
        axes.set_xlim(min(places) / 1.3, max(places) * 1.1)
        _duration_axis(axes)
        axes.set_xlabel("time since the start (log scale)")
    else:
        axes.set_xlabel(axis)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer="poch" in axis))
    percent_axis(axes, drawn)
    label_ends(axes, list(ends.values()), footnotes)
    return figure


def _draw_curve(axes: Axes, curve: Curve, style: ArmStyle, *, is_val: bool) -> list[float]:
    """Draw the curve's validation or training accuracy; its percents, none where it was not measured."""
    values = curve.val if is_val else curve.train
    measured = np.isfinite(values) & np.isfinite(curve.x)
    if not measured.any():
        return []
    x, y = curve.x[measured], 100 * values[measured]
    axes.plot(
        x,
        y,
        color=style.color,
        linestyle=style.line,
        linewidth=2.2 if is_val else 1.0,
        alpha=1.0 if is_val else 0.75,
        marker=style.marker if is_val else None,
        markevery=max(1, len(x) // 12),
        markersize=6,
    )
    if is_val and curve.low is not None and curve.high is not None:
        low, high = 100 * curve.low[measured], 100 * curve.high[measured]
        axes.fill_between(x, low, high, color=style.color, alpha=0.2, linewidth=0)
    return [float(value) for value in y]


def _far_apart(curves: Sequence[Curve]) -> bool:
    """Whether the shortest curve would be a smear at the left edge of the longest."""
    lengths = [max(places) for curve in curves if (places := _drawn_at(curve))]
    return len(lengths) > 1 and max(lengths) > _SMEARED * max(min(lengths), 1e-9)


def _drawn_at(curve: Curve) -> list[float]:
    """The x of what the curve draws."""
    measured = np.isfinite(curve.x) & (np.isfinite(curve.val) | np.isfinite(curve.train))
    return [float(x) for x in curve.x[measured]]


@dataclass(frozen=True, kw_only=True)
class TimeToTarget:
    """Seconds until an arm first reached a target accuracy.

    seed_range: seconds of its fastest and slowest seed, where there are several."""

    seconds: float
    seed_range: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class _Lane:
    """A row of a target's block: an arm with its time, or the words for arms that never reached the
    target."""

    text: str
    style: ArmStyle | None = None
    time: TimeToTarget | None = None


@styled
def time_to_accuracy(
    targets: Sequence[float],
    times: Mapping[str, Sequence[TimeToTarget | None]],
    styles: Mapping[str, ArmStyle],
    measure: str,
    footnotes: Mapping[str, str] | None = None,
) -> Figure:
    """Seconds (log scale) until validation accuracy first reaches each target.

    targets: accuracies 0..1. times: by arm, one for each target; None where the arm never reaches it. Bars:
    the fastest to the slowest seed. footnotes: by arm, the mark that stands behind its times."""
    height = 25 if len(times) < 4 else 20  # of a lane
    seconds = [time.seconds for row in times.values() for time in row if time and time.seconds]
    low, high = (min(seconds), max(seconds)) if seconds else (1.0, 10.0)
    blocks = [_target_lanes(i, times, styles, footnotes or {}) for i in range(len(targets))]
    figure, axes = new_figure(84 + sum(height * len(lanes) + 16 for lanes in blocks), measure)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.6, max(high, 2 * low) * 2.4)
    top, named, middles = 0.0, set(), []
    for lanes in blocks:
        if top:
            axes.axhline(top, color=GRID, linewidth=1)
        for k, lane in enumerate(lanes):
            y = top + 8 + height * (k + 0.5)
            if lane.style is None or lane.time is None:
                _write_never(axes, y, lane)
                continue
            _draw_time(axes, y, lane.time, lane.style)
            _write_time(axes, y, lane, name=lane.style.name not in named)
            named.add(lane.style.name)
        middles.append(top + (height * len(lanes) + 16) / 2)
        top += height * len(lanes) + 16
    axes.set_ylim(top + 4, 0)
    axes.set_yticks(middles, [f"{100 * t:g}\u202f%" for t in targets])
    axes.grid(False)
    _duration_axis(axes)
    return figure


def _target_lanes(
    target: int,
    times: Mapping[str, Sequence[TimeToTarget | None]],
    styles: Mapping[str, ArmStyle],
    footnotes: Mapping[str, str],
) -> list[_Lane]:
    """One target's rows; arms that never reach it come last, more than two of them as one row."""
    lanes = [
        _Lane(style=styles[name], time=time, text=short_duration(time.seconds) + footnotes.get(name, ""))
        for name, row in times.items()
        if (time := row[target]) is not None
    ]
    never = [styles[name] for name, row in times.items() if row[target] is None]
    if len(never) <= 2:
        return lanes + [_Lane(style=style, text=f"{style.label}: never") for style in never]
    return [*lanes, _Lane(text=f"never: {len(never)} {'others' if lanes else 'arms'}")]


def _write_never(axes: Axes, y: float, lane: _Lane) -> None:
    axes.text(
        0.012,
        y,
        lane.text,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=12,
        color=lane.style.color if lane.style else MUTED,
    )


def _draw_time(axes: Axes, y: float, time: TimeToTarget, style: ArmStyle) -> None:
    left = axes.get_xlim()[0]
    axes.plot([left, time.seconds], [y, y], color=style.color, linewidth=1.2, alpha=0.5, linestyle=style.line)
    axes.plot([time.seconds], [y], marker=style.marker, markersize=8, color=style.color, linestyle="none")
    if time.seed_range:
        axes.plot(time.seed_range, [y, y], color=style.color, linewidth=4, alpha=0.45, solid_capstyle="butt")


def _write_time(axes: Axes, y: float, lane: _Lane, *, name: bool) -> None:
    """Write the time beside its mark; name: behind the arm's name, on the side where it fits."""
    assert lane.style is not None and lane.time is not None
    (left, right), value = axes.get_xlim(), lane.time.seconds
    to_the_left = name and value > np.sqrt(left * right)  # its name would run out of the figure
    share = np.log(value / left) / np.log(right / left)
    room = int(_ROW_WIDTH * (share if to_the_left else 1 - share) / _LETTER) - len(lane.text) - 3
    text = f"{shortened(lane.style.label, max(room, 12))}, {lane.text}" if name else lane.text
    fastest, slowest = lane.time.seed_range or (value, value)
    axes.annotate(
        text,
        (fastest if to_the_left else slowest, y),
        xytext=(-9 if to_the_left else 9, 8 if to_the_left else 0),
        textcoords="offset points",
        va="center",
        ha="right" if to_the_left else "left",
        color=lane.style.color,
        fontsize=12,
    )


def _duration_axis(axes: Axes) -> None:
    low, high = axes.get_xlim()
    ticks = [seconds for seconds in _ROUND_SECONDS if low <= seconds <= high]
    ticks = ticks[:: max(1, -(-len(ticks) // 6))]
    axes.set_xticks(ticks, [tick_duration(seconds) for seconds in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="x")
