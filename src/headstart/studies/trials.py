"""Which trials a study has, in which order, and which of them are finished somewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from headstart import store
from headstart.registry.methods import method_spec
from headstart.runtime.precision import (
    default_device,
    possible_precisions,
    resolve_feature_precision,
    resolve_precision,
)
from headstart.studies.trial import resolve, trial_key
from headstart.types import Cell, Dataset, Study, Trial


def cells_of(study: Study) -> tuple[Cell, ...]:
    """The study's cells; where it names none, every arm at every label budget with every seed."""
    return study.cells or tuple(
        Cell(arm=arm, label_budget=budget, seeds=study.seeds)
        for arm in study.arms
        for budget in study.label_budgets
    )


def trials_of(study: Study) -> list[Trial]:
    """Every trial of a study: deterministic methods first, for they are cheap, then seed by seed, small label
    budgets first, so that each is a whole curve. An arm that every seed would repeat bit for bit is run
    once."""
    device = default_device()
    precision = resolve_precision(study.precision, device)
    feature_precision = resolve_feature_precision(study.feature_precision, device)
    trials = [
        Trial(
            arm=cell.arm,
            label_budget=cell.label_budget,
            seed=seed,
            phase=study.phase,
            precision=precision,
            feature_precision=feature_precision,
        )
        for cell in cells_of(study)
        for seed in (cell.seeds[:1] if is_repeated_by_every_seed(cell) else cell.seeds)
    ]
    return sorted(
        trials,
        key=lambda trial: (not method_spec(trial.arm.method).deterministic, trial.seed, trial.label_budget),
    )


def is_repeated_by_every_seed(of: Cell | Trial) -> bool:
    """Whether other seeds would give the same result: a deterministic method with all labels."""
    return of.label_budget.is_all and method_spec(of.arm.method).deterministic


def as_finished(trial: Trial, study: Study, dataset: Dataset, folders: Sequence[Path]) -> Trial:
    """The trial in the precision in which one of the folders holds it finished.

    It is returned as it is where no folder does, or where the study itself says the precision. So a study is
    resumed where another machine computes natively in another precision."""
    precisions = [trial.precision, *possible_precisions(study.precision)]
    of_features = [trial.feature_precision, *possible_precisions(study.feature_precision)]
    for precision, feature_precision in product(dict.fromkeys(precisions), dict.fromkeys(of_features)):
        candidate = dataclasses.replace(trial, precision=precision, feature_precision=feature_precision)
        if is_finished(candidate, dataset, folders):
            return candidate
    return trial


def is_finished(trial: Trial, dataset: Dataset, folders: Sequence[Path]) -> bool:
    """Whether one of the folders holds the trial finished."""
    key = trial_key(resolve(trial, dataset))
    return any(store.is_finished(folder / key) for folder in folders)
