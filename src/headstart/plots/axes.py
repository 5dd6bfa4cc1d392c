"""Parts that several figures share: percent and duration axes, intervals, and names at the ends of lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, MaxNLocator

from headstart.plots.style import ArmStyle, spread, wrapped

FEW = 4  # up to so many lines are named with their values beside them; more, with their names alone
NICE_STEPS = (1, 2, 5, 10)


@dataclass(frozen=True, kw_only=True)
class LineEnd:
    """The end of one arm's line: its height in the unit of the y axis, and the text under the arm's name.

    filled: whether its mark is filled (of figures that mark single points)."""

    style: ArmStyle
    value: float
    text: str
    filled: bool = True


def height_for_names(base: float, lines: int) -> float:
    """A figure's height with room for the names of so many lines at its right edge."""
    return base + 23 * max(lines - FEW, 0)


def percent_ticks(axis: Axis) -> None:
    """Ticks read "90 %"."""
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}\u202f%"))


def percent_axis(axes: Axes, values: Sequence[float]) -> None:
    """Room for all values, from a round number below to one above; never past 0 and 100."""
    low, high = (min(values), max(values)) if values else (0.0, 100.0)
    step = 10 if high - low > 25 else 5 if high - low > 10 else 2
    bottom, top = max(0, step * np.floor(low / step)), min(100, step * np.ceil(high / step))
    axes.set_ylim(bottom, max(top, bottom + step) + 0.6)
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=NICE_STEPS))
    percent_ticks(axes.yaxis)


def draw_interval(
    axes: Axes,
    x: float,
    interval: tuple[float, float],
    color: str,
    *,
    width: float = 3,
    opacity: float = 0.45,
) -> list[float]:
    """Draw an interval of shares as an upright bar in percent; its two ends, in percent."""
    ends = [100 * end for end in interval]
    axes.plot([x] * 2, ends, color=color, linewidth=width, alpha=opacity, solid_capstyle="butt")
    return ends


def tick_duration(seconds: float) -> str:
    """Seconds as a tick's text: "30 s", "2 min", "5 h"."""
    if seconds < 60:
        return f"{seconds:g}\u202fs"
    return f"{seconds / 60:g}\u202fmin" if seconds < 3600 else f"{seconds / 3600:g}\u202fh"


def label_ends(axes: Axes, ends: Sequence[LineEnd], footnotes: Mapping[str, str] | None = None) -> None:
    """Name each line at the right edge, next to its last value: a short sample of the line, then the text.

    footnotes: by arm, the mark that stands behind its name."""
    for end, text, place in _placed_names(axes, ends, footnotes or {}):
        style = end.style
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
        _write_name(axes, 1.1, place, text, style.color)


def label_marks(axes: Axes, ends: Sequence[LineEnd], hollow: str) -> None:
    """Name each mark at the right edge, near its own height: the mark again, filled or hollow, then the text.

    hollow: the colour inside a mark that is not filled."""
    for end, text, place in _placed_names(axes, ends, {}):
        style = end.style
        axes.plot(
            [1.045],
            [place],
            transform=axes.transAxes,
            clip_on=False,
            color=style.color,
            marker=style.marker,
            markerfacecolor=style.color if end.filled else hollow,
            markeredgewidth=1.6,
            markersize=7,
        )
        _write_name(axes, 1.085, place, text, style.color)


def _placed_names(
    axes: Axes, ends: Sequence[LineEnd], footnotes: Mapping[str, str]
) -> Iterator[tuple[LineEnd, str, float]]:
    """Each end with its text and the text's height as a share of the axes', far enough from the others."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = 0.74 * round(72 * figure.get_figheight())  # of the axes, about
    low, high = axes.get_ylim()
    few = len(ends) <= FEW
    names = [
        wrapped(end.style.label, *((16, 3) if few else (17, 2))) + footnotes.get(end.style.name, "")
        for end in ends
    ]
    texts = [f"{name}\n{end.text}" if few else name for name, end in zip(names, ends, strict=True)]
    lines = max((text.count("\n") + 1 for text in texts), default=1)
    half = lines * 7.5 / height
    wanted = [(end.value - low) / (high - low) for end in ends]
    places = spread(wanted, (lines * 15.5 + 5) / height, half, 1 - half)
    return zip(ends, texts, places, strict=True)


def _write_name(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        va="center",
        ha="left",
        color=color,
        fontsize=12.5,
        linespacing=1.15,
    )
