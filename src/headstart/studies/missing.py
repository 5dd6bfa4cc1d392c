"""Running those trials of a study that are not finished: one failed trial does not stop the others."""

from __future__ import annotations

import math
import time
import traceback
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from headstart import store
from headstart.errors import (
    BusyError,
    DamagedError,
    DownloadError,
    HeadstartError,
    StoreError,
    TakenError,
    WeightsError,
)
from headstart.results import table
from headstart.runtime import progress
from headstart.runtime.processes import attempts
from headstart.store import FinishedTrial
from headstart.studies.shard import Shard
from headstart.studies.trial import resolve, run_trial, trial_key
from headstart.studies.trials import is_finished
from headstart.types import Dataset, LabelBudget, Trial

_Cell = tuple[str, LabelBudget]


@dataclass(frozen=True, kw_only=True)
class TrialRun:
    """The trials of a study, in order, and how they are run.

    folder: the study's. published: a folder whose trials count as finished. deadline: of time.monotonic(), no
    trial is begun later. jobs: trials at once, each in a process of its own. threads: of each, None: its
    share of the cores. shard: of several processes on this folder; None: it is the only one. engine: what
    runs the trials elsewhere; None: they run here.
    """

    study: str
    dataset: Dataset
    trials: list[Trial]
    folder: Path
    published: Path | None
    deadline: float | None
    jobs: int
    threads: int | None
    shard: Shard | None = None
    engine: Engine | None = None

    def is_finished(self, trial: Trial) -> bool:
        """Whether the trial is in the study's folder or among the published ones."""
        folders = [self.folder, *([self.published] if self.published else [])]
        return is_finished(trial, self.dataset, folders)

    def is_finished_now(self, trial: Trial) -> bool:
        """Whether the trial is in the study's folder, whichever machine put it there."""
        return store.is_finished_now(self.folder / trial_key(resolve(trial, self.dataset)))


Attempts = Generator[tuple[int, Trial, Callable[[], FinishedTrial]], None, None]


class Engine(Protocol):
    """What runs trials elsewhere than in this process and those that it starts."""

    def attempts(
        self, run: TrialRun, due: Iterable[tuple[int, Trial]], one: Callable[[Trial], FinishedTrial]
    ) -> Attempts:
        """As runtime.processes.attempts; each result's call has put the finished trial into the study's
        folder. one: runs a trial here. Trials compute with the threads that this process has."""


@dataclass(kw_only=True)
class TrialsDone:
    """How far a run came. failed: each in a few words. damaged: of these, on a damaged file. left: trials
    that the deadline kept from beginning. elsewhere: that another process runs. ended: that this one ran.
    seconds: spent on each trial that this run finished, by arm and
    label budget. pending: trials still to end."""

    pending: Counter[_Cell]
    failed: list[str] = field(default_factory=list)
    damaged: int = 0
    left: int = 0
    elsewhere: int = 0
    ended: int = 0
    seconds: dict[_Cell, list[float]] = field(default_factory=dict)

    def time_left(self, jobs: int) -> str:
        """What the pending trials take by those of their arm and label budget; empty where one has none
        yet."""
        if not self.pending or not self.pending.keys() <= self.seconds.keys():
            return ""
        total = math.fsum(count * float(np.mean(self.seconds[cell])) for cell, count in self.pending.items())
        return f"; about {progress.clock(total / jobs)} left"


def run_missing(run: TrialRun) -> TrialsDone:
    """Runs each trial that is not finished and begins none after the deadline.

    Raises: StoreError, BusyError, DownloadError, WeightsError, which the next trial would meet too."""
    done = TrialsDone(pending=Counter(map(_cell, run.trials)))
    one = partial(run_trial, study=run.study, study_folder=run.folder, published=run.published, jobs=run.jobs)
    if run.jobs == 1 and run.engine is None:
        one = partial(one, dataset=run.dataset)  # other processes load it themselves
    results = table.ResultsFile(run.folder)
    before = {number for number, trial in enumerate(run.trials, 1) if run.is_finished(trial)}
    if before:
        progress.say(f"{len(before)} of {len(run.trials)} trials have finished before")
    with closing(_attempts(run, _due(run, done, before), one)) as attempted:
        for number, trial, result_of in attempted:
            name = f"{trial.arm.name}, {trial.label_budget.plain_words}, seed {trial.seed}"
            begins = f"trial {number} of {len(run.trials)} ({name})"
            done.pending -= Counter([_cell(trial)])
            try:
                result = result_of()
            except TakenError:
                if run.shard is None:
                    raise
                done.elsewhere += 1
            except (StoreError, BusyError, DownloadError, WeightsError) as error:
                if not isinstance(error, DamagedError):
                    raise
                done.damaged += 1
                done.failed.append(f"{name}: {error}")
                progress.say(f"{begins} failed: {error}")
            except HeadstartError as error:
                done.failed.append(f"{name}: {error}")
                progress.say(f"{begins} failed: {error}")
            except Exception as error:
                if isinstance(error, OSError) and store.is_disk_error(error):
                    raise store.disk_error(error, run.folder) from error
                details = run.folder / "failures" / f"{trial.arm.name}-{trial.seed}.txt"
                store.write_bytes(details, traceback.format_exc().encode())
                done.failed.append(f"{name}: {type(error).__name__}: {error}")
                progress.say(f"{begins} failed: {error}; details in {details.parent}")
            else:
                _note_seconds(run, done, trial, result)
                if number not in before:
                    done.ended += 1
                    if run.shard is None:  # else whoever is last writes it: each would read all of the others
                        results.write()
                    progress.say(f"{begins}: {_ended(run, done, result)}")
    return done


def _attempts(
    run: TrialRun, due: Iterable[tuple[int, Trial]], one: Callable[[Trial], FinishedTrial]
) -> Attempts:
    if run.engine is not None:
        return run.engine.attempts(run, due, one)
    return attempts(due, one, run.jobs, run.is_finished, run.threads)


def _due(run: TrialRun, done: TrialsDone, before: Container[int]) -> Iterator[tuple[int, Trial]]:
    """The trials with their numbers, from 1, in a shard's own order; those that the deadline leaves out are
    counted. before: numbers of those that were finished at the start."""
    numbered = list(enumerate(run.trials, 1))
    for number, trial in run.shard.order(numbered) if run.shard else numbered:
        if run.shard and number not in before and run.is_finished(trial):
            done.pending -= Counter([_cell(trial)])  # another shard ran it
        elif run.deadline is not None and time.monotonic() > run.deadline and not run.is_finished(trial):
            done.left += 1
        else:
            yield number, trial


def _note_seconds(run: TrialRun, done: TrialsDone, trial: Trial, result: FinishedTrial) -> None:
    if result.environment.get("jobs", 1) == run.jobs:  # else it was finished before, by other means
        done.seconds.setdefault(_cell(trial), []).append(result.cost.spent_seconds)


def _ended(run: TrialRun, done: TrialsDone, result: FinishedTrial) -> str:
    """What to say of a trial that ended."""
    time_left = done.time_left(run.jobs) if run.jobs > 1 else ""
    return f"test accuracy {result.metrics['test_accuracy']:.4f}{time_left}"


def _cell(trial: Trial) -> _Cell:
    return trial.arm.name, trial.label_budget
