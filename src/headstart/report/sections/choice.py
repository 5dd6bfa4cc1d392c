"""Which arm to choose, by labels per class and by the work that one can spend; computed from the trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart import plots
from headstart.report import words
from headstart.report.load import Arm, StudyView, Trials, estimate
from headstart.report.sections.accuracy import difference, overlap
from headstart.report.sections.own_work import own_flops
from headstart.results.label_curves import skips
from headstart.results.trials import metric_values
from headstart.store import FinishedTrial
from headstart.types import LabelBudget

_MOST_LINES = 6  # of a figure
_MOST_ROWS = 6  # of the table: the first part of a report is short
_ROUND = tuple(step * 10.0**power for power in range(6, 25) for step in (1, 2, 5))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The most accurate arm within a limit of work at one label budget.

    flops: mean of its trials, see own_work. minutes: of one core of the study's processor, estimated; None
    without a rate. tied: cheaper arms first, those that the trials do not tell apart from it."""

    arm: Arm
    accuracy: plots.Estimate
    seeds: int
    flops: float
    minutes: float | None
    tied: tuple[Arm, ...]


@dataclass(frozen=True, kw_only=True)
class ChoiceRow:
    budget: LabelBudget
    choices: tuple[Choice | None, ...]


@dataclass(frozen=True, kw_only=True)
class Choices:
    """limits: floating-point operations of a trial, None for any. rate: how minutes were estimated, in
    words."""

    limits: tuple[float | None, ...]
    rows: tuple[ChoiceRow, ...]
    rate: str


def is_control(view: StudyView, arm: Arm) -> bool:
    """Whether an arm is a pretrained one's network from random weights: a control, not a way to choose."""
    return not arm.stored.is_pretrained and any(
        other.stored.is_pretrained and other.stored.model == arm.stored.model for other in view.arms
    )


def compared(view: StudyView) -> tuple[Arm, ...]:
    """The arms that the first part of a report compares: no controls, at most six, those with the most label
    budgets and the best accuracy first; in the study's order."""
    arms = [arm for arm in view.arms if not is_control(view, arm)]

    def worth(arm: Arm) -> tuple[int, float]:
        budgets = sum(bool(view.at(arm.name, budget)) for budget in view.budgets)
        return (-budgets, -(arm.mean("test_accuracy") or 0.0))

    kept = sorted(arms, key=worth)[:_MOST_LINES]
    return tuple(arm for arm in arms if arm in kept)


def in_figures(view: StudyView, names: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """The arms of each figure that draws lines, at most six in one: all in one where they fit, else those
    from
    random and those from pretrained weights apart. Each: a suffix for the figure's name, the arms' names."""
    if len(names) <= _MOST_LINES:
        return [("", tuple(names))]
    start = {arm.name: arm.stored.is_pretrained for arm in view.arms}
    parts = []
    for pretrained, word in ((False, "random"), (True, "pretrained")):
        own = [name for name in names if start[name] == pretrained]
        chunks = [own[k : k + _MOST_LINES] for k in range(0, len(own), _MOST_LINES)]
        for place, chunk in enumerate(chunks):
            number = f"-{place + 1}" if len(chunks) > 1 else ""
            parts.append((f"-{word}{number}", tuple(chunk)))
    return parts


def choices(view: StudyView) -> Choices:
    """By label budget and limit of work the most accurate arm.

    A budget at which an arm was not tried that has smaller and larger ones is left out: nobody knows who
    leads there. Of more than six, those in between that fewest arms were tried at are left out."""
    arms = [arm for arm in view.arms if not is_control(view, arm)]
    work = sorted(
        own_flops(view, arm, trials)
        for arm in arms
        for budget in view.budgets
        if (trials := view.at(arm.name, budget))
    )
    main = [own_flops(view, arm, arm.trials) for arm in arms]
    limits = _limits(work, main)
    rates = _rates(view, arms)
    rows = tuple(
        ChoiceRow(budget=budget, choices=tuple(_choice(view, arms, budget, limit, rates) for limit in limits))
        for budget in _told(view, arms)
    )
    return Choices(limits=limits, rows=rows, rate=_rate_in_words(view) if rates else "")


def _told(view: StudyView, arms: Sequence[Arm]) -> list[LabelBudget]:
    """The budgets of the table's rows, at most six."""
    told = [budget for budget in view.budgets if not any(_skips(view, arm, budget) for arm in arms)]
    while len(told) > _MOST_ROWS:
        tried = {budget: sum(bool(view.at(arm.name, budget)) for arm in arms) for budget in told[1:-1]}
        told.remove(min(tried, key=lambda budget: tried[budget]))
    return told


def _skips(view: StudyView, arm: Arm, budget: LabelBudget) -> bool:
    return skips([each for each in view.budgets if view.at(arm.name, each)], budget)


def _limits(work: Sequence[float], main: Sequence[float]) -> tuple[float | None, ...]:
    """Up to two round limits, and none: one that half of all that was tried stays below, and one that a
    quarter of the arms at the main label budget do."""
    if len(work) < 3:
        return (None,)
    parts = (float(np.quantile(each, share, method="lower")) for each, share in ((work, 0.5), (main, 0.25)))
    round_up = sorted({next(size for size in _ROUND if size >= part) for part in parts})
    return (*(limit for limit in round_up if limit < work[-1]), None)


def _choice(
    view: StudyView,
    arms: Sequence[Arm],
    budget: LabelBudget,
    limit: float | None,
    rates: dict[str, float],
) -> Choice | None:
    within = []
    for arm in arms:
        trials = view.at(arm.name, budget)
        values = metric_values(trials, "test_accuracy")
        if not values:
            continue
        work = own_flops(view, arm, trials)
        if limit is None or work <= limit:
            within.append((arm, estimate(values, view.test_images), work))
    if not within:
        return None
    best, accuracy, flops = max(within, key=lambda each: each[1].value)
    tied = sorted(
        (each for each in within if each[0] is not best and _same(view, best, accuracy, each, budget)),
        key=lambda each: each[2],
    )
    return Choice(
        arm=best,
        accuracy=accuracy,
        seeds=len(view.at(best.name, budget)),
        flops=flops,
        minutes=_minutes(flops, rates.get(best.name)),
        tied=tuple(arm for arm, _, _ in tied),
    )


def estimated_minutes(view: StudyView, arm: Arm) -> float | None:
    """Of one core, for an arm at the study's main label budget, as the table of choices estimates them."""
    return _minutes(own_flops(view, arm, arm.trials), _rates(view, [arm]).get(arm.name))


def _minutes(flops: float, rate: float | None) -> float | None:
    return None if rate is None else flops / rate / 60


def _same(
    view: StudyView,
    best: Arm,
    accuracy: plots.Estimate,
    other: tuple[Arm, plots.Estimate, float],
    budget: LabelBudget,
) -> bool:
    """Whether the trials do not tell the other arm apart from the best one."""
    paired = difference(view, best, other[0], budget)
    interval = None if paired is None else paired.interval()
    if interval is not None:
        return interval[0] <= 0
    return overlap(accuracy, other[1])


def _on_processor(view: StudyView) -> Trials:
    """The study's trials that ran alone on a processor, no GPU."""
    return [
        trial
        for trial in view.trials
        if trial.environment.get("device") == "cpu" and "jobs" not in trial.environment
    ]


def _rates(view: StudyView, arms: Sequence[Arm]) -> dict[str, float]:
    """By arm the operations a second of one core of the study's processor: by the arm's own trials there,
    else those of its network, else all; nothing where no trial ran on a processor."""
    measured = _on_processor(view)
    if not measured:
        return {}
    rates = {}
    for arm in arms:
        own = [trial for trial in measured if trial.arm.name == arm.name]
        network = [trial for trial in measured if trial.arm.model == arm.stored.model]
        rates[arm.name] = _rate(own or network or measured)
    return rates


def _rate(trials: Trials) -> float:
    """Operations a second of one core: the median of the trials', some of which may have shared their
    machine. The cores of a trial with several threads count alike."""
    return float(np.median([trial.cost.flops / max(_core_seconds(trial), 1e-9) for trial in trials]))


def _core_seconds(trial: FinishedTrial) -> float:
    return trial.cost.total_seconds * int(trial.environment.get("threads") or 1)


def _rate_in_words(view: StudyView) -> str:
    """How the minutes were estimated."""
    measured = _on_processor(view)
    return (
        "Minutes are of one core, estimated: counted work over the median rate of this study’s "
        f"{len(measured):,} trials on a processor ({'; '.join(words.machines(measured))})."
    )
