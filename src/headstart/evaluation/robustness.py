"""The robustness step: a study's trained models on a fixed part of its test images under every corruption.

Logits are stored as a trial stores its own, corruption by corruption, so that an interrupted step resumes.
Finished readings are kept.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import StoreError, unknown_name
from headstart.evaluation import corruptions
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Images, corrupt
from headstart.evaluation.records import ROBUSTNESS, kept_arrays, kept_reading, sound_corrupted
from headstart.evaluation.study import check_predictions, chosen_trials, load_study_dataset, read_study
from headstart.predict.predictor import load_predictor
from headstart.runtime import progress
from headstart.runtime.seeding import seed_for
from headstart.store import FinishedTrial
from headstart.store.reading import Arrays
from headstart.store.schema import RobustnessReading
from headstart.types import Dataset, Robustness

_SHEET_IMAGES = 2


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every model is read on: the fixed test images, the settings and the seed of the corruptions.

    folder: holds the readings. settings: what identifies a reading; with others it is read anew."""

    folder: Path
    images: Images
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    settings: dict[str, Any]
    seed: int

    @property
    def settings_hash(self) -> str:
        return store.digest(self.settings)


class Engine(Protocol):
    """Where models are read, if not in this process."""

    def read(self, dataset: Dataset, wanted: Robustness, task: Task, trials: Sequence[FinishedTrial]) -> None:
        """Reads each trial's model; its files are in task.folder when this ends."""
        ...


def run_robustness(study_folder: Path, wanted: Robustness | None = None, engine: Engine | None = None) -> int:
    """Read every arm that is missing, and return how many arms now have a reading.

    wanted: None for what the study's file says, or all arms. engine: where it is done, if not here.
    Raises: ConfigError for an unknown arm; DataError where the study's images are no longer the ones it was
    run on; DownloadError where the frost textures cannot be fetched; StoreError; BusyError."""
    study, trials = read_study(study_folder)
    wanted = wanted or wanted_robustness(study_folder)
    names = [arm.name for arm in study.arms]
    for name in wanted.arms:
        if name not in names:
            raise unknown_name("arm", name, names)
    chosen = chosen_trials(trials, study.phase, wanted.arms, wanted.seed)
    for name in wanted.arms or names:
        if name not in chosen:
            progress.say(f"robustness: arm {name} has no finished trial of seed {wanted.seed}; left out")
    if not chosen:
        raise StoreError(
            f"{study_folder} has no finished trial of seed {wanted.seed} to read; finish the study first, or "
            "choose another seed"
        )
    dataset = load_study_dataset(study)
    folder = study_folder / ROBUSTNESS
    with store.lock(folder / "lock", f"the folder {folder}"):
        task = task_of(folder, dataset, wanted)
        # First the sheet: where frost's textures cannot be had, that shows before any model is read.
        _write_sheet(task, dataset)
        if engine is not None:
            engine.read(dataset, wanted, task, list(chosen.values()))
        else:
            for trial in chosen.values():
                read_arm(task, trial)
    return len(chosen)


def wanted_robustness(
    study_folder: Path, arms: Sequence[str] | None = None, images: int | None = None, seed: int | None = None
) -> Robustness:
    """What a study's file says, or all arms at seed 0, with the given values instead.

    Raises: StoreError without study.json."""
    value = store.read_study(study_folder).robustness or Robustness()
    return dataclasses.replace(
        value,
        arms=value.arms if arms is None else tuple(name.strip() for name in arms),
        images=value.images if images is None else images,
        seed=value.seed if seed is None else seed,
    )


def robustness_ids(dataset: Dataset, wanted: Robustness) -> NDArray[np.int64]:
    """Positions of the fixed test images, sorted: a draw that depends on the test set and the seed alone."""
    rng = np.random.default_rng(seed_for(wanted.seed, "robustness images", dataset.test.fingerprint))
    return np.sort(rng.permutation(len(dataset.test))[: wanted.images]).astype(np.int64)


def corruption_generator(seed: int, name: str, severity: int) -> np.random.Generator:
    """The random numbers of one corruption at one severity: the same for every arm."""
    return np.random.default_rng(seed_for(seed, "corruption", name, severity))


def has_reading(study_folder: Path, key: str, dataset: Dataset, wanted: Robustness) -> bool:
    """Whether a folder holds the finished reading of a trial with these settings."""
    settings = _settings(dataset, wanted, robustness_ids(dataset, wanted))
    return is_read(study_folder / ROBUSTNESS / f"{key}.json", store.digest(settings))


def _settings(dataset: Dataset, wanted: Robustness, ids: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "corruptions": corruptions.VERSION,
        "constants": {name: list(each.constants) for name, each in CORRUPTIONS.items()},
        "test_fingerprint": dataset.test.fingerprint,
        "images": len(ids),
        "seed": wanted.seed,
    }


def task_of(folder: Path, dataset: Dataset, wanted: Robustness) -> Task:
    """What a dataset's models are read on. The training images have no say in it."""
    ids = robustness_ids(dataset, wanted)
    return Task(
        folder=folder,
        images=np.ascontiguousarray(dataset.test.images[ids]),
        labels=dataset.test.labels[ids],
        ids=ids,
        settings=_settings(dataset, wanted, ids),
        seed=wanted.seed,
    )


def is_read(about: Path, settings_hash: str) -> bool:
    """Whether a reading is finished and sound. about: its JSON file."""
    reading = kept_reading(RobustnessReading, about)
    return (
        reading is not None
        and store.digest(reading.settings) == settings_hash
        and sound_corrupted(kept_arrays(about.with_suffix(".npz")), CORRUPTIONS)
    )


def read_arm(task: Task, trial: FinishedTrial) -> None:
    """Reads a trial's model where its reading is missing; an interrupted one goes on.

    Raises: as run_robustness."""
    about, path = task.folder / f"{trial.key}.json", task.folder / f"{trial.key}.npz"
    if is_read(about, task.settings_hash):
        return
    if not trial.has_model:
        progress.say(f"{trial.arm.name}: published without its model, so it is not read on corrupted images")
        return
    about.unlink(missing_ok=True)
    arrays = _started(path, task)
    missing = [name for name in CORRUPTIONS if name not in arrays]
    predict = load_predictor(trial.folder).logits
    total = len(missing) * len(SEVERITIES) * len(task.ids)
    with progress.track(f"{trial.arm.label}: corrupted images", total, "images") as bar:
        if "clean" not in arrays:
            arrays["clean"] = predict(task.images)
            check_predictions(trial.folder, arrays["clean"], task.ids)
        for name in missing:
            logits, seconds = _read_corruption(task, name, predict, bar)
            arrays[name], arrays["seconds"] = logits, arrays["seconds"] + seconds
            store.write_npz(path, arrays)
    corrupting, predicting = (round(float(each), 3) for each in arrays["seconds"])
    store.write_sealed(
        about,
        {
            "key": trial.key,
            "arm": trial.arm.name,
            "trial_seed": trial.seed,
            "settings": task.settings,
            "seconds": {"corrupt": corrupting, "predict": predicting},
        },
    )


def _started(path: Path, task: Task) -> Arrays:
    """The arrays of a reading that was interrupted, or of one that begins."""
    arrays = kept_arrays(path)
    names = [name for name in CORRUPTIONS if name in arrays]
    if str(arrays.get("settings", "")) == task.settings_hash and (
        not names or sound_corrupted(arrays, names)
    ):
        return arrays
    return {
        "settings": np.array(task.settings_hash),
        "ids": task.ids,
        "labels": task.labels,
        "seconds": np.zeros(2),  # of corrupting, of predicting
    }


def _read_corruption(
    task: Task, name: str, predict: Callable[[Images], NDArray[np.float32]], bar: progress.Track
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Logits float32 (5, N, C) at each severity, and the seconds of corrupting and of predicting."""
    parts, seconds = [], np.zeros(2)
    for severity in SEVERITIES:
        start = time.perf_counter()
        images = corrupt(task.images, name, severity, corruption_generator(task.seed, name, severity))
        between = time.perf_counter()
        parts.append(predict(images))
        seconds += [between - start, time.perf_counter() - between]
        bar.advance(len(task.ids))
    return np.stack(parts), seconds


def _write_sheet(task: Task, dataset: Dataset) -> None:
    """Write a few of the images, of different classes, under every corruption at every severity."""
    path = task.folder / "sheet.npz"
    if str(kept_arrays(path).get("settings", "")) == task.settings_hash:
        return
    _, firsts = np.unique(task.labels, return_index=True)
    ids = task.ids[np.sort(firsts)[:_SHEET_IMAGES]]
    images = np.ascontiguousarray(dataset.test.images[ids])
    store.write_npz(
        path,
        {
            "settings": np.array(task.settings_hash),
            "ids": ids,
            "clean": images,
            "corrupted": _sheet(images, task.seed),
        },
    )


def _sheet(images: Images, seed: int) -> Images:
    """uint8 (15, 5, N, H, W, 3): by corruption and severity."""

    def row(name: str) -> list[Images]:
        return [
            corrupt(images, name, severity, corruption_generator(seed, f"sheet {name}", severity))
            for severity in SEVERITIES
        ]

    return np.stack([np.stack(row(name)) for name in CORRUPTIONS])
