"""What tuning may change of each kind of recipe, and between which bounds; the same for every arm of a kind.

Durations are never searched: a longer training would always win. The L2 of a probe and the k of nearest
neighbours are not here either: their methods compare all candidates themselves, by the same rules.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

PIXELS = "input_pixels"  # of the arm, not of its recipe


@dataclass(frozen=True, kw_only=True)
class Range:
    """A number between low and high, both included; log: drawn evenly in its logarithm."""

    name: str
    low: float
    high: float
    log: bool = False

    def holds(self, value: Any) -> bool:
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of a few values."""

    name: str
    values: tuple[Any, ...]

    def holds(self, value: Any) -> bool:
        return value in self.values


Knob = Range | Choice


def _logarithmic(name: str, low: float, high: float) -> Range:
    return Range(name=name, low=low, high=high, log=True)


_SMOOTHING = Range(name="label_smoothing", low=0.0, high=0.2)
TRANSFER = (
    _logarithmic("learning_rate", 1e-3, 0.1),
    _logarithmic("weight_decay", 1e-6, 1e-2),
    _SMOOTHING,
    _logarithmic("head_lr_scale", 0.3, 10.0),
    Choice(name="batchnorm", values=("train", "frozen")),
)
_STAGES = Range(name="stage_lr_decay", low=0.3, high=1.0)
FINE_TUNE = (*TRANSFER, _STAGES)
LP_FT = (_logarithmic("learning_rate", 1e-4, 0.03), *TRANSFER[1:], _STAGES)
# From random weights: no stage or head has a rate of its own, and stored statistics mean nothing.
FROM_SCRATCH = (
    _logarithmic("learning_rate", 0.01, 0.5),
    _logarithmic("weight_decay", 1e-5, 5e-3),
    _SMOOTHING,
    Choice(name="translate_pixels", values=(2, 4)),
)
CNN = (
    _logarithmic("learning_rate", 0.03, 0.5),
    _logarithmic("bias_learning_rate", 0.01, 0.2),
    _logarithmic("head_learning_rate", 0.1, 3.0),
    _logarithmic("weight_decay", 1e-4, 1e-2),
    Range(name="label_smoothing", low=0.0, high=0.3),
    Choice(name="translate_pixels", values=(2, 4)),
)
KNN = (_logarithmic("temperature", 0.02, 0.5),)


def pixels_knob(pixels: Sequence[int]) -> Choice:
    """The input's size as one more knob."""
    return Choice(name=PIXELS, values=tuple(pixels))


def grid(space: Sequence[Knob]) -> list[dict[str, Any]] | None:
    """Every combination where all knobs are choices, in order; None where there is a range."""
    if any(isinstance(knob, Range) for knob in space):
        return None
    return [
        dict(zip([knob.name for knob in space], values, strict=True))
        for values in product(*(knob.values for knob in space if isinstance(knob, Choice)))
    ]


def holds(space: Sequence[Knob], values: Mapping[str, Any]) -> bool:
    """Whether every knob's value lies in its bounds."""
    return all(knob.holds(values[knob.name]) for knob in space)


def rounded(value: Any) -> Any:
    """A drawn number with three significant digits: what is stored is what was tried."""
    if not isinstance(value, float) or value == 0 or not math.isfinite(value):
        return value
    return round(value, 2 - math.floor(math.log10(abs(value))))


def described(space: Sequence[Knob]) -> list[dict[str, Any]]:
    """The space as plain values, for tuning.json and the report."""
    return [
        {"name": k.name, "low": k.low, "high": k.high, "log": k.log}
        if isinstance(k, Range)
        else {"name": k.name, "values": list(k.values)}
        for k in space
    ]
