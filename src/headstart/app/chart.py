"""A chart of accuracy against time as SVG: candidates with their intervals, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from headstart.app.progress import CandidateSoFar
from headstart.runtime.progress import clock

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 46
_TICKS = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)  # seconds


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A candidate in pixels: its place, its interval (top, bottom), where its name stands, and the words."""

    x: float
    y: float
    top: float
    bottom: float
    text_x: float
    anchor: str
    number: int
    words: str
    is_best: bool


@dataclass(frozen=True, kw_only=True)
class Chart:
    """x_ticks, y_ticks: (place in pixels, text)."""

    marks: tuple[Mark, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    top: int = _TOP
    bottom: int = HEIGHT - _BOTTOM


def chart_of(candidates: Sequence[CandidateSoFar], best: str | None) -> Chart | None:
    """The chart of the candidates that were read; None where there is none."""
    read = [
        (each, each.accuracy, each.interval)
        for each in candidates
        if each.accuracy is not None and each.interval is not None
    ]
    if not read:
        return None
    seconds = [max(each.seconds, 0.5) for each, _, _ in read]
    first, last = math.log10(min(seconds) / 1.6), math.log10(max(seconds) * 1.6)
    lowest = max(0.0, math.floor(10 * min(low for _, _, (low, _) in read)) / 10)
    step = 0.1 if lowest >= 0.4 else 0.2

    def x(value: float) -> float:
        return round(_LEFT + (math.log10(value) - first) / (last - first) * (WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        return round(_TOP + (1 - value) / (1 - lowest or 1) * (HEIGHT - _TOP - _BOTTOM), 1)

    marks = [
        Mark(
            x=x(second),
            y=y(accuracy),
            top=y(interval[1]),
            bottom=y(interval[0]),
            text_x=x(second) + (9 if x(second) < WIDTH / 2 else -9),
            anchor="start" if x(second) < WIDTH / 2 else "end",
            number=number,
            words=f"{each.label}: {100 * accuracy:.1f} % after {clock(each.seconds)}",
            is_best=each.name == best,
        )
        for number, (second, (each, accuracy, interval)) in enumerate(zip(seconds, read, strict=True), 1)
    ]
    levels = [lowest + step * n for n in range(round((1 - lowest) / step) + 1)]
    return Chart(
        marks=tuple(marks),
        x_ticks=tuple((x(t), clock(t)) for t in _TICKS if first <= math.log10(t) <= last),
        y_ticks=tuple((y(level), f"{100 * level:.0f} %") for level in levels if level <= 1.0001),
    )
