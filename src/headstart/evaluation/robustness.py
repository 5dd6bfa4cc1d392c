"""The robustness step: a study's trained models on a fixed part of its test images under every corruption.

Writes logits as a trial does, corruption by corruption, so that an interrupted step goes on; finished
readings stay.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import load_dataset
from headstart.errors import DataError, StoreError, unknown_name
from headstart.evaluation import corruptions
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from headstart.evaluation.records import ROBUSTNESS, chosen_trials, read_arrays
from headstart.predict.predictor import load_predictor
from headstart.results.trials import Trials
from headstart.runtime import progress
from headstart.runtime.seeding import seed_for
from headstart.store import FinishedTrial
from headstart.types import Dataset, Robustness

_SHEET_IMAGES = 2
_MOST_MOVED = (
    0.01  # of clean predictions against the trial's own: batches of another size may move a few near ties
)


def run_robustness(study_folder: Path, wanted: Robustness | None = None) -> int:
    """Reads every wanted arm that is missing and returns how many arms now have a reading.

    wanted: None for what the study's file says, or all arms.
    Raises: ConfigError for an unknown arm; DataError where the study's images are no longer the ones it was
    run on; DownloadError where the frost textures cannot be fetched; StoreError; BusyError."""
    study, trials = read_study(study_folder)
    wanted = wanted or wanted_robustness(study_folder)
    names = [arm["name"] for arm in study["arms"]]
    for name in wanted.arms:
        if name not in names:
            raise unknown_name("arm", name, names)
    chosen = chosen_trials(trials, study.get("phase"), wanted.arms, wanted.seed)
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
        ids = robustness_ids(dataset, wanted)
        settings = _settings(dataset, wanted, ids)
        # First the sheet: where frost's textures cannot be had, that shows before any model is read.
        _write_sheet(folder / "sheet.npz", dataset, ids, wanted.seed, store.digest(settings))
        for trial in chosen.values():
            _read_arm(folder, trial, dataset, ids, settings, wanted.seed)
    return len(chosen)


def wanted_robustness(
    study_folder: Path, arms: Sequence[str] | None = None, images: int | None = None, seed: int | None = None
) -> Robustness:
    """What a study's file says, or all arms at seed 0, with what is given instead. Raises: StoreError without
    study.json."""
    said = store.read_json(study_folder / "study.json").get("robustness") or {}
    value = Robustness(**(said | {"arms": tuple(said["arms"])})) if said else Robustness()
    return dataclasses.replace(
        value,
        arms=value.arms if arms is None else tuple(name.strip() for name in arms),
        images=value.images if images is None else images,
        seed=value.seed if seed is None else seed,
    )


def read_study(study_folder: Path) -> tuple[dict[str, Any], Trials]:
    """study.json and the finished trials. Raises: StoreError where either is missing."""
    study, trials = store.read_json(study_folder / "study.json"), store.finished_trials(study_folder)
    if not trials:
        raise StoreError(f"no finished trial in {study_folder}; finish the study first")
    return study, trials


def load_study_dataset(study: dict[str, Any]) -> Dataset:
    """The images that a study was run on. Raises: DataError where they are others now; as load_dataset."""
    dataset = load_dataset(study["arms"][0]["dataset"])
    if dataset.fingerprint != study["dataset"]["fingerprint"]:
        raise DataError(
            f"{dataset.title} has other images now (fingerprint {dataset.fingerprint[:12]}) than when this "
            "study was "
            f"run ({study['dataset']['fingerprint'][:12]}); restore them, or run the study anew"
        )
    return dataset


def robustness_ids(dataset: Dataset, wanted: Robustness) -> NDArray[np.int64]:
    """Positions of the fixed test images, sorted: a draw that depends on the test set and the seed alone."""
    rng = np.random.default_rng(seed_for(wanted.seed, "robustness images", dataset.test.fingerprint))
    return np.sort(rng.permutation(len(dataset.test))[: wanted.images]).astype(np.int64)


def corruption_generator(seed: int, name: str, severity: int) -> np.random.Generator:
    """The random numbers of one corruption at one severity: the same for every arm."""
    return np.random.default_rng(seed_for(seed, "corruption", name, severity))


def _settings(dataset: Dataset, wanted: Robustness, ids: NDArray[np.int64]) -> dict[str, Any]:
    return {
        "corruptions": corruptions.VERSION,
        "constants": {name: list(each.constants) for name, each in CORRUPTIONS.items()},
        "test_fingerprint": dataset.test.fingerprint,
        "images": len(ids),
        "seed": wanted.seed,
    }


def has_reading(study_folder: Path, key: str, dataset: Dataset, wanted: Robustness) -> bool:
    """Whether a folder holds the finished reading of a trial with these settings."""
    mark = store.digest(_settings(dataset, wanted, robustness_ids(dataset, wanted)))
    return _is_read(study_folder / ROBUSTNESS / f"{key}.json", mark)


def _is_read(about: Path, mark: str) -> bool:
    return (
        about.is_file()
        and store.digest(store.read_json(about)["settings"]) == mark
        and about.with_suffix(".npz").is_file()
    )


def _read_arm(
    folder: Path,
    trial: FinishedTrial,
    dataset: Dataset,
    ids: NDArray[np.int64],
    settings: dict[str, Any],
    seed: int,
) -> None:
    about, path, mark = folder / f"{trial.key}.json", folder / f"{trial.key}.npz", store.digest(settings)
    if _is_read(about, mark):
        return
    if not trial.has_model:
        progress.say(f"{trial.arm.name}: published without its model, so it is not read on corrupted images")
        return
    about.unlink(missing_ok=True)
    images, labels = np.ascontiguousarray(dataset.test.images[ids]), dataset.test.labels[ids]
    stored = read_arrays(path)
    if str(stored.get("settings", "")) != mark:
        stored = {"settings": np.array(mark), "ids": ids, "labels": labels, "seconds": np.zeros(2)}
    todo = [each for each in CORRUPTIONS if each not in stored]
    model = load_predictor(trial.folder).logits
    with progress.track(
        f"{trial.arm.label}: corrupted images", len(todo) * len(SEVERITIES) * len(ids), "images"
    ) as bar:
        if "clean" not in stored:
            stored["clean"] = model(images)
            check_reading(trial.folder, stored["clean"], ids)
        for corruption in todo:
            parts = []
            for severity in SEVERITIES:
                started = time.perf_counter()
                corrupted = corrupt(
                    images, corruption, severity, corruption_generator(seed, corruption, severity)
                )
                between = time.perf_counter()
                parts.append(model(corrupted))
                stored["seconds"] = stored["seconds"] + [between - started, time.perf_counter() - between]
                bar.advance(len(ids))
            stored[corruption] = np.stack(parts)
            store.write_npz(path, stored)
    corrupting, predicting = (round(float(each), 3) for each in stored["seconds"])
    store.write_json(
        about,
        {
            "key": trial.key,
            "arm": trial.arm.name,
            "trial_seed": trial.seed,
            "settings": settings,
            "seconds": {"corrupt": corrupting, "predict": predicting},
        },
    )


def check_reading(trial_folder: Path, logits: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
    """Raises: StoreError where the saved model's clean predictions (logits or probabilities) are not the
    trial's own."""
    test = store.read_predictions(trial_folder)["test"]
    own = test.logits[np.searchsorted(test.example_ids, ids)].argmax(axis=1)
    moved = int((logits.argmax(axis=1) != own).sum())
    if moved > max(2, _MOST_MOVED * len(ids)):
        raise StoreError(
            f"{trial_folder / 'model.safetensors'} predicts otherwise than the trial's stored logits on "
            f"{moved} of "
            f"{len(ids)} clean images; delete {trial_folder} and run the study again"
        )


def _write_sheet(path: Path, dataset: Dataset, ids: NDArray[np.int64], seed: int, mark: str) -> None:
    """A few of the images, of different classes, under every corruption at every severity."""
    if str(read_arrays(path).get("settings", "")) == mark:
        return
    _, firsts = np.unique(dataset.test.labels[ids], return_index=True)
    shown = ids[np.sort(firsts)[:_SHEET_IMAGES]]
    images = np.ascontiguousarray(dataset.test.images[shown])
    sheet = _sheet(images, seed)
    store.write_npz(path, {"settings": np.array(mark), "ids": shown, "clean": images, "corrupted": sheet})


def _sheet(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """uint8 (15, 5, N, H, W, 3)."""

    def row(name: str) -> Sequence[NDArray[np.uint8]]:
        return [
            corrupt(images, name, severity, corruption_generator(seed, f"sheet {name}", severity))
            for severity in SEVERITIES
        ]

    return np.stack([np.stack(row(name)) for name in CORRUPTIONS])
