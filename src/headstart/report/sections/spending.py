"""What the whole study cost: every trial, by arm, and where it ran; and what was computed beside the
trials."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from headstart import store
from headstart.evaluation.records import ROBUSTNESS, SHIFT
from headstart.report import machines, words
from headstart.report.load import Arm, StudyView
from headstart.report.sections import health
from headstart.results.pairing import machine_of
from headstart.store import FinishedTrial
from headstart.store.remedies import READING as REMEDY
from headstart.store.schema import RobustnessReading, ShiftReading

_Reading = TypeVar("_Reading", RobustnessReading, ShiftReading)


@dataclass(frozen=True, kw_only=True)
class Row:
    """arm: None for the sum. cold: had nothing been shared; spent: what the trials took, stored features read
    again."""

    arm: Arm | None
    trials: int
    cold: str
    spent: str
    flops: str
    examples: str
    memory: str
    energy: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a study computed beside its trials, how often, and the time: "not recorded" where its files do not
    say."""

    title: str
    count: str
    spent: str


@dataclass(frozen=True, kw_only=True)
class Spending:
    """steps: beside the trials, the last one the sum with them; none where there were none."""

    rows: tuple[Row, ...]
    steps: tuple[Step, ...]
    machines: tuple[str, ...]  # one line each, with how many trials ran there
    with_energy: bool


def spending(view: StudyView) -> Spending:
    """Sums over all label budgets, seeds and phases, a row an arm and one for all."""
    rows = [
        _row(view, arm, [trial for trial in view.trials if trial.arm.name == arm.name]) for arm in view.arms
    ]
    return Spending(
        rows=(*rows, _row(view, None, view.trials)),
        steps=_steps(view),
        machines=_machines(view, view.trials),
        with_energy=any(trial.cost.joules is not None for trial in view.trials),
    )


def _steps(view: StudyView) -> tuple[Step, ...]:
    keys = {trial.key for trial in view.trials}

    def readings(pattern: str, model: type[_Reading]) -> list[_Reading]:
        stored = [store.read_as(model, path, REMEDY) for path in sorted(view.folder.glob(pattern))]
        return [about for about in stored if about.key in keys]

    examined = health.examined(view)
    parts: dict[str, list[float | None]] = {
        "Models read on corrupted images": [
            math.fsum(each.seconds.values()) for each in readings(f"{ROBUSTNESS}/*.json", RobustnessReading)
        ],
        "Models read on shift sets": [each.seconds for each in readings(f"{SHIFT}/*/*.json", ShiftReading)],
        "Examinations of the data": [] if examined is None else [examined.seconds],
        "Tries of searches for recipes": [
            each.seconds for search in view.searches for each in search.candidates
        ],
    }
    if not any(parts.values()):
        return ()
    steps = [
        Step(title=title, count=f"{len(seconds):,}", spent=_total(seconds))
        for title, seconds in parts.items()
        if seconds
    ]
    trials = [trial.cost.spent_seconds for trial in view.trials]
    return (
        *steps,
        Step(title="With the trials", count="", spent=_total([*trials, *itertools.chain(*parts.values())])),
    )


def _total(seconds: Sequence[float | None]) -> str:
    measured = [each for each in seconds if each is not None]
    if not measured:
        return "not recorded"
    return ("" if len(measured) == len(seconds) else "at least ") + words.duration(math.fsum(measured))


def _machines(view: StudyView, trials: Sequence[FinishedTrial]) -> tuple[str, ...]:
    """A line a machine, its letter in front where there are several."""
    letters = [
        machines.mark(view, [each])
        for each in {machine_of(trial): trial for trial in sorted(trials, key=machine_of)}.values()
    ]
    return tuple(
        f"{letter} {machine}".lstrip()
        for letter, machine in zip(letters, words.machines(trials), strict=True)
    )


def _row(view: StudyView, arm: Arm | None, trials: Sequence[FinishedTrial]) -> Row:
    mark = machines.mark(view, trials)
    joules = [trial.cost.joules for trial in trials if trial.cost.joules is not None]
    return Row(
        arm=arm,
        trials=len(trials),
        cold=words.duration(math.fsum(trial.cost.total_seconds for trial in trials)) + mark,
        spent=words.duration(math.fsum(trial.cost.spent_seconds for trial in trials)) + mark,
        flops=words.flops(sum(trial.cost.flops for trial in trials)),
        examples=words.count(sum(trial.cost.examples for trial in trials)),
        memory=words.memory(max(trial.cost.peak_memory_bytes for trial in trials)),
        energy=words.energy(math.fsum(joules)) if joules and len(joules) == len(trials) else words.NONE,
    )
