"""The driver: which trial is a task, how many are on their way, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from headstart.cluster.connect import nodes, slots
from headstart.cluster.identity import identity
from headstart.cluster.inputs import content_hash, sendable, weights_files
from headstart.cluster.work import Setting, TrialWork, run_trial_work, write_trial
from headstart.errors import ConfigError, HeadstartError, TrialsFailedError
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.store import FinishedTrial
from headstart.studies.missing import Attempts, TrialRun
from headstart.studies.trial import resolve, trial_key
from headstart.types import Trial

RETRIES = 50  # of a task whose process or node died; an error of the trial itself is not tried again


class RayEngine:
    """Runs trials as tasks of the cluster that this process is connected to.

    A task asks for as many cores as this process has threads, and for a GPU where this machine computes on
    one. The next tasks wait on the cluster already, so that no core waits for the driver."""

    def attempts(
        self, run: TrialRun, due: Iterable[tuple[int, Trial]], one: Callable[[Trial], FinishedTrial]
    ) -> Attempts:
        """See studies.missing.Engine. Raises: ConfigError where no node is large enough."""
        import ray

        submit, running = None, dict[Any, tuple[int, Trial]]()
        try:
            for number, trial in due:
                if run.is_finished(trial):
                    yield number, trial, partial(one, trial)
                    continue
                submit = submit or _Submission(run)
                running[submit.task(trial)] = number, trial
                while len(running) >= submit.window():
                    yield from _ended(run, running)
            while running:
                yield from _ended(run, running)
        finally:
            for task in running:
                ray.cancel(task, force=True)


class _Submission:
    """What all tasks of a study share: sent once, when the first trial is due."""

    def __init__(self, run: TrialRun) -> None:
        import ray

        self._run = run
        self._threads = torch.get_num_threads()
        self._gpus = 1 if default_device().type == "cuda" else 0
        files = weights_files(trial.arm for trial in run.trials)
        self._setting = Setting(
            identity=identity(),
            threads=self._threads,
            jobs=max(self._slots()),
            content=content_hash(run.dataset),
            weights=tuple(files),
        )
        self._dataset = ray.put(sendable(run.dataset))
        self._weights = [ray.put(np.fromfile(path, dtype=np.uint8)) for path in files.values()]
        self._remote = ray.remote(run_trial_work).options(
            num_cpus=self._threads, num_gpus=self._gpus, max_retries=RETRIES, retry_exceptions=False
        )

    def _slots(self) -> list[int]:
        machines = nodes()
        free = slots(machines, self._threads, self._gpus)
        if not any(free):
            gpus = f" and {self._gpus} GPU" if self._gpus else ""
            raise ConfigError(
                f"no node of the cluster has {self._threads} cores{gpus} for one trial; say fewer --threads"
            )
        return free

    def window(self) -> int:
        """How many tasks are under way at once: all that can run and, without a deadline, as many again."""
        return sum(self._slots()) * (1 if self._run.deadline is not None else 2)

    def task(self, trial: Trial) -> Any:
        work = TrialWork(setting=self._setting, trial=trial, study=self._run.study)
        return self._remote.remote(work, self._dataset, *self._weights)


def _ended(
    run: TrialRun, running: dict[Any, tuple[int, Trial]]
) -> Iterator[tuple[int, Trial, Callable[[], FinishedTrial]]]:
    """Waits for at least one task to end; removes those that have from `running` and yields them."""
    import ray

    ready, _ = ray.wait(list(running), num_returns=1)
    for task in ready:
        number, trial = running.pop(task)
        yield number, trial, partial(_finished, run, trial, task)


def _finished(run: TrialRun, trial: Trial, task: Any) -> FinishedTrial:
    """The trial of an ended task, written into the study's folder. Raises: the trial's error."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        files = ray.get(task)
    except RayTaskError:
        raise  # an error in the trial's code: run_missing keeps its traceback
    except RayError as error:
        raise TrialsFailedError(f"its task was lost: {str(error).splitlines()[0]}") from error
    if isinstance(files, HeadstartError):
        raise files
    return write_trial(run.folder / trial_key(resolve(trial, run.dataset)), files)


def say_nodes() -> None:
    """Says how large the cluster is."""
    machines = nodes()
    cores, gpus = sum(node.cores for node in machines), sum(node.gpus for node in machines)
    also = f", {gpus} GPUs" if gpus else ""
    progress.say(f"cluster: {len(machines)} {'node' if len(machines) == 1 else 'nodes'}, {cores} cores{also}")
