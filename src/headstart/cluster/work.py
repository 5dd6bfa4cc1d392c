"""What a node does: one trial or one search in a folder of its own, whose files go back to the driver."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.cluster.identity import Identity, require_identity
from headstart.cluster.inputs import WeightsFile, place_weights, require_whole
from headstart.errors import HeadstartError
from headstart.runtime import energy, progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.threads import use_threads
from headstart.store.manifest import FILE as MANIFEST
from headstart.store.predictions import PREDICTIONS
from headstart.store.trials import HISTORY, MODEL, RESULT, TRIAL
from headstart.studies.trial import run_trial
from headstart.types import Dataset, Trial

_FILES = (TRIAL, HISTORY, PREDICTIONS, MODEL, MANIFEST, RESULT)  # in the order in which they are written

Files = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How a node computes. threads: of one trial. jobs: trials at once on a node. content: of the data set,
    its content_hash. weights: files that arrive with the work, in this order."""

    identity: Identity
    threads: int
    jobs: int
    content: str
    weights: tuple[WeightsFile, ...]


@dataclass(frozen=True, kw_only=True)
class TrialWork:
    """A trial to run, of the study of that name."""

    setting: Setting
    trial: Trial
    study: str


def run_trial_work(work: TrialWork, dataset: Dataset, *weights: NDArray[np.uint8]) -> Files | HeadstartError:
    """The files of the finished trial's run folder, or the error that a user can mend, which Ray would wrap
    in a traceback."""
    try:
        with set_up(work.setting, dataset, weights) as scratch:
            setting = work.setting
            done = run_trial(work.trial, work.study, scratch, jobs=setting.jobs, dataset=dataset)
            return files_in(done.folder)
    except HeadstartError as error:
        return error


def files_in(folder: Path) -> Files:
    """The files of a finished trial's run folder."""
    return {name: (folder / name).read_bytes() for name in _FILES if (folder / name).exists()}


@contextmanager
def set_up(setting: Setting, dataset: Dataset, weights: tuple[NDArray[np.uint8], ...]) -> Iterator[Path]:
    """A folder to work in, with all as the driver has it. Raises: ConfigError, DataError, StoreError."""
    require_identity(setting.identity)
    progress.be_quiet()
    keep_freed_memory()
    if setting.jobs > 1:
        energy.count_nothing()
    require_whole(dataset, setting.content)
    for file, content in zip(setting.weights, weights, strict=True):
        place_weights(file, content)
    with tempfile.TemporaryDirectory(prefix="headstart-") as scratch, use_threads(setting.threads):
        yield Path(scratch)


def write_trial(folder: Path, files: Files) -> store.FinishedTrial:
    """Writes a trial that a node has finished into its run folder, result.json last.

    Raises: TakenError where another process holds it; StoreError; DamagedError where the files are not what
    the node wrote."""
    with store.lock(folder / "lock", f"the run folder {folder}"):
        if not store.is_finished_now(folder):
            for name in _FILES:
                if name in files:
                    store.write_bytes(folder / name, files[name])
        return store.read_trial(folder)
