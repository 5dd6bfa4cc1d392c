"""Reliability diagrams in small panels, and accuracy by severity of corruption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.plots.axes import LineEnd, draw_interval, height_for_names, label_ends, percent_axis
from headstart.plots.style import (
    GRID,
    MUTED,
    PAPER,
    WIDTH,
    ArmStyle,
    Estimate,
    new_figure,
    percent,
    styled,
    wrapped,
)


@dataclass(frozen=True, kw_only=True)
class ReliabilityLine:
    """Mean confidence, accuracy and its interval in each bin, shares 0..1, float64 (B,).

    note: the words under the panel. scaled: after temperature scaling."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    note: str
    scaled: bool = False


@dataclass(frozen=True, kw_only=True)
class _PanelSize:
    """What a panel's size depends on: how many stand beside each other."""

    across: int
    height: int  # units, of a row of panels
    font: float
    letters: int  # of a title's line
    title_font: float


# Less of what all panels share where they are small, so that ten fit on a page of paper.
_LARGE = _PanelSize(across=2, height=262, font=12.5, letters=27, title_font=13)
_MEDIUM = _PanelSize(across=3, height=196, font=11.5, letters=20, title_font=11.5)
_SMALL = _PanelSize(across=4, height=164, font=11.0, letters=15, title_font=11.0)


@styled
def reliability_panels(panels: Sequence[tuple[ArmStyle, Sequence[ReliabilityLine]]], measure: str) -> Figure:
    """A square panel for each arm on one scale, two to four beside each other: accuracy against confidence,
    and a dotted diagonal where they agree."""
    size = _LARGE if len(panels) <= 6 else _MEDIUM if len(panels) <= 12 else _SMALL
    titles = [wrapped(style.label, size.letters, 3) for style, _ in panels]
    rows = [titles[start : start + size.across] for start in range(0, len(titles), size.across)]
    breaks = sum(max(title.count("\n") for title in row) for row in rows)
    height = 44 + size.height * len(rows) + 15 * breaks
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    figure.suptitle(measure, x=0.015, ha="left", fontsize=13, color=MUTED)
    lowest = min(float(min(line.confidence.min(), line.low.min())) for _, lines in panels for line in lines)
    start = 10 * np.floor(10 * lowest)
    few = size is _LARGE
    ticks = range(int(start), 101, 10 if start >= 60 and few else 20 if start >= 40 or few else 40)
    for place, (style, lines) in enumerate(panels):
        axes = figure.add_subplot(len(rows), size.across, place + 1)
        axes.plot([0, 100], [0, 100], color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        for line in lines:
            _draw_reliability(axes, line, style)
        axes.set_xlim(start, 101)
        axes.set_ylim(start, 101)
        axes.set_aspect("equal")
        axes.set_title(titles[place], color=style.color, pad=6, fontsize=size.title_font)
        axes.set_xticks(ticks, [f"{v}\u202f%" for v in ticks], fontsize=size.font)
        with_ticks = few or place % size.across == 0
        axes.set_yticks(ticks, [f"{v}\u202f%" if with_ticks else "" for v in ticks], fontsize=size.font)
        axes.set_xlabel("\n".join(line.note for line in lines), fontsize=size.title_font)
    return figure


def _draw_reliability(axes: Axes, line: ReliabilityLine, style: ArmStyle) -> None:
    x = 100 * line.confidence
    axes.vlines(
        x,
        100 * line.low,
        100 * line.high,
        color=style.color,
        linewidth=1.2,
        alpha=0.3 if line.scaled else 0.6,
    )
    axes.plot(
        x,
        100 * line.accuracy,
        color=style.color,
        linestyle=(0, (4, 2)) if line.scaled else "-",
        linewidth=1.2,
        marker=style.marker,
        markersize=5,
        markerfacecolor=PAPER if line.scaled else style.color,
    )


@styled
def accuracy_by_severity(
    values: Mapping[str, Sequence[Estimate]],
    ticks: Sequence[str],
    styles: Mapping[str, ArmStyle],
    measure: str,
) -> Figure:
    """Accuracy over steps of equal distance, a line for each arm with its name beside the last step; bars are
    intervals."""
    figure, axes = new_figure(height_for_names(350, len(values)), measure)
    finite: list[float] = []
    ends = []
    for name, row in values.items():
        style, y = styles[name], [100 * estimate.value for estimate in row]
        for place, estimate in enumerate(row):
            if estimate.interval:
                finite += draw_interval(axes, place, estimate.interval, style.color)
        axes.plot(
            range(len(y)), y, color=style.color, linestyle=style.line, marker=style.marker, markersize=7
        )
        finite += y
        ends.append(LineEnd(style=style, value=y[-1], text=percent(y[-1] / 100)))
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel("severity")
    axes.spines["bottom"].set_color(GRID)
    percent_axis(axes, finite)
    label_ends(axes, ends)
    return figure
