"""The robustness step on a Ray cluster: each arm's model a task, read on the same corrupted images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.cluster.connect import connected, say_nodes
from headstart.cluster.inputs import WeightsFile
from headstart.cluster.sent import Sent, cancel, first_ended, result_of
from headstart.cluster.work import Files, Setting, files_in, set_up, write_trial
from headstart.data.download import downloads_folder
from headstart.errors import HeadstartError
from headstart.evaluation.corruptions.weather import FROST_WHEEL
from headstart.evaluation.robustness import Task, is_read, read_arm, run_robustness, task_of
from headstart.registry.methods import stored_method
from headstart.runtime import progress
from headstart.store import FinishedTrial
from headstart.store.hashes import facts_of
from headstart.types import Dataset, Robustness


@dataclass(frozen=True, kw_only=True)
class ReadingWork:
    """A trial's model to read. trial: the files of its run folder. begun: the arrays of a reading that was
    interrupted, empty for none."""

    setting: Setting
    wanted: Robustness
    key: str
    trial: Files
    begun: bytes


def run_reading_work(
    work: ReadingWork, dataset: Dataset, *weights: NDArray[np.uint8]
) -> Files | HeadstartError:
    """The files of the reading once it has ended, or the error that a user can mend."""
    try:
        with set_up(work.setting, dataset, weights) as scratch:
            task = task_of(scratch / "readings", dataset, work.wanted)
            trial = write_trial(scratch / work.key, work.trial)
            task.folder.mkdir()
            names = _names(work.key)
            if work.begun:
                store.write_bytes(task.folder / names[0], work.begun)
            read_arm(task, trial)
            return {name: (task.folder / name).read_bytes() for name in names}
    except HeadstartError as error:
        return error


class RayReadings:
    """Reads models as tasks of the cluster that this process is connected to; this process writes the files.

    What needs the training images (kNN, int8 features) is read by this process, which has them."""

    def read(self, dataset: Dataset, wanted: Robustness, task: Task, trials: Sequence[FinishedTrial]) -> None:
        """See evaluation.robustness.Engine. Raises: ConfigError where no node is large enough."""
        due = [
            trial for trial in trials if not is_read(task.folder / _names(trial.key)[1], task.settings_hash)
        ]
        away = [trial for trial in due if trial.has_model and not _needs_training_images(trial)]
        running = {}
        try:
            if away:
                sent = Sent(without_training(dataset), [trial.arm for trial in away])
                sent.add(_frost())
            for trial in away:
                begun = task.folder / _names(trial.key)[0]
                work = ReadingWork(
                    setting=sent.setting,
                    wanted=wanted,
                    key=trial.key,
                    trial=files_in(trial.folder),
                    begun=begun.read_bytes() if begun.exists() else b"",
                )
                running[sent.task(run_reading_work, work)] = trial
            for trial in due:
                if trial not in away:
                    read_arm(task, trial)
            while running:
                for ended in first_ended(running):
                    trial = running.pop(ended)
                    files: Files = result_of(ended)
                    for name in _names(trial.key):
                        store.write_bytes(task.folder / name, files[name])
                    progress.say(f"{trial.arm.label}: read on corrupted images")
        finally:
            cancel(running)


def robustness_on_cluster(address: str, study_folder: Path, wanted: Robustness) -> int:
    """As run_robustness, each arm a task of the cluster at `address` (see `connected`).

    Raises: as run_robustness; ConfigError where ray is not installed, nothing answers, or a node has other
    versions."""
    with connected(address):
        say_nodes()
        return run_robustness(study_folder, wanted, RayReadings())


def _names(key: str) -> tuple[str, str]:
    """The files of a reading, in the order in which they are written."""
    return f"{key}.npz", f"{key}.json"


def _needs_training_images(trial: FinishedTrial) -> bool:
    return trial.feature_precision == "int8" or not stored_method(trial.arm.method).is_network


def without_training(dataset: Dataset) -> Dataset:
    """The dataset without its training images."""
    train = dataset.train
    nothing = dataclasses.replace(
        train, images=np.asarray(train.images[:0]), labels=train.labels[:0], groups=None, names=None
    )
    return dataclasses.replace(dataset, train=nothing)


def _frost() -> dict[WeightsFile, Path]:
    """The textures, which a node need not fetch: this machine has them since it drew the sheet."""
    path = downloads_folder() / FROST_WHEEL.file_name
    place = path.relative_to(store.cache_folder()).as_posix()
    return {WeightsFile(weights="the frost textures", place=place, sha256=facts_of(path).sha256): path}
