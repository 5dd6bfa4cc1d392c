"""Figures of several small panels, and of accuracy that falls by steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headstart.plots.curves import label_ends, percent_axis
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
    """Mean confidence, accuracy and its interval by bin, shares; `scaled`: after temperature scaling."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    note: str
    scaled: bool = False


@styled
def reliability_panels(panels: Sequence[tuple[ArmStyle, Sequence[ReliabilityLine]]], measure: str) -> Figure:
    """A square panel an arm on one scale, two to four beside each other: accuracy against confidence, dotted
    where they agree."""
    across = 2 if len(panels) <= 6 else 3 if len(panels) <= 12 else 4
    small = across > 2  # less of what all panels share, so that ten fit on a page of paper
    size, letters = {2: (12.5, 27), 3: (11.5, 20), 4: (11.0, 15)}[across]
    titles = [wrapped(style.label, letters, 3) for style, _ in panels]
    rows = -(-len(panels) // across)
    lines = sum(
        max(title.count("\n") for title in titles[row * across : (row + 1) * across]) for row in range(rows)
    )
    height = 44 + (262 if across == 2 else 196 if across == 3 else 164) * rows + 15 * lines
    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    figure.suptitle(measure, x=0.015, ha="left", fontsize=13, color=MUTED)
    lowest = min(float(min(line.confidence.min(), line.low.min())) for _, lines in panels for line in lines)
    start = 10 * np.floor(10 * lowest)
    ticks = range(
        int(start), 101, 10 if start >= 60 and not small else 20 if start >= 40 or not small else 40
    )
    for place, (style, told) in enumerate(panels):
        axes = figure.add_subplot(rows, across, place + 1)
        axes.plot([0, 100], [0, 100], color=MUTED, linestyle=(0, (1, 2)), linewidth=1.2)
        for line in told:
            x, y = 100 * line.confidence, 100 * line.accuracy
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
                y,
                color=style.color,
                linestyle=(0, (4, 2)) if line.scaled else "-",
                linewidth=1.2,
                marker=style.marker,
                markersize=5,
                markerfacecolor=PAPER if line.scaled else style.color,
            )
        axes.set_xlim(start, 101)
        axes.set_ylim(start, 101)
        axes.set_aspect("equal")
        axes.set_title(titles[place], color=style.color, pad=6, fontsize=13 if not small else size)
        axes.set_xticks(ticks, [f"{v}\u202f%" for v in ticks], fontsize=size)
        named = not small or place % across == 0
        axes.set_yticks(ticks, [f"{v}\u202f%" if named else "" for v in ticks], fontsize=size)
        axes.set_xlabel("\n".join(line.note for line in told), fontsize=13 if not small else size)
    return figure


@styled
def accuracy_by_severity(
    values: Mapping[str, Sequence[Estimate]],
    ticks: Sequence[str],
    styles: Mapping[str, ArmStyle],
    measure: str,
) -> Figure:
    """A line an arm over steps of equal distance, the last named beside it; bars are intervals."""
    height = 350 + 23 * max(len(values) - 4, 0)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    finite, ends = [], []
    for name, row in values.items():
        style, y = styles[name], [100 * estimate.value for estimate in row]
        for place, estimate in enumerate(row):
            if estimate.interval:
                finite += [100 * v for v in estimate.interval]
                axes.plot(
                    [place] * 2,
                    [100 * v for v in estimate.interval],
                    color=style.color,
                    linewidth=3,
                    alpha=0.45,
                    solid_capstyle="butt",
                )
        axes.plot(
            range(len(y)), y, color=style.color, linestyle=style.line, marker=style.marker, markersize=7
        )
        finite += y
        ends.append((style, y[-1], percent(y[-1] / 100)))
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set_xlabel("severity")
    axes.spines["bottom"].set_color(GRID)
    percent_axis(axes, finite)
    label_ends(axes, ends, height)
    return figure
