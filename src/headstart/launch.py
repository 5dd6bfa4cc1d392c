"""A study from start to finish: which trials it has, running those that are missing, writing its folder."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from headstart import findings, progress, store
from headstart.allocator import keep_freed_memory
from headstart.data import load_dataset
from headstart.errors import BusyError, DownloadError, HeadstartError, StoreError, TrialsFailedError, WeightsError
from headstart.methods import METHODS
from headstart.models import describe_models, load_model
from headstart.precision import default_device, resolve_feature_precision, resolve_precision
from headstart.recipes import provenance_of
from headstart.studies import load_study
from headstart.trial import run_trial
from headstart.types import Dataset, Study, Trial


def trials_of(study: Study) -> list[Trial]:
    """Every trial of a study, cheap ones first; an arm that every seed would repeat bit for bit is run once."""
    device = default_device()
    precision = resolve_precision(study.precision, device)
    feature_precision = resolve_feature_precision(study.feature_precision, device)
    trials = []
    for budget in sorted(study.labels_per_class, key=lambda n: n or 10**9):
        for seed in study.seeds:
            for arm in study.arms:
                if budget is None and METHODS[arm.method].deterministic and seed != study.seeds[0]:
                    continue
                trials.append(Trial(arm=arm, labels_per_class=budget, seed=seed, phase=study.phase, precision=precision,
                                    feature_precision=feature_precision))  # fmt: skip
    return trials


def run_study(
    study: str | Study, out: str | Path | None = None, *, changes: dict[str, str] | None = None, seeds: int | None = None,
    command: str = "",
) -> Path:  # fmt: skip
    """Runs what is missing of a study and returns its folder (default: runs/<study name>).

    study: a built-in study's name, a TOML file's path, or a Study. Finished trials are kept; a failed one does not
    stop the others.
    Raises: TrialsFailedError at the end where any failed; BusyError where another process runs this folder; DownloadError,
    WeightsError, DataError, StoreError before or as soon as they are met."""
    value, text = load_study(study, changes, seeds) if isinstance(study, str) else (study, "")
    folder = Path(out) if out is not None else Path("runs") / value.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror or error}; choose another folder with --out") from error
    keep_freed_memory()
    with store.lock(folder / "lock", f"the study folder {folder}"):
        dataset = load_dataset(value.dataset)
        store.write_bytes(folder / "study.toml", text.encode())
        store.write_json(folder / "study.json", describe(value, dataset, command))
        for model, weights in sorted({(arm.model, arm.weights) for arm in value.arms if arm.weights != "none"}):
            load_model(model, weights)  # fetched and checked before anything is computed
        trials = trials_of(value)
        failed = _run_missing(trials, value.name, folder)
        store.write_results_csv(folder)
        _write_gallery(folder, dataset, value.phase)
    if failed:
        raise TrialsFailedError(f"{len(failed)} of {len(trials)} trials failed ({'; '.join(failed)}); the others are kept in "
                                f"{folder}. The same command runs the failed ones again")  # fmt: skip
    return folder


def _run_missing(trials: list[Trial], study: str, folder: Path) -> list[str]:
    """Runs each trial that is not finished; the failed ones, each in a few words."""
    failed = []
    for number, trial in enumerate(trials, 1):
        budget = "all labels" if trial.labels_per_class is None else f"{trial.labels_per_class} labels a class"
        name = f"{trial.arm.name}, {budget}, seed {trial.seed}"
        try:
            result = run_trial(trial, study, folder)
        except (StoreError, BusyError, DownloadError, WeightsError):
            raise  # the next trial would meet the same
        except HeadstartError as error:
            failed.append(f"{name}: {error}")
            progress.say(f"trial {number} of {len(trials)} ({name}) failed: {error}")
            continue
        except Exception as error:
            store.write_bytes(folder / "failures" / f"{trial.arm.name}-{trial.seed}.txt", traceback.format_exc().encode())
            failed.append(f"{name}: {type(error).__name__}: {error}")
            progress.say(f"trial {number} of {len(trials)} ({name}) failed: {error}; details in {folder / 'failures'}")
            continue
        store.write_results_csv(folder)
        progress.say(f"trial {number} of {len(trials)} ({name}): test accuracy {result.metrics['test_accuracy']:.4f}")
    return failed


def describe(study: Study, dataset: Dataset, command: str) -> dict[str, Any]:
    """What study.json holds: all that a report needs to know about the study itself."""
    value = dataclasses.asdict(study)
    value["dataset"] = {
        "name": dataset.name, "title": dataset.title, "source": dataset.source, "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.train.class_names), "train_images": len(dataset.train), "test_images": len(dataset.test),
        "image_pixels": int(dataset.train.images.shape[1]),
    }  # fmt: skip
    value["command"] = command or f"headstart study {study.name}"
    value["models"] = describe_models((arm.model, arm.weights) for arm in study.arms)
    value["recipes"] = {arm.recipe_name: told for arm in study.arms if (told := dict(provenance_of(arm.recipe_name)))}
    return value


def _write_gallery(folder: Path, dataset: Dataset, phase: str) -> None:
    """Keeps the pixels of the test images that a report shows, so that it renders from this folder alone."""
    import io

    ids = np.asarray(findings.gallery_ids(store.finished_trials(folder), phase=phase), dtype=np.int64)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, ids=ids, images=np.asarray(dataset.test.images[ids]))
    store.write_bytes(folder / "gallery.npz", buffer.getvalue())
