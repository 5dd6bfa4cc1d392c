"""What a hyperparameter search reached: validation accuracy over search trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.plots.axes import LineEnd, height_for_names, label_ends, percent_axis
from headstart.plots.style import ArmStyle, new_figure, percent, styled


@styled
def best_so_far(
    accuracies: Mapping[str, Sequence[float | None]], styles: Mapping[str, ArmStyle], measure: str
) -> Figure:
    """The best validation accuracy so far over search trials, a step line for each arm; marks: single trials.

    accuracies: by arm, 0..1 of each search trial in order; None where it failed, which has no mark."""
    figure, axes = new_figure(height_for_names(330, len(accuracies)), measure)
    drawn: list[float] = []
    ends = []
    for name, row in accuracies.items():
        style = styles[name]
        values = 100 * np.array([np.nan if value is None else value for value in row])
        number = np.arange(1, len(values) + 1)
        best = np.fmax.accumulate(values)
        axes.plot(number, best, color=style.color, linestyle=style.line, drawstyle="steps-post")
        axes.plot(
            number, values, color=style.color, linestyle="none", marker=style.marker, markersize=6, alpha=0.55
        )
        drawn += values[np.isfinite(values)].tolist()
        if np.isfinite(best[-1]):
            ends.append(LineEnd(style=style, value=float(best[-1]), text=percent(best[-1] / 100)))
    axes.set_xlabel("tries")
    axes.set_xlim(0.5, max((len(row) for row in accuracies.values()), default=1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    # A trial far below the others would press all of them together: the scale begins where nine tenths lie.
    percent_axis(axes, [value for value in drawn if value >= np.quantile(drawn, 0.1)] if drawn else [])
    label_ends(axes, ends)
    return figure
