"""What tuning found: validation accuracy against tries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from headstart.plots.curves import FEW, label_ends, percent_axis
from headstart.plots.style import ArmStyle, new_figure, percent, styled


@styled
def best_so_far(
    tries: Mapping[str, Sequence[float | None]], styles: Mapping[str, ArmStyle], measure: str
) -> Figure:
    """Of each arm (name -> validation accuracy 0..1 of each try, None where it failed) the best so far, a
    step line; marks: single tries. Failed ones have no mark."""
    height = 330 + 23 * max(len(tries) - FEW, 0)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    drawn: list[float] = []
    ends = []
    for name, row in tries.items():
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
            ends.append((style, float(best[-1]), percent(best[-1] / 100)))
    axes.set_xlabel("tries")
    axes.set_xlim(0.5, max((len(row) for row in tries.values()), default=1) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    # A try far below the others would press all of them together: the scale begins where nine tenths lie.
    percent_axis(axes, [value for value in drawn if value >= np.quantile(drawn, 0.1)] if drawn else [])
    label_ends(axes, ends, height)
    return figure
