"""Differences of accuracies, in points, over label budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from headstart.plots.curves import FEW, label_ends
from headstart.plots.style import MUTED, ArmStyle, new_figure, styled


@styled
def points_by_labels(
    points: Mapping[str, Sequence[tuple[float, str, float, tuple[float, float] | None]]],
    styles: Mapping[str, ArmStyle],
    measure: str,
) -> Figure:
    """A line an arm: differences of shares over labels a class (log scale), with a line at zero.

    points: (labels a class, tick text, difference, interval or None), ascending; drawn in percentage points.
    An interval far wider than the differences are apart (two seeds have such) is cut by the edge: it must not
    flatten everything else."""
    height = 350 + 23 * max(len(points) - FEW, 0)
    figure, axes = new_figure(height)
    axes.set_title(measure)
    axes.set_xscale("log")
    ticks: dict[float, str] = {}
    seen, ends = [0.0], []
    for place, (name, row) in enumerate(points.items()):
        style = styles[name]
        aside = 1.06 ** (place - (len(points) - 1) / 2)  # bars at one budget stand beside one another
        for labels, text, _, interval in row:
            ticks[labels] = text
            if interval:
                seen += [100 * v for v in interval]
                axes.plot(
                    [aside * labels] * 2,
                    [100 * v for v in interval],
                    color=style.color,
                    linewidth=2,
                    alpha=0.5,
                    solid_capstyle="butt",
                )
        y = [100 * value for _, _, value, _ in row]
        x = [aside * labels for labels, *_ in row]
        axes.plot(x, y, color=style.color, linestyle=style.line, marker=style.marker, markersize=6)
        seen += y
        ends.append((style, y[-1], f"{y[-1]:+z.1f} points".replace("-", "−")))
    axes.axhline(0, color=MUTED, linewidth=1.2)
    values = [0.0, *(100 * value for row in points.values() for _, _, value, _ in row)]
    span = max(max(values) - min(values), 2.0)
    axes.set_ylim(
        max(min(seen), min(values) - 0.5 * span) - 0.06 * span,
        min(max(seen), max(values) + 0.5 * span) + 0.06 * span,
    )
    axes.set_xticks(sorted(ticks), [ticks[v] for v in sorted(ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labelled training images a class (log scale)")
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:+g}".replace("-", "−") if v else "0"))
    axes.set_ylabel("percentage points")
    label_ends(axes, ends, height)
    return figure
