"""Peer (d): scikit-learn's LogisticRegression over the same L2 path, warm starts, float32, standardised
features.

Its `tol` is the largest of _TOLERANCES with which it reaches the optimum: tried once beforehand, not timed.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn
from objective import Problem, moments, objective
from protocol import Run, serve
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

_TOLERANCES = (1e-2, 5e-3, 2e-3, 1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5)  # the last is the reference
# relative distance to the reference; under the 1e-4 asked, as the timed path starts a little elsewhere
_REACHED = 8e-5
_TRIAL_ITERATIONS = 8  # of each number of threads, to choose it


Head = tuple[np.ndarray, np.ndarray]  # weight (C, D) and bias (C,), of raw features


class L2Path:
    """The fits of one problem, from the strongest L2 to the weakest, each the start of the next."""

    def __init__(self, problem: Problem, l2_values: Sequence[float], max_iterations: int) -> None:
        self.problem, self.l2_values, self.max_iterations = problem, l2_values, max_iterations
        self.order = sorted(range(len(l2_values)), key=lambda place: -l2_values[place])
        self.mean, self.deviation = moments(problem.values, problem.ids)

    def standardised(self) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 (n, D) and labels (n,) to fit."""
        x = self.problem.values[self.problem.ids].astype(np.float32)
        x -= self.mean.astype(np.float32)
        x /= self.deviation.astype(np.float32)
        return x, self.problem.labels[self.problem.ids]

    def new_model(self) -> LogisticRegression:
        return LogisticRegression(solver="lbfgs", warm_start=True, max_iter=self.max_iterations)

    def inverse_strength(self, place: int) -> float:
        """scikit-learn's C for an L2."""
        return 1 / (self.l2_values[place] * len(self.problem.ids))

    def raw(self, model: LogisticRegression) -> Head:
        """The model's head as one of raw features."""
        weight = model.coef_ / self.deviation
        return weight, model.intercept_ - weight @ self.mean

    def choose_tolerance(self) -> tuple[float, float]:
        """The largest tolerance that reaches the optimum at every L2, and its relative distance to it."""
        (x, y), model = self.standardised(), self.new_model()
        worst = dict.fromkeys(_TOLERANCES, 0.0)
        for place in self.order:
            losses = {}
            for tolerance in _TOLERANCES:
                model.set_params(C=self.inverse_strength(place), tol=tolerance)
                model.fit(x, y)
                losses[tolerance] = objective(
                    self.problem, *self.raw(model), self.deviation, self.l2_values[place]
                )
            best = min(losses.values())
            worst = {
                tolerance: max(worst[tolerance], losses[tolerance] / best - 1) for tolerance in _TOLERANCES
            }
        chosen = next(
            (tolerance for tolerance in _TOLERANCES if worst[tolerance] <= _REACHED), _TOLERANCES[-1]
        )
        return chosen, worst[chosen]

    def seconds_of_trial(self, limit: int | None) -> float:
        """Seconds of a few iterations with so many threads; None: the library's own number."""
        (x, y), model = self.standardised(), self.new_model()
        model.set_params(C=self.inverse_strength(self.order[0]), tol=1e-12, max_iter=_TRIAL_ITERATIONS)
        with threadpool_limits(limit):
            start = time.perf_counter()
            model.fit(x, y)
            return time.perf_counter() - start

    def fit(self, tolerance: float) -> tuple[list[Head], int]:
        """The heads in the order of l2_values, and the number of iterations."""
        (x, y), model = self.standardised(), self.new_model()
        heads: dict[int, Head] = {}
        iterations = 0
        for place in self.order:
            model.set_params(C=self.inverse_strength(place), tol=tolerance)
            model.fit(x, y)
            heads[place] = self.raw(model)
            iterations += int(model.n_iter_.max())
        return [heads[place] for place in range(len(heads))], iterations


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    problem = Problem(
        values=np.memmap(config["values_file"], np.float16, "r").reshape(-1, config["dimension"]),
        labels=np.load(config["labels_file"]),
        ids=np.load(config["ids_file"]),
    )
    path = L2Path(problem, config["l2_values"], config["max_iterations"])
    with warnings.catch_warnings():
        # float32 ends the line search at the tightest tolerances
        warnings.simplefilter("ignore", ConvergenceWarning)
        # One thread or its own choice, whichever is faster here: two libraries' waiting threads can be in
        # each other's way.
        seconds_by_limit = {limit: path.seconds_of_trial(limit) for limit in (None, 1)}
        limit = min(seconds_by_limit, key=lambda limit: seconds_by_limit[limit])
        with threadpool_limits(limit):
            tolerance, distance = path.choose_tolerance()

    def run() -> dict[str, Any]:
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(limit):
            warnings.simplefilter("always")
            heads, iterations = path.fit(tolerance)
        seconds = time.perf_counter() - start
        np.savez(
            config["out_file"],
            weight=np.stack([weight for weight, _ in heads]),
            bias=np.stack([bias for _, bias in heads]),
        )
        return {"seconds": seconds, "passes": iterations, "converged": not caught}

    return run, {
        "scikit-learn": sklearn.__version__,
        "tol": tolerance,
        "distance_to_reference": distance,
        "thread_limit": limit,
        "trial_seconds_by_thread_limit": {str(key): value for key, value in seconds_by_limit.items()},
    }


if __name__ == "__main__":
    serve(prepare)
