"""Features of frozen layers, computed by all nodes: each a few rows, joined by the driver to the bytes that
one machine would have written, then sent to each node once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.cluster.inputs import WeightsFile
from headstart.cluster.sent import Sent, cancel, result_of
from headstart.cluster.work import Setting, set_up
from headstart.errors import HeadstartError, WeightsError
from headstart.methods import FeatureUse, method_spec
from headstart.models.features import CHUNK, FeatureRequest, files_of
from headstart.runtime.precision import default_device
from headstart.store.hashes import facts_of
from headstart.studies.missing import TrialRun
from headstart.studies.trial import make_context
from headstart.types import Dataset, Trial

_MOST_BYTES = 2 * 10**9  # of a set that is sent; each node computes larger ones for itself
_OF_WHOLE_PARTS = (FeatureUse.ALL_IMAGES, FeatureUse.TRAINING_IMAGES)  # the same for all trials of an arm


@dataclass(frozen=True, kw_only=True)
class RowsWork:
    """Rows to compute: of the trial's request of that number, which has that key."""

    setting: Setting
    trial: Trial
    number: int
    key: str
    start: int
    stop: int


def run_rows_work(
    work: RowsWork, dataset: Dataset, *weights: NDArray[np.uint8]
) -> tuple[bytes, float] | HeadstartError:
    """The rows' content and the seconds that they took, or the error that a user can mend."""
    try:
        with set_up(work.setting, dataset, weights):
            rows_of = _rows_of(work, dataset)
            start = time.perf_counter()
            content = b"".join(rows_of(work.start, work.stop))
            return content, time.perf_counter() - start
    except HeadstartError as error:
        return error


_LAST: dict[str, Callable[[int, int], Iterator[bytes]]] = {}  # of this process: its network is loaded once


def _rows_of(work: RowsWork, dataset: Dataset) -> Callable[[int, int], Iterator[bytes]]:
    if work.key not in _LAST:
        _LAST.clear()
        request = _requests(work.trial, dataset)[work.number]
        if request.key != work.key:
            raise WeightsError(
                f"features of {work.trial.arm.model} would be others on a node than here; see `headstart "
                "doctor --cluster`"
            )
        _LAST[work.key] = request.rows
    return _LAST[work.key]


def _requests(trial: Trial, dataset: Dataset) -> list[FeatureRequest]:
    """The sets of features that a trial reads. Raises: as loading its network does."""
    method = method_spec(trial.arm.method).implementation
    context = make_context(trial, dataset, Path("."), default_device())
    layers = method.frozen_layers(context)
    return [] if layers is None else method.feature_requests(context, layers)


class _Nodes:
    """Rows of a request by tasks of the cluster; some chunks are under way before they are asked for."""

    def __init__(self, sent: Sent, trial: Trial, number: int, request: FeatureRequest) -> None:
        self._sent, self._trial, self._number = sent, trial, number
        self._key, self._count = request.key, len(request)
        self._next = -1
        self._running: deque[Any] = deque()

    def rows(self, start: int, stop: int) -> tuple[bytes, float]:
        """See models.features.RowSource. Raises: what went wrong on a node."""
        if self._next < 0:
            self._next = start
        ahead = 2 * sum(self._sent.slots())
        while len(self._running) < ahead and self._next < self._count:
            work = RowsWork(
                setting=self._sent.setting,
                trial=self._trial,
                number=self._number,
                key=self._key,
                start=self._next,
                stop=min(self._next + CHUNK, self._count),
            )
            self._running.append(self._sent.task(run_rows_work, work))
            self._next = work.stop
        content, seconds = result_of(self._running.popleft())
        return content, seconds

    def close(self) -> None:
        cancel(self._running)


def spread_features(sent: Sent, run: TrialRun) -> dict[WeightsFile, Path]:
    """Computes the features that unfinished trials read and the cache lacks, by all nodes; those and the ones
    that it has, as files that nodes are to have.

    int8 features are each node's own, for it calibrates its network itself. Raises: what went wrong."""
    files: dict[WeightsFile, Path] = {}
    arms, keys = set(), set()
    for trial in run.trials:
        is_due = trial.arm not in arms and method_spec(trial.arm.method).features in _OF_WHOLE_PARTS
        if not is_due or trial.feature_precision == "int8" or run.is_finished(trial):
            continue
        arms.add(trial.arm)
        try:
            requests = _requests(trial, run.dataset)
        except HeadstartError:  # its trials fail with it, and are named
            continue
        for number, request in enumerate(requests):
            if request.total_bytes <= _MOST_BYTES and request.key not in keys:  # kNN reads what a probe does
                keys.add(request.key)
                _join(sent, trial, number, request)
                files |= {_file(path): path for path in files_of(request.key)}
    return files


def _join(sent: Sent, trial: Trial, number: int, request: FeatureRequest) -> None:
    source = _Nodes(sent, trial, number, request)
    try:
        request.extract(f"{trial.arm.model} features", source)
    finally:
        source.close()


def _file(path: Path) -> WeightsFile:
    place = path.relative_to(store.cache_folder()).as_posix()
    return WeightsFile(weights="frozen features", place=place, sha256=facts_of(path).sha256)
