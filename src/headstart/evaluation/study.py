"""What the steps after training share: a study's trials and images, and the check that a saved model still
predicts as its trial did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import load_dataset
from headstart.errors import DataError, StoreError
from headstart.results.honest import honest_trials
from headstart.results.trials import Trials, is_deterministic, main_trials
from headstart.store import FinishedTrial, StudyRecord
from headstart.store.remedies import retrain
from headstart.types import Dataset

# Of clean predictions against the trial's own: batches of another size may move a few near ties.
_MOST_MOVED = 0.01


def read_study(study_folder: Path) -> tuple[StudyRecord, Trials]:
    """What a study says of itself, and its finished trials. Raises: StoreError where either is missing."""
    study, trials = store.read_study(study_folder), honest_trials(study_folder)
    if not trials:
        raise StoreError(f"no finished trial in {study_folder}; finish the study first")
    return study, trials


def chosen_trials(
    trials: Trials, phase: str | None, arms: Sequence[str] = (), seed: int | None = None
) -> dict[str, FinishedTrial]:
    """For each arm, the trial of this seed that the study's answer rests on; arms without one are left out.

    arms: none named: all. seed: None: the lowest. A deterministic arm's one trial stands for every seed."""
    chosen = {}
    for name, of_arm in main_trials(trials, phase).items():
        if arms and name not in arms:
            continue
        fitting = [trial for trial in of_arm if seed is None or trial.seed == seed or is_deterministic(trial)]
        if fitting:
            chosen[name] = fitting[0]
    return chosen


def load_study_dataset(study: StudyRecord) -> Dataset:
    """The images that a study was run on. Raises: DataError where they are others now; as `load_dataset`."""
    dataset = load_dataset(study.arms[0].dataset)
    if dataset.fingerprint != study.dataset.fingerprint:
        raise DataError(
            f"{dataset.title} has other images now (fingerprint {dataset.fingerprint[:12]}) than when this "
            f"study was run ({study.dataset.fingerprint[:12]}); restore them, or run the study anew"
        )
    return dataset


def check_predictions(trial_folder: Path, logits: NDArray[np.floating], ids: NDArray[np.int64]) -> None:
    """Compare a saved model's predictions of clean test images with those that its trial stored.

    logits: or probabilities, (N, C). ids: int64 (N,), positions in the test set.
    Raises: StoreError where more than 1 % differ (or more than two)."""
    test = store.read_test(trial_folder)
    own = test.logits[np.searchsorted(test.example_ids, ids)].argmax(axis=1)
    moved = int((logits.argmax(axis=1) != own).sum())
    if moved > max(2, _MOST_MOVED * len(ids)):
        raise StoreError(
            f"{trial_folder / 'model.safetensors'} predicts otherwise than the trial's stored logits on "
            f"{moved} of {len(ids)} clean images; {retrain(trial_folder)}"
        )
