"""The driver: which trial is a task of the cluster, how many are on their way, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from headstart.cluster.features import spread_features
from headstart.cluster.sent import Sent, cancel, first_ended, result_of
from headstart.cluster.work import Files, TrialWork, run_trial_work, write_trial
from headstart.store import FinishedTrial
from headstart.studies.missing import Attempts, TrialRun
from headstart.studies.trial import resolve, trial_key
from headstart.types import Trial


class RayEngine:
    """Runs trials as tasks of the cluster that this process is connected to.

    A task asks for as many cores as this process has threads, and for a GPU where this machine computes on
    one. The next tasks wait on the cluster already, so that no core waits for the driver."""

    def attempts(
        self, run: TrialRun, due: Iterable[tuple[int, Trial]], one: Callable[[Trial], FinishedTrial]
    ) -> Attempts:
        """See studies.missing.Engine. Raises: ConfigError where no node is large enough."""
        sent, running = None, dict[Any, tuple[int, Trial]]()
        try:
            for number, trial in due:
                if run.is_finished(trial):
                    yield number, trial, partial(one, trial)
                    continue
                if sent is None:
                    sent = Sent(run.dataset, [each.arm for each in run.trials])
                    sent.add(spread_features(sent, run))
                work = TrialWork(setting=sent.setting, trial=trial, study=run.study)
                running[sent.task(run_trial_work, work)] = number, trial
                # all that can run and, without a deadline, as many again
                while len(running) >= sum(sent.slots()) * (1 if run.deadline is not None else 2):
                    yield from _ended(run, running)
            while running:
                yield from _ended(run, running)
        finally:
            cancel(running)


def _ended(
    run: TrialRun, running: dict[Any, tuple[int, Trial]]
) -> Iterator[tuple[int, Trial, Callable[[], FinishedTrial]]]:
    """Waits for at least one task to end; removes those that have from `running` and yields them."""
    for task in first_ended(running):
        number, trial = running.pop(task)
        yield number, trial, partial(_finished, run, trial, task)


def _finished(run: TrialRun, trial: Trial, task: Any) -> FinishedTrial:
    """The trial of an ended task, written into the study's folder. Raises: the trial's error."""
    files: Files = result_of(task)
    return write_trial(run.folder / trial_key(resolve(trial, run.dataset)), files)
