"""The shift step: a study's trained models on labelled images from elsewhere, to see whether the accuracy
holds."""

from __future__ import annotations

import re
import time
from pathlib import Path

from headstart import store
from headstart.errors import ConfigError, StoreError
from headstart.evaluation.records import SHIFT, kept_arrays, kept_reading, sound_shifted
from headstart.evaluation.shift_sets import load_shift_set
from headstart.evaluation.study import chosen_trials, read_study
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import read_model
from headstart.results.trials import correct
from headstart.runtime import progress
from headstart.store import FinishedTrial
from headstart.store.schema import ShiftReading
from headstart.types import ImageSet, ShiftSet


def run_shift(study_folder: Path, wanted: ShiftSet) -> int:
    """Read every arm's first seed on the set where that is missing, and return how many arms now have a
    reading.

    Raises: ConfigError for a name that cannot name a folder; DataError as `load_shift_set`; StoreError;
    BusyError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", wanted.name):
        raise ConfigError(
            f"shift set name {wanted.name!r} must be letters, digits, dots and dashes; give another with "
            "--name"
        )
    study, trials = read_study(study_folder)
    path = Path(wanted.path).expanduser()
    if (pixels := study.dataset.image_pixels) is None:
        raise StoreError(f"{study_folder} does not say how large its images are; run the study again")
    folder = study_folder / SHIFT / wanted.name
    chosen = chosen_trials(trials, study.phase)
    readings = [read_model(trial.folder).reading for trial in chosen.values() if trial.has_model]
    images = load_shift_set(path, list(study.dataset.class_names), pixels, *readings[:1])
    with store.lock(folder / "lock", f"the folder {folder}"):
        for trial in chosen.values():
            _read_arm(folder, trial, images)
    return len(chosen)


def _read_arm(folder: Path, trial: FinishedTrial, images: ImageSet) -> None:
    """folder: of the shift set, which has its name."""
    about, name = folder / f"{trial.key}.json", folder.name
    reading = kept_reading(ShiftReading, about)
    is_of_these = reading is not None and reading.fingerprint == images.fingerprint
    if is_of_these and sound_shifted(kept_arrays(about.with_suffix(".npz"))):
        return
    if not trial.has_model:
        progress.say(f"{trial.arm.name}: published without its model, so it is not read on {name}")
        return
    about.unlink(missing_ok=True)
    test = store.read_test(trial.folder)
    start = time.perf_counter()
    logits = load_predictor(trial.folder).logits(images.images)
    seconds = round(time.perf_counter() - start, 3)
    store.write_npz(about.with_suffix(".npz"), {"logits": logits, "labels": images.labels})
    store.write_sealed(
        about,
        {
            "set": name,
            "key": trial.key,
            "arm": trial.arm.name,
            "fingerprint": images.fingerprint,
            "test_right": int(correct(test).sum()),
            "test_images": len(test.labels),
            "seconds": seconds,
        },
    )
    accuracy = (logits.argmax(1) == images.labels).mean()
    progress.say(
        f"{trial.arm.label}: {accuracy:.4f} on {name}, {correct(test).mean():.4f} on the test images"
    )
