"""What all figures share: colours, marks, fonts, and how numbers are written."""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart.runtime.show import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

# Drawn in light colours; svg_text swaps each for its CSS variable. They must differ from one another and from
# the arms'.
INK, MUTED, GRID, PAPER, HEAT = "#1b1d21", "#5c626b", "#dcdfe4", "#fefefe", "#0a4a8a"
PIXEL_HEAT = (0.18, 0.5, 0.78)  # pixels cannot follow the page: a blue that shows on white and on black
# Okabe-Ito hues, darkened until text in them reads on white (contrast 4.5 or more), and brightened for dark
# pages. The last two are Tol's indigo and wine.
ARM_COLORS_LIGHT = (
    "#005a96",
    "#c24a00",
    "#007a58",
    "#a3407a",
    "#2a76a8",
    "#8f6200",
    "#5a5a5b",
    "#746a00",
    "#4a36a0",
    "#8a1f4d",
)
ARM_COLORS_DARK = (
    "#5cb3f0",
    "#ff9152",
    "#2fc79a",
    "#eb9fcb",
    "#9ad4ff",
    "#ffc24d",
    "#b8b8ba",
    "#e6dc4a",
    "#b3a5ff",
    "#ff8fb4",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h", "<", ">")
_LINES: tuple[LineStyleType, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (1.2, 1.4)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (9, 2)),
    (0, (3, 1.2)),
    (0, (4, 1, 1, 1, 1, 1)),
    (0, (1, 2.2)),
    (0, (7, 1.2, 3, 1.2)),
    (0, (2, 1, 6, 1)),
)

_LONG_LABEL = 24  # letters: a shortened label of so many or more has both its ends
WIDTH = 480.0  # SVG units, one CSS pixel each at full size
STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 13.0,
    "axes.titlesize": 13.0,
    "axes.labelsize": 13.0,
    "xtick.labelsize": 12.5,
    "ytick.labelsize": 12.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": MUTED,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 1.0,
    "xtick.major.size": 4.0,
    "ytick.major.size": 0.0,
    "axes.linewidth": 1.0,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "headstart",
    "figure.dpi": 72.0,
    "figure.constrained_layout.h_pad": 0.06,
    "figure.constrained_layout.w_pad": 0.04,
}


@dataclass(frozen=True, kw_only=True)
class ArmStyle:
    """How every figure draws one arm: colour, marker and line, by its place in the study."""

    name: str
    label: str
    color: str
    marker: str
    line: LineStyleType


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured share (0..1), or a difference of shares, with its interval.

    points: the single seeds, where there are several."""

    value: float
    interval: tuple[float, float] | None = None
    points: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A learning curve of one arm: x (epochs or seconds) and accuracies 0..1, each float64 (N,); NaN where
    not measured.

    low, high: the lowest and highest validation accuracy, where the curve is the mean of several seeds."""

    arm: str
    x: NDArray[np.float64]
    train: NDArray[np.float64]
    val: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None


def arm_styles(labels: Mapping[str, str]) -> dict[str, ArmStyle]:
    """The style of each arm, in the order of `labels` (name -> label).

    The eleventh arm begins again with the first one's colour."""
    count = len(_MARKERS)
    return {
        name: ArmStyle(
            name=name,
            label=visible(label),
            color=ARM_COLORS_LIGHT[i % count],
            marker=_MARKERS[i % count],
            line=_LINES[i % count],
        )
        for i, (name, label) in enumerate(labels.items())
    }


Parameters = ParamSpec("Parameters")
Drawn = TypeVar("Drawn", bound="Figure | None")


def styled(draw: Callable[Parameters, Drawn]) -> Callable[Parameters, Drawn]:
    """Decorate a function that draws: it runs under STYLE and leaves matplotlib's own settings as they
    are."""

    @functools.wraps(draw)
    def styled(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Drawn:
        import matplotlib as mpl

        from headstart.plots.fonts import missing_letters_pass

        with mpl.rc_context(STYLE), missing_letters_pass():  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return styled


def new_figure(height: float, title: str) -> tuple[Figure, Axes]:
    """A figure of this height and the common width, in SVG units, with one pair of axes under a title."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def wrapped(label: str, width: int, lines: int = 3) -> str:
    """The label in lines of at most `width` characters; what is left over is cut with "…"."""
    return "\n".join(textwrap.wrap(label, width, max_lines=lines, placeholder="…")) or label


def shortened(label: str, length: int) -> str:
    """The label on one line of at most `length` characters; what is left over is "…".

    In the middle of a long one, because long names of one study differ at either end; at the end of one that
    keeps few letters. Tables beside the figures have the whole name."""
    if len(label) <= length:
        return label
    if length < _LONG_LABEL:
        return label[: length - 1].rstrip(" ,") + "…"
    return label[: length - length // 3 - 1].rstrip(" ,") + "…" + label[-(length // 3) :].lstrip(" ,")


def visible(content: str, *, keep_lines: bool = False) -> str:
    """The text without anything that a screen, a browser or a font would act on in place of showing it.

    Control characters, marks that turn the direction of writing and halves of surrogate pairs are spelled
    out, "\\x1b"; new lines and tabs become spaces, or new lines stay (keep_lines)."""
    lines = content.encode("utf-8", "backslashreplace").decode().replace("\t", " ").split("\n")
    return ("\n" if keep_lines else " ").join(map(shown, lines))


def percent(share: float, digits: int = 1) -> str:
    """A share 0..1 as people write it: "94.1 %" (with a thin no-break space)."""
    return f"{100 * share:.{digits}f}\u202f%"


def short_duration(seconds: float) -> str:
    """Seconds as people read them: "0.8 s", "48 s", "3.5 min", "1.2 h"."""
    if seconds < 9.95:
        return f"{seconds:.1f}\u202fs"
    if seconds < 119.5:
        return f"{seconds:.0f}\u202fs"
    if seconds < 5400:
        return f"{seconds / 60:.1f}\u202fmin"
    return f"{seconds / 3600:.1f}\u202fh"


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in the same order, at least `gap` apart and inside [low, high] where
    they fit."""
    if not wanted:
        return []
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    gap = min(gap, (high - low) / max(len(wanted) - 1, 1))
    # (sum of the wanted starts, number of members); each cluster is a stack of labels
    clusters: list[tuple[float, int]] = []
    for i in order:
        total, size = wanted[i], 1
        while clusters:
            last_total, last_size = clusters[-1]
            if last_total / last_size + gap * last_size <= total / size:
                break
            clusters.pop()
            # one start for both: each later label wants its own place less its offset in the stack
            total, size = last_total + total - gap * last_size * size, last_size + size
        clusters.append((total, size))
    starts = [total / size for total, size in clusters]
    sizes = [size for _, size in clusters]
    placed = [start + gap * k for start, size in zip(starts, sizes, strict=True) for k in range(size)]
    # Keep the stack inside: push up from below, then down from above.
    for k in range(len(placed)):
        placed[k] = max(placed[k], low + gap * k)
    for k in range(len(placed)):
        back = len(placed) - 1 - k
        placed[back] = min(placed[back], high - gap * k)
    result = [0.0] * len(wanted)
    for place, i in zip(placed, order, strict=True):
        result[i] = place
    return result
