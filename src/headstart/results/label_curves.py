"""Accuracy against labels per class: a fitted curve with its uncertainty, and what follows from it.

Two forms, a - b n^-c and a - b exp(-c n); the one that better predicts each budget from the others is kept.
Where the data cannot say, functions return None: fewer than four budgets, accuracy that falls with more
labels, an answer more than 4x beyond the budgets measured.
Source: Viering and Loog (2022), The shape of learning curves: a review (POW3 and EXP3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from headstart.results.trials import Trials, newest

Form = Literal["power", "exponential"]
Floats = NDArray[np.float64]
Points = Mapping[float, Mapping[int, float]]  # accuracy (0..1) by labels per class, then by seed

FEWEST_BUDGETS = 4
FURTHEST = 4.0  # answers up to this many times beyond the budgets measured
_CHECKED_TO = (
    10.0  # as far a hidden budget is predicted: an answer that is compared with the truth misleads nobody
)
_TOLERATED_FALL = 0.005  # half a point: what one more seed can undo
# Where c is searched; for the exponential in units of 1 / (geometric mean of the budgets).
_RATES: dict[Form, tuple[float, float]] = {"power": (0.01, 4.0), "exponential": (0.01, 10.0)}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and its interval; the interval is None with one seed."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A fitted learning curve: accuracy a - b g(n), g(n) = n^-c or exp(-c n), n labels per class.

    draws: float64 (D, 3), a row (a, b, c) a bootstrap fit; None with one seed. error: root mean squared error
    of predicting each budget from the others (0..1). budgets: those measured, ascending.
    """

    form: Form
    a: float
    b: float
    c: float
    error: float
    budgets: tuple[float, ...]
    draws: Floats | None = None

    def predict(self, labels: ArrayLike) -> Floats:
        """Accuracy at these labels per class, float64 of the same shape."""
        return _evaluate(self.form, np.array([self.a, self.b, self.c]), labels)

    def band(self, labels: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats] | None:
        """Lower and upper end of the drawn curves' range at each of these labels per class, float64 (G,),
        within 0..1; None with one seed. It holds the spread between seeds, not that the form may be wrong."""
        if self.draws is None:
            return None
        drawn = _evaluate(
            self.form, self.draws[:, None, :], np.atleast_1d(np.asarray(labels, dtype=np.float64))
        )
        low, high = np.clip(np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0), 0, 1)
        return low, high

    @property
    def furthest(self) -> float:
        """The most labels per class that the curve speaks about."""
        return FURTHEST * self.budgets[-1]


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


def fit_curve(points: Points, generator: np.random.Generator, draws: int = 1000) -> Curve | None:
    """The learning curve through the mean over seeds at each budget, or None where the data cannot say: fewer
    than four budgets, or a fall of more than half a point and twice its standard error from one budget to the
    next.

    Least squares with b >= 0 and a <= 1, budgets weighted by their number of seeds. Uncertainty: a multiplier
    bootstrap over seeds. A seed's whole row of deviations is multiplied by one normal draw, all are divided
    by one chi draw: at each budget the 95 % range of the drawn means is exactly the t interval over seeds
    (resampling three seeds would give ten different curves and a range far too narrow). A budget with one
    seed takes the spread of the nearest budget that has more, unless no budget has (then draws is None).
    Equal generators and equal seeds give paired draws, for `crossing`.
    Source: Wu (1986) and Mammen (1993) for multipliers; Student (1908) for the scale."""
    budgets = np.array(sorted(points), dtype=np.float64)
    if len(budgets) < FEWEST_BUDGETS:
        return None
    means = np.array([np.mean(list(points[n].values())) for n in budgets])
    counts = np.array([len(points[n]) for n in budgets], dtype=np.float64)
    deviations = _standard_errors(points, budgets)
    falls = means[:-1] - means[1:]
    doubt = 2 * np.hypot(deviations[:-1], deviations[1:]) if deviations is not None else 0.0
    if (falls > np.maximum(_TOLERATED_FALL, doubt)).any():
        return None
    errors = {form: _left_out_error(form, budgets, means, counts) for form in _RATES}
    form: Form = "power" if errors["power"] <= errors["exponential"] else "exponential"
    a, b, c = _fit(form, budgets, means[None], counts)[0]
    drawn = _draw_means(points, budgets, means, generator, draws)
    return Curve(
        form=form,
        a=float(a),
        b=float(b),
        c=float(c),
        error=errors[form],
        budgets=tuple(budgets.tolist()),
        draws=None if drawn is None else _fit(form, budgets, drawn, counts),
    )


def _evaluate(form: Form, parameters: Floats, labels: ArrayLike) -> Floats:
    """a - b g(n); parameters (..., 3) broadcast against labels."""
    a, b, c = np.moveaxis(parameters, -1, 0)
    n = np.asarray(labels, dtype=np.float64)
    return np.asarray(a - b * (n**-c if form == "power" else np.exp(-c * n)))


def _fit(form: Form, budgets: Floats, means: Floats, weights: Floats) -> Floats:
    """Least-squares (a, b, c), float64 (D, 3), for each row of means (D, K).

    For a given c the rest is a linear fit in closed form, so only c is searched: a grid on log c, refined
    four times around each row's best. No start value to choose, nothing to fail to converge."""
    low, high = np.log(_RATES[form])
    scale = 0.0 if form == "power" else np.log(budgets).mean()
    grid = np.broadcast_to(np.linspace(low, high, 81), (len(means), 81))
    step = (high - low) / 80
    rows = np.arange(len(means))
    best = np.empty((len(means), 3))
    for _ in range(5):
        fits, loss = _linear_fit(form, np.exp(grid - scale), budgets, means[:, None], weights)
        chosen = loss.argmin(axis=1)
        best = fits[rows, chosen]
        grid = np.clip(grid[rows, chosen][:, None] + step * np.linspace(-1, 1, 17), low, high)
        step /= 8
    return best


def _linear_fit(
    form: Form, rate: Floats, budgets: Floats, means: Floats, weights: Floats
) -> tuple[Floats, Floats]:
    """(a, b, c) (D, G, 3) and loss (D, G) for rates (D, G) and means (D, 1, K), under b >= 0 and a <= 1."""
    basis = np.exp(-rate[..., None] * (np.log(budgets) if form == "power" else budgets))
    share = weights / weights.sum()
    mean_basis, mean = basis @ share, means @ share
    centred = basis - mean_basis[..., None]
    spread = np.maximum((centred**2) @ share, 1e-300)
    b = np.maximum(-((centred * (means - mean[..., None])) @ share) / spread, 0.0)
    a = mean + b * mean_basis
    over = a > 1  # on the border a = 1 only b is left to fit
    b = np.where(
        over, np.maximum(((1 - means) * basis) @ share / np.maximum((basis**2) @ share, 1e-300), 0.0), b
    )
    a = np.where(over, 1.0, a)
    loss = ((a[..., None] - b[..., None] * basis - means) ** 2) @ share
    return np.stack([a, b, rate], axis=-1), loss


def _left_out_error(form: Form, budgets: Floats, means: Floats, weights: Floats) -> float:
    errors = []
    for left_out in range(len(budgets)):
        kept = np.arange(len(budgets)) != left_out
        fitted = _fit(form, budgets[kept], means[None, kept], weights[kept])[0]
        errors.append(_evaluate(form, fitted, budgets[left_out]) - means[left_out])
    return float(np.sqrt(np.mean(np.square(errors))))


def _standard_errors(points: Points, budgets: Floats) -> Floats | None:
    """Standard error of each budget's mean; a budget with one seed takes the nearest other's spread; None
    where none has two seeds."""
    spread = np.array(
        [np.std(list(points[n].values()), ddof=1) if len(points[n]) > 1 else np.nan for n in budgets]
    )
    measured = np.flatnonzero(~np.isnan(spread))
    if len(measured) == 0:
        return None
    nearest = measured[np.abs(measured[None, :] - np.arange(len(budgets))[:, None]).argmin(axis=1)]
    return np.asarray(spread[nearest] / np.sqrt([len(points[n]) for n in budgets]))


def _draw_means(
    points: Points, budgets: Floats, means: Floats, generator: np.random.Generator, draws: int
) -> Floats | None:
    """Bootstrap means, float64 (D, K), or None where no budget has two seeds."""
    errors = _standard_errors(points, budgets)
    if errors is None:
        return None
    seeds = sorted({seed for by_seed in points.values() for seed in by_seed})
    multipliers = generator.standard_normal((draws, len(seeds)))
    lonely = generator.standard_normal((draws, len(budgets)))
    freedom = min(len(points[n]) for n in budgets if len(points[n]) > 1) - 1
    scale = np.sqrt(generator.chisquare(freedom, draws) / freedom)
    drawn = np.empty((draws, len(budgets)))
    for place, n in enumerate(budgets):
        by_seed = points[n]
        if len(by_seed) == 1:
            noise = lonely[:, place] * errors[place]
        else:
            own = np.array([by_seed.get(seed, means[place]) - means[place] for seed in seeds])
            noise = multipliers @ own / math.sqrt(len(by_seed) * (len(by_seed) - 1))
        drawn[:, place] = means[place] + noise / scale
    return drawn


# ---------------------------------------------------------------- what follows from a curve


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
    if curve.draws is None:
        return Estimate(value=value, interval=None)
    drawn = _evaluate(curve.form, curve.draws, labels)
    interval = _interval(drawn + curve.error * generator.standard_normal(len(drawn)), confidence)
    return Estimate(
        value=value,
        interval=None
        if interval is None
        else (float(np.clip(interval[0], 0, 1)), float(np.clip(interval[1], 0, 1))),
    )


def _inverse(form: Form, parameters: Floats, target: float) -> Floats:
    """Labels per class at which the curve reaches target; NaN where it never does."""
    a, b, c = np.moveaxis(parameters, -1, 0)
    reachable = (a > target) & (b > 0)
    ratio = np.where(reachable, np.where(reachable, a - target, 1.0) / np.where(b > 0, b, 1.0), 1.0)
    with np.errstate(over="ignore"):
        labels = np.exp(-np.log(ratio) / c) if form == "power" else -np.log(ratio) / c
    return np.where(reachable & np.isfinite(labels), labels, np.nan)


def labels_for(curve: Curve, target: float, confidence: float = 0.95) -> Estimate | None:
    """Labels per class needed for an accuracy of `target` (0..1); None where the curve does not reach it
    within 4x the budgets measured, or where the interval reaches further than that (with one seed: no
    interval, the value alone)."""
    value = float(_inverse(curve.form, np.array([curve.a, curve.b, curve.c]), target))
    if not curve.budgets[0] / FURTHEST <= value <= curve.furthest:
        return None
    if curve.draws is None:
        return Estimate(value=value, interval=None)
    interval = _interval(_inverse(curve.form, curve.draws, target), confidence)
    if interval is None or interval[1] > curve.furthest:
        return None
    return Estimate(value=value, interval=interval)


def gain_from_doubling(
    curve: Curve, labels: float | None = None, confidence: float = 0.95
) -> Estimate | None:
    """Accuracy (0..1) gained from `labels` per class (default: the largest budget measured) to twice as many;
    None beyond 4x the budgets measured."""
    start = curve.budgets[-1] if labels is None else labels
    if start < curve.budgets[0] / FURTHEST or 2 * start > curve.furthest:
        return None
    value = float(curve.predict(2 * start) - curve.predict(start))
    if curve.draws is None:
        return Estimate(value=value, interval=None)
    gains = _evaluate(curve.form, curve.draws, 2 * start) - _evaluate(curve.form, curve.draws, start)
    return Estimate(value=value, interval=_interval(gains, confidence))


def crossing(curve_a: Curve, curve_b: Curve, confidence: float = 0.95) -> Estimate | None:
    """Labels per class at which the two curves meet, with the interval over paired draws; None where they do
    not meet, or meet more than once, between the first budget that both have and 4x the last one that both
    have, or where more than 2.5 % of the draws do not. With one seed on either side: no interval, the value
    alone. The interval holds the spread between seeds, not that the form may be wrong: beyond the budgets
    measured it is a guess that both hold."""
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
    if curve_a.draws is None or curve_b.draws is None:
        return Estimate(value=float(value), interval=None)
    count = min(len(curve_a.draws), len(curve_b.draws))
    gaps = _evaluate(curve_a.form, curve_a.draws[:count, None, :], grid) - _evaluate(
        curve_b.form, curve_b.draws[:count, None, :], grid
    )
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
