"""The driver: what is sent once, which trial is a task, how many are on their way, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch

from headstart.cluster.connect import nodes, slots
from headstart.cluster.identity import identity
from headstart.cluster.inputs import WeightsFile, content_hash, sendable, weights_files
from headstart.cluster.work import Files, Setting, TrialWork, run_trial_work, write_trial
from headstart.errors import ConfigError, HeadstartError, TrialsFailedError
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.store import FinishedTrial, StoredArm
from headstart.studies.missing import Attempts, TrialRun
from headstart.studies.trial import resolve, trial_key
from headstart.types import Arm, Dataset, Trial

RETRIES = 50  # of a task whose process or node died; an error of the trial itself is not tried again


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
                sent = sent or Sent(run_trial_work, run.dataset, [each.arm for each in run.trials])
                work = TrialWork(setting=sent.setting, trial=trial, study=run.study)
                running[sent.task(work)] = number, trial
                # all that can run and, without a deadline, as many again
                while len(running) >= sum(sent.slots()) * (1 if run.deadline is not None else 2):
                    yield from _ended(run, running)
            while running:
                yield from _ended(run, running)
        finally:
            cancel(running)


class Sent:
    """What all tasks of a call share: the data set and the weights of its arms, sent once.

    function: called on a node as function(work, dataset, *weights). more: other files of the cache that a
    node needs. setting: belongs into each work. Raises: ConfigError where no node is large enough."""

    def __init__(
        self,
        function: Callable[..., Any],
        dataset: Dataset,
        arms: Iterable[Arm | StoredArm],
        more: Mapping[WeightsFile, Path] = MappingProxyType({}),
    ) -> None:
        import ray

        self._threads = torch.get_num_threads()
        self._gpus = 1 if default_device().type == "cuda" else 0
        files = {**weights_files(arms), **more}
        self.setting = Setting(
            identity=identity(),
            threads=self._threads,
            jobs=max(self.slots()),
            content=content_hash(dataset),
            weights=tuple(files),
        )
        self._dataset = ray.put(sendable(dataset))
        self._weights = [ray.put(np.fromfile(path, dtype=np.uint8)) for path in files.values()]
        self._remote = ray.remote(function).options(
            num_cpus=self._threads, num_gpus=self._gpus, max_retries=RETRIES, retry_exceptions=False
        )

    def slots(self) -> list[int]:
        """How many tasks each node takes at once."""
        machines = nodes()
        free = slots(machines, self._threads, self._gpus)
        if not any(free):
            gpus = f" and {self._gpus} GPU" if self._gpus else ""
            raise ConfigError(
                f"no node of the cluster has {self._threads} cores{gpus} for one trial; say fewer --threads"
            )
        return free

    def task(self, work: Any) -> Any:
        """Ray's name of the work, which is on its way."""
        return self._remote.remote(work, self._dataset, *self._weights)


def cancel(tasks: Iterable[Any]) -> None:
    """Ends tasks that nobody waits for any more."""
    import ray

    for task in tasks:
        ray.cancel(task, force=True)


def first_ended(tasks: Iterable[Any]) -> list[Any]:
    """Waits for at least one task to end."""
    import ray

    ready, _ = ray.wait(list(tasks), num_returns=1)
    return list(ready)


def files_of(task: Any) -> Files:
    """The files that an ended task gave. Raises: what went wrong there."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        files = ray.get(task)
    except RayTaskError:
        raise  # an error in the code that ran there: its traceback is kept
    except RayError as error:
        raise TrialsFailedError(f"its task was lost: {str(error).splitlines()[0]}") from error
    if isinstance(files, HeadstartError):
        raise files
    return cast("Files", files)


def _ended(
    run: TrialRun, running: dict[Any, tuple[int, Trial]]
) -> Iterator[tuple[int, Trial, Callable[[], FinishedTrial]]]:
    """Waits for at least one task to end; removes those that have from `running` and yields them."""
    for task in first_ended(running):
        number, trial = running.pop(task)
        yield number, trial, partial(_finished, run, trial, task)


def _finished(run: TrialRun, trial: Trial, task: Any) -> FinishedTrial:
    """The trial of an ended task, written into the study's folder. Raises: the trial's error."""
    files = files_of(task)
    return write_trial(run.folder / trial_key(resolve(trial, run.dataset)), files)


def say_nodes() -> None:
    """Says how large the cluster is."""
    machines = nodes()
    cores, gpus = sum(node.cores for node in machines), sum(node.gpus for node in machines)
    also = f", {gpus} GPUs" if gpus else ""
    progress.say(f"cluster: {len(machines)} {'node' if len(machines) == 1 else 'nodes'}, {cores} cores{also}")
