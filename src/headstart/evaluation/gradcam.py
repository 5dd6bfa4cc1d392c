"""Where a study's networks look: Grad-CAM evidence for their own answers on a few fixed test images, the same
for every arm.

Needs the trained networks once; what is written renders without them. Finished readings stay.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import ConfigError
from headstart.evaluation.records import LOOKS, chosen_trials, read_arrays
from headstart.evaluation.robustness import check_reading, load_study_dataset, read_study
from headstart.predict.gradcam import explain_image, last_block
from headstart.predict.predictor import load_predictor
from headstart.runtime import progress
from headstart.runtime.seeding import seed_for
from headstart.types import Dataset, ImageSet

_VERSION = 1  # of what is stored; another one is read anew
_MOST_IMAGES = 12


def run_looks(study_folder: Path, seed: int = 0) -> int:
    """Reads every arm that is missing, by its trial of this seed at the main label budget; returns how many
    now have a reading.

    Models that are no network (kNN), networks whose last block is not known, trials without weights, and
    everything where captum is not installed, are left out, in a line each.
    Raises: DataError where the study's images are no longer the ones it was run on; StoreError, WeightsError,
    BusyError."""
    study, trials = read_study(study_folder)
    chosen = chosen_trials(trials, study.get("phase"), (), seed)
    if not chosen:
        progress.say(f"where networks look: no finished trial of seed {seed}; left out")
        return 0
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    dataset, folder = load_study_dataset(study), study_folder / LOOKS
    ids = looks_ids(dataset.test, seed)
    mark = _mark(dataset, ids, seed)
    with store.lock(folder / "lock", f"the folder {folder}"):
        read = {name for name, trial in chosen.items() if _is_read(folder / f"{trial.key}.npz", mark)}
        missing = {name: trial for name, trial in chosen.items() if name not in read}
        bare = [name for name, trial in missing.items() if not trial.has_model]
        if bare:
            told = "; ".join(labels.get(name, name) for name in bare)
            progress.say(f"where networks look: left out, for no model is kept with the trial: {told}")
        missing = {name: trial for name, trial in missing.items() if name not in bare}
        if missing and find_spec("captum") is None:
            progress.say(
                "where networks look: left out, for captum is not installed: pip install 'headstart[explain]'"
            )
            return len(read)
        for name, trial in missing.items():
            try:
                arrays = _look(trial.folder, np.asarray(dataset.test.images[ids]), ids)
            except ConfigError as error:
                progress.say(f"where networks look: {labels.get(name, name)} is left out: {error}")
                continue
            _write_images(folder / "images.npz", dataset.test, ids, seed, mark)
            store.write_npz(folder / f"{trial.key}.npz", {"settings": np.array(mark), "ids": ids, **arrays})
            read.add(name)
            progress.say(f"where {labels.get(name, name)} looks: {len(ids)} images read")
    return len(read)


def looks_ids(test: ImageSet, seed: int) -> NDArray[np.int64]:
    """Positions of the images that are shown, one a class (of at most 12 classes), in the order of their
    classes: a draw that depends on the test set and the seed alone."""
    rng = np.random.default_rng(seed_for(seed, "looks images", test.fingerprint))
    order = rng.permutation(len(test))
    present, firsts = np.unique(test.labels[order], return_index=True)
    some = np.sort(rng.permutation(len(present))[:_MOST_IMAGES])
    return order[firsts[some]].astype(np.int64)


def _mark(dataset: Dataset, ids: NDArray[np.int64], seed: int) -> str:
    return store.digest(
        {"looks": _VERSION, "test_fingerprint": dataset.test.fingerprint, "ids": ids.tolist(), "seed": seed}
    )


def _is_read(path: Path, mark: str) -> bool:
    return str(read_arrays(path).get("settings", "")) == mark


def _look(trial_folder: Path, images: NDArray[np.uint8], ids: NDArray[np.int64]) -> dict[str, NDArray]:
    """Evidence float16 (N, H, W), probabilities float16 (N, C), targets int64 (N,).

    Raises: ConfigError for no network to explain; StoreError where it does not answer as its trial did."""
    predictor = load_predictor(trial_folder)
    network = predictor.network()
    last_block(network)
    found = [explain_image(predictor, pixels, network=network) for pixels in images]
    probabilities = np.stack([each.probabilities for each in found])
    check_reading(trial_folder, probabilities, ids)
    return {
        "evidence": np.stack([each.heatmap for each in found]).astype(np.float16),
        "probabilities": probabilities.astype(np.float16),
        "targets": np.array([each.target for each in found]),
    }


def _write_images(path: Path, test: ImageSet, ids: NDArray[np.int64], seed: int, mark: str) -> None:
    """The shown pixels, once for all arms."""
    if not _is_read(path, mark):
        store.write_npz(
            path,
            {
                "settings": np.array(mark),
                "ids": ids,
                "labels": test.labels[ids],
                "seed": np.array(seed),
                "images": np.asarray(test.images[ids]),
            },
        )
