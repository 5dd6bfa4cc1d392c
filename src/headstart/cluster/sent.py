"""What goes to the nodes of a cluster once, and tasks that use it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.cluster.connect import nodes, slots
from headstart.cluster.identity import identity
from headstart.cluster.inputs import WeightsFile, content_hash, sendable, weights_files
from headstart.cluster.work import Setting
from headstart.errors import ConfigError, HeadstartError, TrialsFailedError
from headstart.runtime.precision import default_device
from headstart.store import StoredArm
from headstart.types import Arm, Dataset

RETRIES = 50  # of a task whose process or node died; an error of the trial itself is not tried again


class Sent:
    """What all tasks of a call share: the data set and the weights of its arms, sent once.

    setting: belongs into each work. Raises: ConfigError where no node is large enough."""

    def __init__(self, dataset: Dataset, arms: Iterable[Arm | StoredArm]) -> None:
        import ray

        self._threads = torch.get_num_threads()
        self._gpus = 1 if default_device().type == "cuda" else 0
        self.setting = Setting(
            identity=identity(),
            threads=self._threads,
            jobs=max(self.slots()),
            content=content_hash(dataset),
            weights=(),
        )
        self._dataset = ray.put(sendable(dataset))
        self._weights: list[Any] = []
        self._functions: dict[Callable[..., Any], Any] = {}
        self.add(weights_files(arms))

    def add(self, files: Mapping[WeightsFile, Path]) -> None:
        """Sends files of the cache with all further work, in the order in which a node is to have them."""
        import ray

        self._weights += [ray.put(np.fromfile(path, dtype=np.uint8)) for path in files.values()]
        self.setting = replace(self.setting, weights=(*self.setting.weights, *files))

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

    def task(self, function: Callable[..., Any], work: Any) -> Any:
        """Ray's name of the work, which is on its way: a node calls function(work, dataset, *weights)."""
        import ray

        if function not in self._functions:
            self._functions[function] = ray.remote(function).options(
                num_cpus=self._threads, num_gpus=self._gpus, max_retries=RETRIES, retry_exceptions=False
            )
        return self._functions[function].remote(work, self._dataset, *self._weights)


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


def result_of(task: Any) -> Any:
    """What an ended task gave. Raises: what went wrong there."""
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        result = ray.get(task)
    except RayTaskError:
        raise  # an error in the code that ran there: its traceback is kept
    except RayError as error:
        raise TrialsFailedError(f"its task was lost: {str(error).splitlines()[0]}") from error
    if isinstance(result, HeadstartError):
        raise result
    return result
