"""How long to train: durations as recipes write them, converted to steps in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from headstart.errors import ConfigError

_UNITS = {
    "epoch": "epochs",
    "epochs": "epochs",
    "step": "steps",
    "steps": "steps",
    "second": "seconds",
    "s": "seconds",
    "seconds": "seconds",
    "PFLOP": "PFLOP",
    "PFLOPs": "PFLOP",
}


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a trial has cost before training begins: frozen features, and a head fitted on them."""

    seconds: float = 0.0
    flops: int = 0


def parse_duration(text: str) -> tuple[float, str]:
    """(amount, unit) of "2.5 epochs", "300 steps", "90 seconds" or "0.36 PFLOP" (1e15 operations).

    Raises: ConfigError."""
    amount, _, unit = text.strip().partition(" ")
    unit = _UNITS.get(unit.strip(), unit.strip())
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if unit not in _UNITS.values() or not 0 < value < math.inf:
        raise ConfigError(
            f'duration {text!r} is not like "2.5 epochs", "300 steps", "90 seconds" or "0.36 PFLOP"'
        )
    return value, unit


def resolve_steps(
    duration: str,
    steps_per_epoch: int,
    seconds_per_step: Callable[[], float],
    flops_per_step: float = math.nan,
    spent: Spent | None = None,
) -> int:
    """Training steps of a duration, at least one; the only place where durations are converted.

    "3 epochs, at least 300 steps" is the longer of the two: an epoch of a small label budget has few steps.
    seconds_per_step is called (it times a few steps) only where the duration is in seconds; after an epoch
    `train` takes steps off or adds some where they are slower or faster. A duration in seconds or PFLOP is
    the whole trial's: what was `spent` before training is taken off it."""
    duration, _, least = duration.partition(", at least ")
    if least:
        return max(
            resolve_steps(part, steps_per_epoch, seconds_per_step, flops_per_step, spent)
            for part in (duration, least)
        )
    amount, unit = parse_duration(duration)
    before = spent or Spent()
    if unit == "seconds":
        amount = (amount - before.seconds) / seconds_per_step()
    if unit == "PFLOP":
        amount = (amount * 1e15 - before.flops) / flops_per_step
    if unit == "epochs":
        amount *= steps_per_epoch
    return max(1, math.ceil(amount - 1e-9))


def seconds_to_train(duration: str, spent: Spent | None) -> float | None:
    """Of a duration in seconds, what is left for training; None for any other."""
    if ", at least " in duration:
        return None
    amount, unit = parse_duration(duration)
    return amount - (spent or Spent()).seconds if unit == "seconds" else None
