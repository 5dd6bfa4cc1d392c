"""Simulated studies with known truths: what intervals over seeds and images, and those of label curves, hold.

Used by tools/coverage.py, which writes the page, and in small by the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.results import label_curves, stats
from headstart.results.crossed import crossed_difference
from headstart.results.curve_fit import fit_curve

Floats = NDArray[np.float64]

# ---------------------------------------------------------------- A/A


def correct(rng: np.random.Generator, seeds: int, images: int) -> NDArray[np.bool_]:
    """Which images two equal arms have right, bool (2, seeds, images): errors go together by image, by arm
    and image, and seeds differ a little."""
    difficulty = rng.normal(size=images)
    by_arm = rng.normal(0, 0.8, (2, 1, images))
    chance = rng.normal(0, 0.4, (2, seeds, images)) + rng.normal(0, 0.02, (2, seeds, 1))
    return np.asarray(difficulty + by_arm + chance < 1.4)


def equal_arms(seeds: int, runs: int, images: int = 1500) -> tuple[float, float]:
    """Shares of `runs` studies of two equal arms in which a 95 % interval excludes 0: over seeds and images,
    and over seeds alone. Every run has images of its own."""
    rng = np.random.default_rng(seeds)
    winners = over_seeds = 0
    for _ in range(runs):
        a, b = correct(rng, seeds, images).astype(np.float64)
        found = crossed_difference(list(a - b), float((a - b).mean()), list((a - b).mean(axis=1)))
        assert found is not None
        low, high = found.interval()
        winners += not low <= 0 <= high
        low, high = stats.t_interval((a - b).mean(axis=1)) or (0.0, 0.0)
        over_seeds += not low <= 0 <= high
    return winners / runs, over_seeds / runs


# ---------------------------------------------------------------- label curves

Form = Callable[[Floats, float, float, float], Floats]
FORMS: dict[str, Form] = {
    "power": lambda n, a, b, c: a - b * n**-c,
    "exponential": lambda n, a, b, c: a - b * np.exp(-0.002 * c * n),
    "logarithmic": lambda n, a, b, c: a - 0.8 * b / np.log(n + 2),
    "Weibull": lambda n, a, b, c: a - b * np.exp(-0.35 * n ** (0.5 * c)),
}
BUDGETS = (5, 10, 50, 500, 4500)
SENTENCES = ("gain", "accuracy", "labels")  # from twice the labels; at twice the labels; for a target


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What curves said: how many were refused, and by sentence whether the truth lay in its interval."""

    curves: int
    refused: int
    held: dict[str, list[bool]]

    def share(self, sentence: str) -> float:
        """The share of stated intervals that hold the truth; NaN where none was stated."""
        return float(np.mean(self.held[sentence])) if self.held[sentence] else float("nan")


def synthetic_curves(form: str, seeds: int, curves: int, first: int = 0, draws: int = 200) -> Stated:
    """What is said of noisy studies on curves of one form, whose truth is known: intervals of nominal 95 %.

    seeds: of each label budget. first: of the generator, so that other studies can be drawn."""
    rng = np.random.default_rng([5, first, seeds])
    held: dict[str, list[bool]] = {name: [] for name in SENTENCES}
    refused = 0
    for noise in range(curves):
        parameters = rng.uniform(0.75, 0.99), rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9)
        spread = rng.uniform(0.002, 0.03)

        def truth(n: float, parameters: tuple[float, float, float] = parameters) -> float:
            return float(FORMS[form](np.asarray(n, dtype=np.float64), *parameters))

        points = {
            float(n): {
                seed: float(np.clip(truth(n) + rng.normal(0, spread * (n / 5) ** -0.25), 0, 1))
                for seed in range(seeds)
            }
            for n in BUDGETS
        }
        target = truth(rng.uniform(2000, 9000))
        curve = fit_curve(points, np.random.default_rng(noise), draws=draws)
        if curve is None:
            refused += 1
            continue
        gain = label_curves.gain_from_doubling(curve)
        if gain is not None and gain.interval is not None:
            held["gain"].append(gain.interval[0] <= truth(9000) - truth(4500) <= gain.interval[1])
        predicted = label_curves.predict_with_interval(curve, 9000, np.random.default_rng(noise))
        if predicted is not None and predicted.interval is not None:
            held["accuracy"].append(predicted.interval[0] <= truth(9000) <= predicted.interval[1])
        labels = label_curves.labels_for(curve, target)
        if labels is not None and labels.interval is not None:
            held["labels"].append(truth(labels.interval[0]) <= target <= truth(labels.interval[1]))
    return Stated(curves=curves, refused=refused, held=held)
