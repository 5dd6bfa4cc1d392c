"""Proposing the next candidate: optuna's tree-structured Parzen estimator, fitted to every candidate so far.

Each proposal is a function of the search's seed and the candidates so far: an interrupted search is resumed
as if it had never stopped, and needs no storage of the sampler's own.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.errors import ConfigError
from headstart.recipes.spaces import Knob, Range, holds, rounded
from headstart.runtime.seeding import seed_for

_RANDOM_CANDIDATES = 4  # before the estimator has anything to go by


def propose(
    space: Sequence[Knob], candidates: Sequence[tuple[Mapping[str, Any], float | None]], *, seed: int
) -> dict[str, Any]:
    """Values for the next candidate, numbers with three significant digits.

    candidates: the values and the accuracy of each (None where it failed: it counts as 0, so that the search
    keeps away from there).
    Raises: ConfigError where optuna is not installed."""
    try:
        import optuna
        from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    except ImportError as error:
        raise ConfigError(
            "tuning needs optuna, which is not installed: pip install 'headstart[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions: dict[str, BaseDistribution] = {
        knob.name: FloatDistribution(knob.low, knob.high, log=knob.log)
        if isinstance(knob, Range)
        else CategoricalDistribution(knob.values)
        for knob in space
    }
    sampler = optuna.samplers.TPESampler(
        seed=seed_for(seed, "tuning", len(candidates)) % 2**32, n_startup_trials=_RANDOM_CANDIDATES
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for values, accuracy in candidates:
            if holds(space, values):  # the arm's own recipe may lie outside
                study.add_trial(
                    optuna.trial.create_trial(
                        params={knob.name: values[knob.name] for knob in space},
                        distributions=distributions,
                        value=accuracy or 0.0,
                    )
                )
        drawn = study.ask(distributions).params
    proposed = {}
    for knob in space:
        value = rounded(drawn[knob.name])
        proposed[knob.name] = min(max(value, knob.low), knob.high) if isinstance(knob, Range) else value
    return proposed
