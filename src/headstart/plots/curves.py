"""Figures of a number that grows with something: epochs, seconds, confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from headstart.plots.style import (
    GRID,
    MUTED,
    ArmStyle,
    Curve,
    new_figure,
    percent,
    short_duration,
    shortened,
    spread,
    styled,
    wrapped,
)

FEW = 4  # up to so many lines are named with their values beside them; more, with their names alone

_SMEARED = 20  # times as long as the shortest: then seconds stand on a log scale


@styled
def learning_curves(
    curves: Sequence[Curve],
    styles: Mapping[str, ArmStyle],
    axis: str,
    measure: str,
    marks: Mapping[str, str] | None = None,
) -> Figure:
    """Accuracy against epochs or seconds: thick with markers on validation, thin on training images; a line a
    seed.

    marks: by arm, what stands behind its name."""
    height = 330 + 23 * max(len({curve.arm for curve in curves}) - FEW, 0)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    finite: list[float] = []
    ends: dict[str, tuple[ArmStyle, float, str]] = {}
    for curve in curves:
        style = styles[curve.arm]
        for values, main in ((curve.train, False), (curve.val, True)):
            seen = np.isfinite(values) & np.isfinite(curve.x)
            if not seen.any():
                continue
            x, y = curve.x[seen], 100 * values[seen]
            finite += y.tolist()
            every = max(1, len(x) // 12)
            axes.plot(
                x,
                y,
                color=style.color,
                linestyle=style.line,
                linewidth=2.2 if main else 1.0,
                alpha=1.0 if main else 0.75,
                marker=style.marker if main else None,
                markevery=every,
                markersize=6,
            )
            if main and curve.low is not None and curve.high is not None:
                axes.fill_between(
                    x,
                    100 * curve.low[seen],
                    100 * curve.high[seen],
                    color=style.color,
                    alpha=0.2,
                    linewidth=0,
                )
            if main or curve.arm not in ends or "training" in ends[curve.arm][2]:
                kind = "" if main else " training"
                ends[curve.arm] = (style, float(y[-1]), f"{percent(y[-1] / 100)}{kind}")
    if "second" in axis and _far_apart(curves):
        axes.set_xscale("log")
        shown = [x for curve in curves for x in _drawn_at(curve) if x > 0]
        axes.set_xlim(min(shown) / 1.3, max(shown) * 1.1)
        _duration_axis(axes, *axes.get_xlim())
        axes.set_xlabel("time since the start (log scale)")
    else:
        axes.set_xlabel(axis)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer="poch" in axis))
    percent_axis(axes, finite)
    label_ends(axes, list(ends.values()), height, marks)
    return figure


def _far_apart(curves: Sequence[Curve]) -> bool:
    """Whether the shortest curve would be a smear at the left edge of the longest."""
    lengths = [max(at) for curve in curves if (at := _drawn_at(curve))]
    return len(lengths) > 1 and max(lengths) > _SMEARED * max(min(lengths), 1e-9)


def _drawn_at(curve: Curve) -> list[float]:
    """Where the curve has something to draw."""
    return curve.x[np.isfinite(curve.x) & (np.isfinite(curve.val) | np.isfinite(curve.train))].tolist()


@styled
def time_to_accuracy(
    targets: Sequence[float],
    seconds: Mapping[str, Sequence[float | None]],
    styles: Mapping[str, ArmStyle],
    measure: str,
    ranges: Mapping[str, Sequence[tuple[float, float] | None]] | None = None,
    marks: Mapping[str, str] | None = None,
) -> Figure:
    """Seconds (log scale) until validation accuracy first reaches each target; None says that it never did.

    ranges: the fastest and the slowest seed of each, drawn as a bar. marks: by arm, what stands behind its
    times."""
    lane = 25 if len(seconds) < 4 else 20
    reached = [s for row in seconds.values() for s in row if s]
    low, high = (min(reached), max(reached)) if reached else (1.0, 10.0)
    left, right = low / 1.6, max(high, 2 * low) * 2.4
    blocks = [_target_lanes(i, seconds, styles, marks or {}) for i in range(len(targets))]
    height = 84 + sum(lane * len(rows) + 16 for rows in blocks)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    axes.set_xscale("log")
    axes.set_xlim(left, right)
    top, named, middles = 0.0, set(), []
    for target, rows in enumerate(blocks):
        if top:
            axes.axhline(top, color=GRID, linewidth=1)
        for j, (style, value, words) in enumerate(rows):
            y = top + 8 + lane * (j + 0.5)
            if style is None or value is None:
                axes.text(
                    0.012,
                    y,
                    words,
                    transform=axes.get_yaxis_transform(),
                    va="center",
                    fontsize=12,
                    color=style.color if style else MUTED,
                )
                continue
            axes.plot(
                [left, value], [y, y], color=style.color, linewidth=1.2, alpha=0.5, linestyle=style.line
            )
            axes.plot([value], [y], marker=style.marker, markersize=8, color=style.color, linestyle="none")
            between = ranges[style.name][target] if ranges else None
            if between:
                axes.plot(between, [y, y], color=style.color, linewidth=4, alpha=0.45, solid_capstyle="butt")
            far = style.name not in named and value > np.sqrt(
                left * right
            )  # its name would run out of the figure
            share = np.log(value / left) / np.log(right / left)
            room = (
                int(420 * (share if far else 1 - share) / 5.9) - len(words) - 3
            )  # letters, at 5.9 units each
            text = words if style.name in named else f"{shortened(style.label, max(room, 12))}, {words}"
            beside = between[0 if far else 1] if between else value
            axes.annotate(
                text,
                (beside, y),
                xytext=(-9 if far else 9, 8 if far else 0),
                textcoords="offset points",
                va="center",
                ha="right" if far else "left",
                color=style.color,
                fontsize=12,
            )
            named.add(style.name)
        middles.append(top + (lane * len(rows) + 16) / 2)
        top += lane * len(rows) + 16
    axes.set_ylim(top + 4, 0)
    axes.set_yticks(middles, [f"{100 * t:g}\u202f%" for t in targets])
    axes.grid(False)
    _duration_axis(axes, left, right)
    return figure


def _target_lanes(
    target: int,
    seconds: Mapping[str, Sequence[float | None]],
    styles: Mapping[str, ArmStyle],
    marks: Mapping[str, str],
) -> list[tuple[ArmStyle | None, float | None, str]]:
    """One target's rows: (style, seconds, text); arms that never got there come last, more than two of them
    as one row."""
    lanes: list[tuple[ArmStyle | None, float | None, str]] = [
        (styles[name], value, short_duration(value) + marks.get(name, ""))
        for name, row in seconds.items()
        if (value := row[target]) is not None
    ]
    never = [styles[name] for name, row in seconds.items() if row[target] is None]
    if len(never) <= 2:
        return lanes + [(style, None, f"{style.label}: never") for style in never]
    return [*lanes, (None, None, f"never: {len(never)} {'others' if lanes else 'arms'}")]


def _duration_axis(axes: Axes, low: float, high: float) -> None:
    nice = [
        0.1,
        0.2,
        0.5,
        1,
        2,
        5,
        10,
        20,
        30,
        60,
        120,
        180,
        300,
        600,
        1200,
        1800,
        3600,
        7200,
        18000,
        36000,
        86400,
    ]
    shown = [s for s in nice if low <= s <= high]
    shown = shown[:: max(1, -(-len(shown) // 6))]
    axes.set_xticks(shown, [_tick_duration(s) for s in shown])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, axis="x")


def _tick_duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:g}\u202fs"
    return f"{seconds / 60:g}\u202fmin" if seconds < 3600 else f"{seconds / 3600:g}\u202fh"


def percent_axis(axes: Axes, values: Sequence[float]) -> None:
    """Room for all values, from a round number below to one above; never past 0 and 100."""
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    step = 10 if high - low > 25 else 5 if high - low > 10 else 2
    bottom, top = max(0, step * np.floor(low / step)), min(100, step * np.ceil(high / step))
    axes.set_ylim(bottom, max(top, bottom + step) + 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}\u202f%"))


def label_ends(
    axes: Axes,
    ends: Sequence[tuple[ArmStyle, float, str]],
    height: float,
    marks: Mapping[str, str] | None = None,
) -> None:
    """Names each line at the right edge, next to its last value: a short sample of the line, then the text.

    marks: by arm, what stands behind its name."""
    low, high = axes.get_ylim()
    few = len(ends) <= FEW
    names = [
        wrapped(style.label, *((16, 3) if few else (17, 2))) + (marks or {}).get(style.name, "")
        for style, _, _ in ends
    ]
    texts = [f"{name}\n{value}" if few else name for name, (_, _, value) in zip(names, ends, strict=True)]
    lines = max((text.count("\n") + 1 for text in texts), default=1)
    gap = (lines * 15.5 + 5) / (0.74 * height)
    wanted = [(y - low) / (high - low) for _, y, _ in ends]
    half = lines * 7.5 / (0.74 * height)
    for (style, _, _), text, place in zip(ends, texts, spread(wanted, gap, half, 1 - half), strict=True):
        axes.plot(
            [1.02, 1.075],
            [place, place],
            transform=axes.transAxes,
            clip_on=False,
            color=style.color,
            linestyle=style.line,
            linewidth=2,
        )
        axes.plot(
            [1.0475], [place], transform=axes.transAxes, clip_on=False, color=style.color, marker=style.marker
        )
        axes.text(
            1.1,
            place,
            text,
            transform=axes.transAxes,
            va="center",
            ha="left",
            color=style.color,
            fontsize=12.5,
            linespacing=1.15,
        )
