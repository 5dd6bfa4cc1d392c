"""The Grad-CAM step: heatmaps of a study's networks for their own predictions, on the same few test images
for every arm.

It needs the trained networks once; what it writes is drawn without them. Finished readings are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import ConfigError
from headstart.evaluation.records import GRADCAM, kept_arrays
from headstart.evaluation.study import check_predictions, chosen_trials, load_study_dataset, read_study
from headstart.runtime import progress
from headstart.runtime.seeding import seed_for
from headstart.store import FinishedTrial
from headstart.store.reading import Arrays
from headstart.types import Dataset, ImageSet

_VERSION = 1  # of what is stored; another one is read anew
_MOST_IMAGES = 12


def run_gradcam(study_folder: Path, seed: int = 0) -> int:
    """Read every arm that is missing, by its trial of this seed at the main label budget, and return how many
    arms now have a reading.

    Models that are no network (kNN), networks whose last block is not known, trials without weights, and
    everything where captum is not installed, are left out with one line each.
    Raises: DataError where the study's images are no longer the ones it was run on; StoreError, WeightsError,
    BusyError."""
    study, trials = read_study(study_folder)
    chosen = chosen_trials(trials, study.phase, (), seed)
    if not chosen:
        progress.say(f"where networks look: no finished trial of seed {seed}; left out")
        return 0
    labels = study.labels
    dataset, folder = load_study_dataset(study), study_folder / GRADCAM
    ids = gradcam_ids(dataset.test, seed)
    settings_hash = _settings_hash(dataset, ids, seed)
    with store.lock(folder / "lock", f"the folder {folder}"):
        unread = [
            (labels.get(name, name), trial)
            for name, trial in chosen.items()
            if not _is_read(folder / f"{trial.key}.npz", settings_hash)
        ]
        count = len(chosen) - len(unread)
        if count:
            _write_images(folder / "images.npz", dataset.test, ids, seed, settings_hash)
        for label, trial in _readable(unread):
            try:
                arrays = _read(trial, dataset.test, ids)
            except ConfigError as error:
                progress.say(f"where networks look: {label} is left out: {error}")
                continue
            _write_images(folder / "images.npz", dataset.test, ids, seed, settings_hash)
            head = {"settings": np.array(settings_hash), "ids": ids}
            store.write_npz(folder / f"{trial.key}.npz", {**head, **arrays})
            count += 1
            progress.say(f"where {label} looks: {len(ids)} images read")
    return count


def gradcam_ids(test: ImageSet, seed: int) -> NDArray[np.int64]:
    """Positions of the images that are read, one of each class (of at most 12 classes), in the order of their
    classes: a draw that depends on the test set and the seed alone."""
    rng = np.random.default_rng(seed_for(seed, "looks images", test.fingerprint))
    order = rng.permutation(len(test))
    present, firsts = np.unique(test.labels[order], return_index=True)
    some = np.sort(rng.permutation(len(present))[:_MOST_IMAGES])
    return order[firsts[some]].astype(np.int64)


def _settings_hash(dataset: Dataset, ids: NDArray[np.int64], seed: int) -> str:
    return store.digest(
        {"looks": _VERSION, "test_fingerprint": dataset.test.fingerprint, "ids": ids.tolist(), "seed": seed}
    )


def _is_read(path: Path, settings_hash: str) -> bool:
    return str(kept_arrays(path).get("settings", "")) == settings_hash


def _readable(trials: Sequence[tuple[str, FinishedTrial]]) -> list[tuple[str, FinishedTrial]]:
    """The trials, each with its arm's label, that can be read here; one line says why others are left out."""
    without_model = [label for label, trial in trials if not trial.has_model]
    if without_model:
        progress.say(
            "where networks look: left out, for no model is kept with the trial: " + "; ".join(without_model)
        )
    readable = [(label, trial) for label, trial in trials if trial.has_model]
    if readable and find_spec("captum") is None:
        progress.say(
            "where networks look: left out, for captum is not installed: pip install 'headstart[explain]'"
        )
        return []
    return readable


def _read(trial: FinishedTrial, test: ImageSet, ids: NDArray[np.int64]) -> Arrays:
    """Heatmaps ("evidence") float16 (N, H, W), probabilities float16 (N, C), targets int64 (N,).

    Raises: ConfigError where there is no network to explain; StoreError where it does not predict as its
    trial did."""
    # captum and pyplot load only where something is to be read
    from headstart.predict.gradcam import explain_image
    from headstart.predict.predictor import load_predictor

    predictor = load_predictor(trial.folder)
    network = predictor.network()
    network.last_block()  # refuses before the first image
    explanations = [
        explain_image(predictor, image, network=network) for image in np.asarray(test.images[ids])
    ]
    probabilities = np.stack([each.probabilities for each in explanations])
    check_predictions(trial.folder, probabilities, ids)
    return {
        "evidence": np.stack([each.heatmap for each in explanations]).astype(np.float16),
        "probabilities": probabilities.astype(np.float16),
        "targets": np.array([each.target for each in explanations]),
    }


def _write_images(path: Path, test: ImageSet, ids: NDArray[np.int64], seed: int, settings_hash: str) -> None:
    """Write the images themselves, once for all arms."""
    if not _is_read(path, settings_hash):
        store.write_npz(
            path,
            {
                "settings": np.array(settings_hash),
                "ids": ids,
                "labels": test.labels[ids],
                "seed": np.array(seed),
                "images": np.asarray(test.images[ids]),
            },
        )
