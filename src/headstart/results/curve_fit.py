"""A curve through accuracy at several label budgets, with what is uncertain about it.

Two forms, a - b n^-c and a - b exp(-c n); the one that better predicts each budget from the others is kept,
both take part in what is drawn. Budgets weigh by the variance of their means: that between seeds, and the
form's own error.
Source: Viering and Loog (2022), The shape of learning curves: a review (POW3 and EXP3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Form = Literal["power", "exponential"]
Floats = NDArray[np.float64]
Points = Mapping[float, Mapping[int, float]]  # accuracy (0..1) by labels per class, then by seed

FEWEST_BUDGETS = 4
_TOLERATED_FALL = 0.005  # half a point: what one more seed can undo
_TOLERATED_MISS = 0.01  # of a measured budget by the curve: a point, or three standard errors
_MISS_SHARE = 0.25  # of the left-out error: what a form misses between budgets, and up to twice the largest
_LEAST_ERROR = 0.0005  # of a budget's mean: below this no budget is known
# Where c is searched; for the exponential in units of 1 / (geometric mean of the budgets).
_RATES: dict[Form, tuple[float, float]] = {"power": (0.01, 4.0), "exponential": (0.01, 10.0)}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A fitted learning curve: accuracy a - b g(n), g(n) = n^-c or exp(-c n), n labels per class.

    draws: float64 (D, 3), a row (a, b, c) a drawn curve; powers: bool (D,), whether it is a power law;
    misses: float64 (D,), by how much the form may be off where nothing was measured; all None with one seed.
    error: root mean squared error of predicting each budget from the others (0..1). budgets: those measured,
    ascending.
    """

    form: Form
    a: float
    b: float
    c: float
    error: float
    budgets: tuple[float, ...]
    draws: Floats | None = None
    powers: NDArray[np.bool_] | None = None
    misses: Floats | None = None

    def predict(self, labels: ArrayLike) -> Floats:
        """Accuracy at these labels per class, float64 of the same shape."""
        return evaluate(np.array([self.a, self.b, self.c]), self.form == "power", labels)

    def drawn(self, labels: ArrayLike) -> Floats | None:
        """Accuracy by each drawn curve, float64 (D, G) for G labels per class; None with one seed."""
        if self.draws is None or self.powers is None:
            return None
        return evaluate(self.draws[:, None, :], self.powers[:, None], np.atleast_1d(labels))

    def band(self, labels: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats] | None:
        """Lower and upper end of the drawn curves' range at each of these labels per class, float64 (G,),
        within 0..1; None with one seed."""
        drawn = self.drawn(labels)
        if drawn is None:
            return None
        low, high = np.clip(np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0), 0, 1)
        return low, high


def fit_curve(points: Points, generator: np.random.Generator, draws: int = 1000) -> Curve | None:
    """The learning curve through the mean over seeds at each budget, or None where the data cannot say: fewer
    than four budgets; a fall of more than half a point and twice its standard error from one budget to the
    next; a curve that contradicts its own points (misses one by more than a point and three standard errors,
    or has its limit below one by more than two).

    Least squares with b >= 0 and a <= 1. A budget weighs by 1 / (its mean's variance between seeds + the
    form's error squared); the form's error is what makes the weighted residuals as large as they should be. A
    budget with one seed takes the spread that the others' trend gives it. Uncertainty: each draw moves the
    means by a multiplier bootstrap over seeds (a seed's whole row of deviations times one normal draw, all
    divided by one chi draw: at each budget the 95 % range is the t interval) and by the form's error, and
    fits one of the two forms, taken by how well each predicts left-out budgets. Equal generators and equal
    seeds give paired draws, for `crossing`.
    Source: Wu (1986) and Mammen (1993) for multipliers; Student (1908) for the scale; Paule and Mandel (1982)
    for the form's error; Buckland, Burnham and Augustin (1997) for drawing the form."""
    budgets = np.array(sorted(points), dtype=np.float64)
    if len(budgets) < FEWEST_BUDGETS:
        return None
    means = np.array([np.mean(list(points[n].values())) for n in budgets])
    errors = standard_errors(points, budgets)
    noise = np.full(len(budgets), _LEAST_ERROR) if errors is None else np.maximum(errors, _LEAST_ERROR)
    falls = means[:-1] - means[1:]
    doubt = 2 * np.hypot(noise[:-1], noise[1:]) if errors is not None else 0.0
    if (falls > np.maximum(_TOLERATED_FALL, doubt)).any():
        return None
    fits = {form: _weighted_fit(form, budgets, means, noise) for form in _RATES}
    missed = {form: _left_out_error(form, budgets, means, fits[form].weights) for form in _RATES}
    form: Form = "power" if missed["power"] <= missed["exponential"] else "exponential"
    best = fits[form]
    doubtful = np.full(len(budgets), _TOLERATED_MISS) if errors is None else noise
    residuals = np.abs(evaluate(best.parameters, form == "power", budgets) - means)
    if (residuals > np.maximum(_TOLERATED_MISS, 3 * doubtful)).any() or (
        means - 2 * doubtful > best.parameters[0]
    ).any():
        return None
    a, b, c = best.parameters.tolist()
    curve = Curve(form=form, a=a, b=b, c=c, error=missed[form], budgets=tuple(budgets.tolist()))
    if errors is None:
        return curve
    return _with_draws(curve, points, fits, missed, generator, draws)


@dataclass(frozen=True, kw_only=True)
class _Weighted:
    """A form's fit: (a, b, c), the budgets' weights, the form's error."""

    parameters: Floats
    weights: Floats
    error: float


def _weighted_fit(form: Form, budgets: Floats, means: Floats, noise: Floats) -> _Weighted:
    freedom = max(len(budgets) - 3, 1)

    def fitted(error: float) -> tuple[Floats, Floats, float]:
        weights = 1 / (noise**2 + error**2)
        parameters = _fit(form, budgets, means[None], weights)[0]
        residuals = evaluate(parameters, form == "power", budgets) - means
        return parameters, weights, float((weights * residuals**2).sum()) / freedom

    low, high = 0.0, 0.5
    parameters, weights, size = fitted(low)
    if size > 1:
        for _ in range(12):
            middle = (low + high) / 2
            parameters, weights, size = fitted(middle)
            low, high = (middle, high) if size > 1 else (low, middle)
        parameters, weights, _ = fitted(high)
        return _Weighted(parameters=parameters, weights=weights, error=high)
    return _Weighted(parameters=parameters, weights=weights, error=0.0)


def _with_draws(
    curve: Curve,
    points: Points,
    fits: Mapping[Form, _Weighted],
    missed: Mapping[Form, float],
    generator: np.random.Generator,
    draws: int,
) -> Curve:
    budgets = np.asarray(curve.budgets)
    means = np.array([np.mean(list(points[n].values())) for n in budgets])
    drawn = draw_means(points, budgets, means, generator, draws)
    own_errors = generator.standard_normal((draws, len(budgets)))
    chances = {form: max(missed[form], _LEAST_ERROR) ** -len(budgets) for form in _RATES}
    powers = generator.random(draws) < chances["power"] / sum(chances.values())
    parameters = np.empty((draws, 3))
    chosen: dict[Form, NDArray[np.bool_]] = {"power": powers, "exponential": ~powers}
    for form, rows in chosen.items():
        if rows.any():
            moved = drawn[rows] + fits[form].error * own_errors[rows]
            parameters[rows] = _fit(form, budgets, moved, fits[form].weights)
    # The left-out error is itself known from few budgets: heavier tails than a normal's.
    misses = _MISS_SHARE * curve.error * generator.standard_t(len(budgets) - 1, draws)
    return replace(curve, draws=parameters, powers=powers, misses=misses)


def evaluate(parameters: Floats, is_power: bool | NDArray[np.bool_], labels: ArrayLike) -> Floats:
    """a - b g(n); parameters (..., 3) and is_power (...) broadcast against labels."""
    a, b, c = np.moveaxis(parameters, -1, 0)
    n = np.asarray(labels, dtype=np.float64)
    return np.asarray(a - b * np.where(is_power, n**-c, np.exp(-c * n)))


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
        errors.append(evaluate(fitted, form == "power", budgets[left_out]) - means[left_out])
    return float(np.sqrt(np.mean(np.square(errors))))


def standard_errors(points: Points, budgets: Floats) -> Floats | None:
    """Standard error of each budget's mean, float64 (K,); None where no budget has two seeds.

    Where a budget's own spread is of few seeds it is drawn towards the trend over all budgets (a line through
    the logarithms, never rising): as many parts own as it has seeds less one, two parts trend. A budget with
    one seed has the trend alone."""
    counts = np.array([len(points[n]) for n in budgets], dtype=np.float64)
    variances = np.array(
        [np.var(list(points[n].values()), ddof=1) if len(points[n]) > 1 else np.nan for n in budgets]
    )
    measured = ~np.isnan(variances)
    if not measured.any():
        return None
    freedom = np.maximum(counts - 1, 0)
    trend = _trend(np.log(budgets), np.where(measured, variances, 0.0), freedom)
    own = np.where(measured, variances, 0.0)
    return np.asarray(np.sqrt((freedom * own + 2 * trend) / (freedom + 2) / counts))


def _trend(place: Floats, variances: Floats, freedom: Floats) -> Floats:
    """The variance at each place by a falling line through log variances, weighted by degrees of freedom."""
    level = float((freedom * variances).sum() / freedom.sum())
    kept = (freedom > 0) & (variances > 1e-3 * level)
    if level == 0 or kept.sum() < 2:
        return np.full(len(place), level)
    centre = np.average(place[kept], weights=freedom[kept])
    height = np.log(variances[kept])
    spread = float((freedom[kept] * (place[kept] - centre) ** 2).sum())
    slope = float((freedom[kept] * (place[kept] - centre) * height).sum()) / spread if spread > 0 else 0.0
    shape = np.exp(min(max(slope, -2.0), 0.0) * (place - centre))
    # The level that gives the pooled variance: the mean of logarithms of few seeds' variances is biased.
    return np.asarray(shape * level * freedom.sum() / (freedom * shape).sum())


def draw_means(
    points: Points, budgets: Floats, means: Floats, generator: np.random.Generator, draws: int
) -> Floats:
    """Bootstrap means, float64 (D, K), for points of which some budget has two seeds."""
    errors = standard_errors(points, budgets)
    assert errors is not None
    seeds = sorted({seed for by_seed in points.values() for seed in by_seed})
    multipliers = generator.standard_normal((draws, len(seeds)))
    lonely = generator.standard_normal((draws, len(budgets)))
    freedom = min(len(points[n]) for n in budgets if len(points[n]) > 1) - 1
    scale = np.sqrt(generator.chisquare(freedom, draws) / freedom)
    drawn = np.empty((draws, len(budgets)))
    for place, n in enumerate(budgets):
        own = np.array([points[n].get(seed, means[place]) - means[place] for seed in seeds])
        size = float(np.linalg.norm(own))
        noise = multipliers @ own / size if size > 0 else lonely[:, place]
        drawn[:, place] = means[place] + errors[place] * noise / scale
    return drawn
