"""The answer of a study: the comparison table and the headline, from its finished trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.results import stats
from headstart.results.differences import TestOutcomes, accuracy_difference
from headstart.results.pairing import (
    metric_value,
    one_machine,
    pair_by_seed,
    require_one_test_set,
    stored_test,
    stored_test_set,
)
from headstart.results.trials import Trials, correct, main_trials, newest, require_same_images
from headstart.store import FinishedTrial, StudyRecord
from headstart.types import LabelBudget

if TYPE_CHECKING:
    import pandas as pd

_FEW = 3  # of more arms beside the two that a headline sets against each other, a table tells
_TABLE_ACCURACIES = ("train_accuracy", "val_accuracy", "test_accuracy", "test_flip_accuracy")
_TABLE_METRICS = (
    "test_top5_accuracy",
    "test_macro_f1",
    "test_nll",
    "test_nll_calibrated",
    "test_ece",
    "test_ece_calibrated",
    "test_brier",
    "generalization_gap",
)
_TABLE_COSTS = ("seconds", "spent_seconds", "examples", "flops", "joules")


def comparison_table(trials: Trials) -> pd.DataFrame:
    """A row an arm x label budget x phase, ordered as `trials`; means over seeds, NaN where undefined.

    Columns: arm, label, labels_per_class (int or "all"), phase, n (seeds), train_images; train_, val_, test_
    and test_flip_accuracy, each with _low and _high, the 95 % t interval over seeds (NaN at n = 1);
    wilson_low and wilson_high, at n = 1 alone: the interval of test_accuracy over test images, for that one
    model; test_top5_accuracy, test_macro_f1, test_nll, test_ece (both also _calibrated), test_brier,
    generalization_gap; seconds
    (cold), spent_seconds (cached parts excluded), examples, flops, joules, and peak_memory_bytes (the
    highest).
    Raises: DataError where trials have different test sets."""
    groups: dict[tuple[str, LabelBudget, str], list[FinishedTrial]] = {}
    for trial in newest(trials):
        groups.setdefault((trial.arm.name, trial.label_budget, trial.phase), []).append(trial)
    require_one_test_set(trials)
    rows = []
    for (arm, budget, phase), members in groups.items():
        row: dict[str, Any] = {
            "arm": arm,
            "label": members[0].arm.label,
            "labels_per_class": budget.toml,
            "phase": phase,
            "n": len(members),
            "train_images": members[0].train_images,
        }
        for metric in _TABLE_ACCURACIES:
            values = [
                value for value in (metric_value(trial, metric) for trial in members) if value is not None
            ]
            # An accuracy ends at 0 and 1; the interval of a few seeds near them may not.
            low, high = np.clip(stats.t_interval(values) or (np.nan, np.nan), 0.0, 1.0)
            row |= {metric: _mean(values), f"{metric}_low": low, f"{metric}_high": high}
        row["wilson_low"], row["wilson_high"] = _wilson(members[0]) if len(members) == 1 else (np.nan, np.nan)
        for metric in (*_TABLE_METRICS, *_TABLE_COSTS):
            values = [
                value for value in (metric_value(trial, metric) for trial in members) if value is not None
            ]
            row[metric] = _mean(values)
        row["peak_memory_bytes"] = max(trial.cost.peak_memory_bytes for trial in members)
        rows.append(row)
    import pandas as pd

    return pd.DataFrame(rows)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _wilson(trial: FinishedTrial) -> tuple[float, float]:
    test, accuracy = stored_test_set(trial.folder), trial.metrics.get("test_accuracy")
    if test is None or accuracy is None:
        return float("nan"), float("nan")
    return stats.wilson_interval(round(accuracy * test[1]), test[1])


def headline(study: StudyRecord, trials: Trials) -> str:
    """The study's answer in one sentence with its numbers, from the study and the `main_trials`.

    The winner is computed; it is set against the best arm of the other kind of start (pretrained or random
    weights) where there is one: that is the question. With two seeds or more, arms that the paired 95 % t
    interval cannot tell apart are called so; with one seed, those that exact McNemar (p > 0.05) cannot tell
    apart on the stored test predictions. A study that has a chosen arm is about that one: test images rank
    nothing then.
    Raises: DataError where trials have different test sets."""
    arms = _measured(study, trials)
    if not arms:
        return "No trial has finished yet, so there is no answer."
    require_one_test_set([item for items in arms.values() for item in items])
    if study.chosen in arms:
        return _choice(study, arms)
    names = _ranked(arms)
    pair = _pair(arms, names)
    first = arms[names[0]]
    best = f"{first[0].arm.label}"
    accuracy = _percent(_means(first, "test_accuracy"))
    opening = f"On {_dataset(study, first[0])} with {_budget(first[0])}, "
    if len(names) == 1:
        took = _duration(_seconds(first))
        return f"{opening}{best} reached {accuracy} test accuracy in {took}; {_seed_clause(first)}."
    second = arms[pair[1]]
    other, other_accuracy = second[0].arm.label, _percent(_means(second, "test_accuracy"))
    clear, points, evidence = _tell_apart(first, second)
    best_of = (
        ""
        if pair[1] == names[1]
        else f"the best from {'random' if _is_random(second) else 'pretrained'} weights, "
    )
    if clear:
        said = (
            f"{best} reached {accuracy} test accuracy, {points:.1f} points ({evidence}) above "
            f"{best_of}{other} "
            f"({other_accuracy})"
        )
    else:
        said = (
            f"{best} ({accuracy} test accuracy) and {other} ({other_accuracy}) cannot be told apart "
            f"({evidence})"
        )
    ours, theirs = _duration(_seconds(first)), _duration(_seconds(second))
    if ours.split()[1] == theirs.split()[1]:
        theirs = theirs.split()[0]
    took = f"the first took {ours}, the second {theirs}"
    if not one_machine((*first, *second)):
        took = f"the first took {_work(first)} of work, the second {_work(second)}"
    rest = [
        f"{arms[name][0].arm.label} {_percent(_means(arms[name], 'test_accuracy'))}"
        for name in names
        if name not in pair
    ]
    also = (
        f"; {'the others:' if best_of else 'behind them'} {', '.join(rest)}" if 0 < len(rest) <= _FEW else ""
    )
    return f"{opening}{said}; {took}{also}."


def _measured(study: StudyRecord, trials: Trials) -> dict[str, Trials]:
    """The main trials of each arm that has a test accuracy."""
    return {
        name: items
        for name, items in main_trials(trials, study.phase).items()
        if _means(items, "test_accuracy") is not None
    }


def _ranked(arms: Mapping[str, Trials]) -> list[str]:
    """The more accurate first; among equals the cheaper."""
    return sorted(
        arms, key=lambda name: (-(_means(arms[name], "test_accuracy") or 0), _seconds(arms[name]), name)
    )


def headline_pair(study: StudyRecord, trials: Trials) -> tuple[str, ...]:
    """The names of the arms that the headline is about: the leader, or the chosen arm, and the best of those
    that start from the other kind of weights, pretrained or random; where there is none, the best of the
    others."""
    arms = _measured(study, trials)
    ranked = _ranked(arms)
    if (chosen := study.chosen) in arms:
        ranked = [chosen, *(name for name in ranked if name != chosen)]
    return _pair(arms, ranked)


def _pair(arms: Mapping[str, Trials], ranked: Sequence[str]) -> tuple[str, ...]:
    """The first of the ranked arms and the next that starts otherwise, or the next at all."""
    others = [name for name in ranked[1:] if _is_random(arms[name]) != _is_random(arms[ranked[0]])]
    return (*ranked[:1], *(others or ranked[1:])[:1])


def _is_random(items: Trials) -> bool:
    """Whether an arm starts from random weights."""
    return not items[0].is_pretrained


def _choice(study: StudyRecord, arms: Mapping[str, Trials]) -> str:
    """The chosen arm's accuracy; those that did better on the test images are named, and had no say."""
    chosen = arms[study.chosen]
    reached = _means(chosen, "test_accuracy") or 0.0
    sentence = (
        f"On {_dataset(study, chosen[0])} with {_budget(chosen[0])}, {chosen[0].arm.label} is the one "
        "to use: chosen "
        f"on validation images, it reached {_percent(reached)} test accuracy in "
        f"{_duration(_seconds(chosen))}; "
        f"{_seed_clause(chosen)}."
    )
    better = [
        f"{items[0].arm.label} ({_percent(accuracy)})"
        for items in arms.values()
        if (accuracy := _means(items, "test_accuracy") or 0.0) > reached
    ]
    if not better:
        return sentence
    return (
        f"{sentence} On the test images alone {' and '.join(better)} did better; they take no part in the "
        "choice."
    )


def _tell_apart(first: Trials, second: Trials) -> tuple[bool, float, str]:
    """Whether two arms differ on test accuracy, by how many points, and the evidence in words."""
    pairs = pair_by_seed(first, second)
    points = 100 * ((_means(first, "test_accuracy") or 0) - (_means(second, "test_accuracy") or 0))
    measured = accuracy_difference(pairs, TestOutcomes())
    if measured is not None and (interval := measured.interval()) is not None:
        low, high = (100 * end for end in interval)
        digits = 1 if f"{low:.1f}" != f"{high:.1f}" else 2
        bounds = f"{low:z.{digits}f} to {high:z.{digits}f}".replace("-", "−")
        of, unit = (
            ("", "") if low > 0 else (" of the difference", " points")
        )  # where it is clear, the sentence says both
        over = f"{measured.n} seeds"
        if measured.crossed is not None:
            over += f" and {measured.crossed.images:,} test images"
        return low > 0, 100 * measured.effect, f"95 % interval{of} over {over} {bounds}{unit}"
    one, other = stored_test(first[0].folder), stored_test(second[0].folder)
    seeds = "these two networks alone; one seed, so no interval over seeds"
    if one is None or other is None:
        return points > 0, points, f"{seeds} and no stored predictions to compare image by image"
    require_same_images(one, other)
    p_value = stats.mcnemar(correct(one), correct(other)).p_value
    if p_value > 0.05:
        return False, points, f"exact McNemar p = {p_value:.2g} on {len(one.labels):,} test images; {seeds}"
    return True, points, seeds


def _seed_clause(items: Trials) -> str:
    interval = stats.t_interval([trial.metrics["test_accuracy"] or 0.0 for trial in items], resolution=1e-4)
    if interval is None:
        return "one seed, so no interval over seeds"
    return f"95 % interval over {len(items)} seeds {100 * interval[0]:.1f} to {100 * interval[1]:.1f} %"


def _means(items: Trials, metric: str) -> float | None:
    values = [value for value in (metric_value(trial, metric) for trial in items) if value is not None]
    return float(np.mean(values)) if values else None


def _seconds(items: Trials) -> float:
    return _means(items, "seconds") or 0.0


def _work(items: Trials) -> str:
    """Mean counted operations of a trial, which compare across machines."""
    return f"{(_means(items, 'flops') or 0.0) / 1e15:.2g} PFLOP"


def _dataset(study: StudyRecord, trial: FinishedTrial) -> str:
    return study.dataset.title or trial.arm.dataset


def _budget(trial: FinishedTrial) -> str:
    return trial.label_budget.with_images(trial.train_images)


def _percent(fraction: float | None) -> str:
    return "n/a" if fraction is None else f"{100 * fraction:.1f} %"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
