"""Which images: where arms agree, where one is right and the other wrong, what each is surely wrong about.

Orders are total (ties by example id), so the same trials always show the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import DataError
from headstart.registry.methods import stored_method
from headstart.results.metrics import probabilities
from headstart.store import FinishedTrial
from headstart.types import LabelBudget, Predictions

Trials = Sequence[FinishedTrial]
A_PANEL = 12  # images of one kind that a report shows


def correct(predictions: Predictions) -> NDArray[np.bool_]:
    """Whether the largest logit is the label's, bool (N,)."""
    return np.asarray(predictions.logits.argmax(axis=1) == predictions.labels)


def require_same_images(a: Predictions, b: Predictions) -> None:
    """Raises: DataError unless both are predictions of the same images, in the same order, with the same
    labels."""
    if not (np.array_equal(a.example_ids, b.example_ids) and np.array_equal(a.labels, b.labels)):
        raise DataError(
            f"predictions of {len(a.labels)} and {len(b.labels)} images are not of the same test set; "
            "compare trials of one dataset"
        )


def _label_probability(predictions: Predictions, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    labels = predictions.labels[rows]
    return probabilities(predictions.logits[rows])[np.arange(len(labels)), labels]


def _largest_first(
    ids: NDArray[np.int64], values: NDArray[np.float64], count: int | None
) -> NDArray[np.int64]:
    return ids[np.lexsort((ids, -values))][:count].astype(np.int64)


def agreement(a: Predictions, b: Predictions) -> dict[str, float]:
    """Fractions of images (0..1): same_prediction, both_right, both_wrong, only_a, only_b; and Cohen's kappa
    of the two predictions (NaN where both always predict one same class).

    Raises: DataError on different images. Source: Cohen (1960)."""
    require_same_images(a, b)
    right_a, right_b = correct(a), correct(b)
    first, second = a.logits.argmax(axis=1), b.logits.argmax(axis=1)
    return {
        "same_prediction": float((first == second).mean()),
        "both_right": float((right_a & right_b).mean()),
        "both_wrong": float((~right_a & ~right_b).mean()),
        "only_a": float((right_a & ~right_b).mean()),
        "only_b": float((right_b & ~right_a).mean()),
        "kappa": _kappa(first, second),
    }


def _kappa(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Cohen's kappa of two predictions, int64 (N,) each: one less the share of differing answers over the
    share that chance would give; NaN where both always say the same class."""
    classes = int(max(first.max(), second.max())) + 1
    shares = [np.bincount(answers, minlength=classes) / len(answers) for answers in (first, second)]
    by_chance = 1.0 - float(shares[0] @ shares[1])
    return 1.0 - float((first != second).mean()) / by_chance if by_chance > 0 else float("nan")


def disagreements(a: Predictions, b: Predictions, count: int | None = None) -> NDArray[np.int64]:
    """Ids, int64, of the images that `a` gets right and `b` wrong; first those where a's probability of the
    label is furthest above b's.

    Raises: DataError on different images."""
    require_same_images(a, b)
    chosen = correct(a) & ~correct(b)
    margin = _label_probability(a, chosen) - _label_probability(b, chosen)
    return _largest_first(a.example_ids[chosen], margin, count)


def most_confident_errors(predictions: Predictions, count: int | None = None) -> NDArray[np.int64]:
    """Ids, int64, of wrongly predicted images; first those with the highest probability of the predicted
    class."""
    wrong = ~correct(predictions)
    return _largest_first(
        predictions.example_ids[wrong], probabilities(predictions.logits).max(axis=1)[wrong], count
    )


def hardest(predictions: Sequence[Predictions], count: int | None = None) -> NDArray[np.int64]:
    """Ids, int64, of the images that some model gets wrong: first those that most get wrong, among them those
    with the lowest mean probability of the label.

    Raises: DataError on different images, or on no predictions."""
    if not predictions:
        raise DataError("no predictions given; expected those of at least one trial")
    for other in predictions[1:]:
        require_same_images(predictions[0], other)
    wrong = np.sum([~correct(each) for each in predictions], axis=0)
    chosen = wrong > 0
    # A probability is at most 1, so the number of wrong models decides first.
    sure = np.mean([_label_probability(each, chosen) for each in predictions], axis=0)
    return _largest_first(predictions[0].example_ids[chosen], 2.0 * wrong[chosen] - sure, count)


def wrong_for_all(predictions: Sequence[Predictions], count: int | None = None) -> NDArray[np.int64]:
    """Ids, int64, of the images that every model gets wrong, in the order of `hardest`. Raises: as
    `hardest`."""
    ranked = hardest(predictions)
    missed = np.logical_and.reduce([~correct(each) for each in predictions])
    return ranked[np.isin(ranked, predictions[0].example_ids[missed])][:count]


def relabelled(trials: Trials, labels: Mapping[str, str]) -> list[FinishedTrial]:
    """The trials under the names that their study has for people now (arm name -> label); each keeps the one
    that it was run with in its own folder, and here where its arm is not among these."""
    return [
        trial.with_label(labels[trial.arm.name]) if trial.arm.name in labels else trial for trial in trials
    ]


def newest(trials: Trials) -> list[FinishedTrial]:
    """The trials that count, in the order given: for each arm, label budget, phase and seed the one started
    last; of a deterministic arm at all labels, where every seed gives the same model, only the lowest seed.

    A study folder keeps the trials of earlier settings; to count those, or copies, as more seeds invents
    certainty."""
    latest: dict[tuple[_Cell, int], FinishedTrial] = {}
    for trial in trials:
        slot = _cell(trial), trial.seed
        if slot not in latest or _age(trial) > _age(latest[slot]):
            latest[slot] = trial
    lowest: dict[_Cell, int] = {}
    for cell, seed in latest:
        lowest[cell] = min(seed, lowest.get(cell, seed))
    return [
        trial for (cell, seed), trial in latest.items() if seed == lowest[cell] or not is_deterministic(trial)
    ]


_Cell = tuple[str, LabelBudget, str]  # arm, label budget, phase: trials that differ in their seed alone


def _cell(trial: FinishedTrial) -> _Cell:
    return trial.arm.name, trial.label_budget, trial.phase


def metric_values(trials: Trials, metric: str) -> list[float]:
    """A stored metric of the trials that have it, in their order."""
    return [value for trial in trials if (value := trial.metrics.get(metric)) is not None]


def is_deterministic(trial: FinishedTrial) -> bool:
    """Whether every seed gives this same model: a solver with one optimum, on all labels."""
    return trial.label_budget.is_all and stored_method(trial.arm.method).deterministic


def _age(trial: FinishedTrial) -> tuple[str, str]:
    return str(trial.environment.get("started", "")), trial.key


def main_trials(trials: Trials, phase: str | None = None) -> dict[str, list[FinishedTrial]]:
    """The trials that a study's answer rests on, by arm and then seed: all labels where some trial has them,
    else the largest label budget; of one phase (the one named, else "select" where there is one)."""
    current = newest(trials)
    budget = max((trial.label_budget for trial in current), default=None)
    current = [trial for trial in current if trial.label_budget == budget]
    phases = {trial.phase for trial in current}
    if phase not in phases:
        phase = "select" if "select" in phases else min(phases, default=None)
    by_arm: dict[str, list[FinishedTrial]] = {}
    for trial in sorted(current, key=lambda trial: trial.seed):
        if trial.phase == phase:
            by_arm.setdefault(trial.arm.name, []).append(trial)
    return dict(sorted(by_arm.items()))


def representative_trials(trials: Trials, phase: str | None = None) -> dict[str, FinishedTrial]:
    """For each arm the one trial whose images are shown: the lowest seed of `main_trials`."""
    return {name: of_arm[0] for name, of_arm in main_trials(trials, phase).items()}


def gallery_ids(trials: Trials, per_kind: int = A_PANEL, phase: str | None = None) -> NDArray[np.int64]:
    """Sorted unique ids, int64, of every test image that the report shows: of the representative trials, each
    one's `most_confident_errors` and each ordered pair's `disagreements`, and what is `wrong_for_all` of the
    main trials; `per_kind` of each.

    Raises: DataError where trials have different test sets; StoreError where predictions are missing."""
    tests = [store.read_test(trial.folder) for trial in representative_trials(trials, phase).values()]
    chosen = [most_confident_errors(test, per_kind) for test in tests]
    chosen += [disagreements(a, b, per_kind) for a in tests for b in tests if a is not b]
    if chosen:
        main = [
            store.read_test(trial.folder)
            for of_arm in main_trials(trials, phase).values()
            for trial in of_arm
        ]
        chosen.append(wrong_for_all(main, per_kind))
    return np.unique(np.concatenate(chosen)).astype(np.int64) if chosen else np.empty(0, dtype=np.int64)
