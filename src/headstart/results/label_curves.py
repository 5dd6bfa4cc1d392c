"""What follows from a learning curve: labels for an accuracy, the gain from twice the labels, where two arms
meet.

Where the data cannot say, functions return None: a curve that `curve_fit` refuses, an answer more than 4x
beyond the budgets measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from headstart.results.curve_fit import Curve, Floats, Points, fit_curve
from headstart.results.trials import Trials, newest
from headstart.types import LabelBudget

Budget = TypeVar("Budget", float, LabelBudget)

FURTHEST = 4.0  # answers up to this many times beyond the budgets measured
_CHECKED_TO = (
    10.0  # as far a hidden budget is predicted: an answer that is compared with the truth misleads nobody
)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and its interval; the interval is None with one seed."""

    value: float
    interval: tuple[float, float] | None


def points_from_trials(
    trials: Trials, arm: str, phase: str = "select", metric: str = "test_accuracy"
) -> dict[float, dict[int, float]]:
    """Accuracy of one arm by labels per class, then by seed; all labels count as training images / classes, a
    budget that need not be whole."""
    points: dict[float, dict[int, float]] = {}
    chosen = [trial for trial in newest(trials) if trial.arm.name == arm and trial.phase == phase]
    classes = {
        round(trial.train_images / trial.label_budget.per_class)
        for trial in chosen
        if trial.label_budget.per_class is not None
    }
    for trial in chosen:
        value = trial.metrics.get(metric)
        labels: float | None = trial.label_budget.per_class
        if labels is None and len(classes) == 1:
            labels = trial.train_images / next(iter(classes))
        if value is not None and labels is not None:
            points.setdefault(float(labels), {})[trial.seed] = value
    return dict(sorted(points.items()))


def furthest(curve: Curve) -> float:
    """The most labels per class that a curve speaks about."""
    return FURTHEST * curve.budgets[-1]


def _interval(values: Floats, confidence: float) -> tuple[float, float] | None:
    """Percentiles of the draws; None where too many have no answer (NaN) for both ends to be known."""
    if np.isnan(values).mean() > (1 - confidence) / 2:
        return None
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def predict_with_interval(
    curve: Curve,
    labels: float,
    generator: np.random.Generator,
    confidence: float = 0.95,
    furthest: float = FURTHEST,
) -> Estimate | None:
    """Accuracy at `labels` per class; None more than `furthest` times beyond the budgets measured, on either
    side.

    The interval is of the drawn curves, each with a normal error of the size of the left-out error: a curve
    through few budgets misses the next one by about as much as it missed each of those."""
    if not curve.budgets[0] / furthest <= labels <= furthest * curve.budgets[-1]:
        return None
    value = float(curve.predict(labels))
    drawn = curve.drawn(labels)
    if drawn is None:
        return Estimate(value=value, interval=None)
    interval = _interval(drawn[:, 0] + curve.error * generator.standard_normal(len(drawn)), confidence)
    return Estimate(
        value=value,
        interval=None
        if interval is None
        else (float(np.clip(interval[0], 0, 1)), float(np.clip(interval[1], 0, 1))),
    )


def _inverse(parameters: Floats, is_power: bool | NDArray[np.bool_], target: float | Floats) -> Floats:
    """Labels per class at which the curve reaches target; NaN where it never does."""
    a, b, c = np.moveaxis(parameters, -1, 0)
    reachable = (a > target) & (b > 0)
    ratio = np.where(reachable, np.where(reachable, a - target, 1.0) / np.where(b > 0, b, 1.0), 1.0)
    with np.errstate(over="ignore"):
        labels = np.where(is_power, np.exp(-np.log(ratio) / c), -np.log(ratio) / c)
    return np.where(reachable & np.isfinite(labels), labels, np.nan)


def labels_for(curve: Curve, target: float, confidence: float = 0.95) -> Estimate | None:
    """Labels per class needed for an accuracy of `target` (0..1); None where the curve does not reach it
    within 4x the budgets measured, or where the interval reaches further than that (with one seed: no
    interval, the value alone)."""
    value = float(_inverse(np.array([curve.a, curve.b, curve.c]), curve.form == "power", target))
    if not curve.budgets[0] / FURTHEST <= value <= furthest(curve):
        return None
    if curve.draws is None or curve.powers is None or curve.misses is None:
        return Estimate(value=value, interval=None)
    interval = _interval(_inverse(curve.draws, curve.powers, target - curve.misses), confidence)
    if interval is None or interval[1] > furthest(curve):
        return None
    return Estimate(value=value, interval=interval)


def gain_from_doubling(
    curve: Curve, labels: float | None = None, confidence: float = 0.95
) -> Estimate | None:
    """Accuracy (0..1) gained from `labels` per class (default: the largest budget measured) to twice as many;
    None beyond 4x the budgets measured."""
    start = curve.budgets[-1] if labels is None else labels
    if start < curve.budgets[0] / FURTHEST or 2 * start > furthest(curve):
        return None
    value = float(curve.predict(2 * start) - curve.predict(start))
    drawn = curve.drawn([start, 2 * start])
    if drawn is None or curve.misses is None:
        return Estimate(value=value, interval=None)
    gains = drawn[:, 1] - drawn[:, 0] + curve.misses
    return Estimate(value=value, interval=_interval(gains, confidence))


def crossing(curve_a: Curve, curve_b: Curve, confidence: float = 0.95) -> Estimate | None:
    """Labels per class at which the two curves meet, with the interval over paired draws; None where they do
    not meet, or meet more than once, between the first budget that both have and 4x the last one that both
    have, or where more than 2.5 % of the draws do not. With one seed on either side: no interval, the value
    alone."""
    low = max(curve_a.budgets[0], curve_b.budgets[0])
    high = FURTHEST * min(curve_a.budgets[-1], curve_b.budgets[-1])
    if high <= low:
        return None
    grid = np.geomspace(low, high, 400)
    gap = curve_a.predict(grid) - curve_b.predict(grid)
    places = _sign_changes(gap[None])[0]
    if places < 0:
        return None
    value = brentq(lambda n: float(curve_a.predict(n) - curve_b.predict(n)), grid[places], grid[places + 1])
    drawn = curve_a.drawn(grid), curve_b.drawn(grid)
    if drawn[0] is None or drawn[1] is None or curve_a.misses is None or curve_b.misses is None:
        return Estimate(value=float(value), interval=None)
    count = min(len(drawn[0]), len(drawn[1]))
    # Each form may be off in its own way: the second curve's misses in another order.
    misses = curve_a.misses[:count] - curve_b.misses[:count][::-1]
    gaps = drawn[0][:count] - drawn[1][:count] + misses[:, None]
    where, rows = _sign_changes(gaps), np.arange(count)
    before, after = gaps[rows, where], gaps[rows, np.minimum(where + 1, len(grid) - 1)]
    # Between two neighbours of a grid of 400 the gap is straight enough.
    with np.errstate(invalid="ignore", divide="ignore"):
        step = before / (before - after) * np.log(grid[1] / grid[0])
    interval = _interval(np.where(where >= 0, grid[where] * np.exp(step), np.nan), confidence)
    return None if interval is None else Estimate(value=float(value), interval=interval)


def _sign_changes(gaps: Floats) -> NDArray[np.int64]:
    """For each row the place before its only change of sign; -1 where there is none or more than one."""
    above = gaps >= 0
    changes = above[:, :-1] != above[:, 1:]
    return np.where(changes.sum(axis=1) == 1, changes.argmax(axis=1), -1)


@dataclass(frozen=True, kw_only=True)
class HiddenBudget:
    """The largest budget, predicted from the others: was it inside the interval? (None with one seed)"""

    labels: float
    observed: float
    predicted: Estimate
    inside: bool | None


def check_hidden_budget(points: Points, generator: np.random.Generator) -> HiddenBudget | None:
    """Hides the largest budget, fits the others and compares; None where the rest is too little, or the
    largest more than 10x beyond it."""
    labels = max(points, default=0.0)
    curve = fit_curve({n: by_seed for n, by_seed in points.items() if n != labels}, generator)
    predicted = (
        None if curve is None else predict_with_interval(curve, labels, generator, furthest=_CHECKED_TO)
    )
    if predicted is None:
        return None
    observed = float(np.mean(list(points[labels].values())))
    interval = predicted.interval
    return HiddenBudget(
        labels=labels,
        observed=observed,
        predicted=predicted,
        inside=None if interval is None else interval[0] <= observed <= interval[1],
    )


def skips(tried: Sequence[Budget], budget: Budget) -> bool:
    """Whether an arm was tried with fewer and with more labels, and not with these."""
    return bool(tried) and min(tried) < budget < max(tried) and budget not in tried
