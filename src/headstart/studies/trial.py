"""One trial from start to finish: the only place that joins data, models, methods and the store."""

from __future__ import annotations

import datetime
import json
import math
import platform
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, Field

from headstart import store
from headstart.data import load_dataset
from headstart.data.splits import VALIDATION_IMAGES, label_subset, split_for_choosing
from headstart.errors import BusyError, ConfigError, StoreError, TakenError
from headstart.methods import method_spec
from headstart.methods.base import Context, Outcome
from headstart.methods.frozen import backbone_hash
from headstart.models import preprocessing_of
from headstart.models.preprocessing import stored_preprocessing
from headstart.models.saved import SavedModel, TrainingImages
from headstart.models.weights import weights_hash
from headstart.results import metrics
from headstart.results.published import adopt
from headstart.runtime import energy, progress
from headstart.runtime.cores import processor_name, usable_cores
from headstart.runtime.cost import Stopwatch, peak_memory_bytes, reset_peak_memory
from headstart.runtime.precision import default_device, gpu_uuid
from headstart.runtime.threads import use_threads
from headstart.store import FinishedTrial
from headstart.store.remedies import TRIAL as REMEDY
from headstart.types import Arm, Cost, Dataset, Preprocessing, Result, Trial
from headstart.version import __version__

# Fields that recipes gained after trials had run, with the value that those had: it makes the same trial, not
# a new one.
_ADDED_FIELDS = {
    "activation": "relu",
    "norm_momentum": 0.4,
    "balance": False,
    "scaling": "columns",
    "clip_norm": None,
}
SAMPLE_IMAGES = 5000  # training images on which training accuracy is read, as many as validation has


def resolve(trial: Trial, dataset: Dataset) -> dict[str, Any]:
    """The trial with all that its result depends on, as stored in trial.json; its digest is the key."""
    arm = trial.arm
    value = _plain(trial) | {
        "dataset_fingerprint": dataset.fingerprint,
        "weights_hash": _start_hash(arm),
        "preprocessing": _plain(preprocessing_of(arm.model, arm.weights, arm.input_pixels)),
        "schema": method_spec(arm.method).schema,
        "validation_images": VALIDATION_IMAGES,
    }
    value["arm"]["recipe_type"] = type(arm.recipe).__name__
    for for_people in ("label", "name", "recipe_name"):  # a new name is not a new trial
        value["arm"].pop(for_people)
    for name, before in _ADDED_FIELDS.items():
        if value["arm"]["recipe"].get(name) == before:
            value["arm"]["recipe"].pop(name, None)
    if value["arm"]["recipe"].get("batchnorm") == "train":
        value["arm"]["recipe"].pop("clip_norm", None)  # without effect
    return value


def _start_hash(arm: Arm) -> str:
    """What identifies the weights that an arm starts from. Where random weights stay frozen they are part of
    the arm; else they are drawn from the trial's seed, which stands beside them."""
    return (backbone_hash if method_spec(arm.method).random_control else weights_hash)(arm.weights, arm.model)


def trial_key(resolved: dict[str, Any]) -> str:
    """SHA-256 of a resolved trial, 64 hex digits."""
    return store.digest(resolved)


def run_trial(
    trial: Trial,
    study: str,
    study_folder: Path,
    published: Path | None = None,
    jobs: int = 1,
    dataset: Dataset | None = None,
) -> FinishedTrial:
    """Runs a trial into its folder, or returns the finished one that is there or among the published ones.

    jobs: how many run at once here. dataset: the arm's, None: loaded by its name. Resumes from the folder's
    checkpoint. Reads the test set once, at the end. Raises: TakenError where another process runs it."""
    dataset = dataset or load_dataset(trial.arm.dataset)
    resolved = resolve(trial, dataset)
    key = trial_key(resolved)
    folder = study_folder / key
    if store.is_finished(folder) or (
        published is not None and adopt(published, key, folder, _names(trial.arm))
    ):
        _forget_checkpoint(folder)
        return store.read_trial(folder)
    with _held(folder), use_threads(_threads(folder)):
        if store.is_finished_now(folder):  # another process ran it meanwhile
            _forget_checkpoint(folder)
            return store.read_trial(folder)
        return _run(trial, dataset, resolved, folder, study, jobs)


def _held(folder: Path) -> AbstractContextManager[object]:
    """The lock of a run folder. Raises: TakenError where another process runs the trial."""
    try:
        return store.lock(folder / "lock", f"the run folder {folder}")
    except BusyError as error:
        raise TakenError(str(error)) from error


class _Begun(BaseModel):
    """trial.json. threads: None in what older versions wrote."""

    threads: Annotated[int, Field(ge=1, le=100_000)] | None = None


def _threads(folder: Path) -> int:
    """The threads of this process; of a trial that began with another number and is resumed, that number: its
    bits depend on it."""
    now = torch.get_num_threads()
    if not any(folder.glob("checkpoint*")) or not (folder / "trial.json").exists():
        return now
    try:
        begun = store.read_as(_Begun, folder / "trial.json", REMEDY).threads or now
    except StoreError as error:
        progress.say(f"{error}. Its checkpoint is discarded, and the trial begins anew")
        for checkpoint in folder.glob("checkpoint*"):
            checkpoint.unlink()
        return now
    if begun != now:
        progress.say(f"a trial that began with {begun} threads goes on with as many, not with {now}")
    return begun


def _run(
    trial: Trial, dataset: Dataset, resolved: dict[str, Any], folder: Path, study: str, jobs: int
) -> FinishedTrial:
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    described = resolved | {"arm": resolved["arm"] | _names(trial.arm)}
    store.purge_unfinished(folder)
    store.write_json(folder / "trial.json", described | {"threads": torch.get_num_threads()})
    device = default_device()
    reset_peak_memory()
    context = make_context(trial, dataset, folder, device)
    whole = not any(folder.glob("checkpoint*"))  # joules of an interrupted run are not known
    with energy.Meter(energy.counters(gpu_uuid(device))) as meter:
        outcome = method_spec(trial.arm.method).implementation.run(context)
    measured = metrics.evaluate(dict(outcome.predictions))
    if trial.phase == "refit":
        measured = {name: None if name.startswith("val_") else value for name, value in measured.items()}
    cost = _cost(context, outcome, meter.joules if whole else None)
    result = Result(
        key=folder.name,
        study=study,
        trial=described,
        metrics=measured,
        train_images=len(context.train_ids),
        history=tuple(outcome.history),
        cost=cost,
        selected=outcome.selected,
        environment=environment(device, trial.precision, jobs)
        | {"energy": meter.covers or "not reported", "started": started},
    )
    finished = FinishedTrial(folder=folder, result=result)
    _write(finished, outcome, dataset)
    return finished


def _names(arm: Arm) -> dict[str, str]:
    """What an arm is called for people: no part of a trial's key."""
    return {"name": arm.name, "label": arm.label, "recipe_name": arm.recipe_name}


def make_context(trial: Trial, dataset: Dataset, folder: Path, device: torch.device) -> Context:
    """The trial with its images: which it trains on, which choose, which show its training accuracy."""
    labels, fingerprint = dataset.train.labels, dataset.train.fingerprint
    train_ids, val_ids = split_for_choosing(dataset.train)
    none = np.zeros(0, dtype=np.int64)
    if trial.phase == "refit":
        if not trial.label_budget.is_all:
            raise ConfigError('a refit uses all labels; leave labels_per_class at "all" for phase = "refit"')
        train_ids, val_ids = np.arange(len(labels)), none
    elif not trial.label_budget.is_all:
        train_ids, val_ids = (
            label_subset(labels, train_ids, fingerprint, trial.seed, trial.label_budget.per_class),
            none,
        )
    step = max(1, len(train_ids) // SAMPLE_IMAGES)
    return Context(
        trial=trial,
        dataset=dataset,
        train_ids=train_ids,
        val_ids=val_ids,
        sample_ids=train_ids[::step][:SAMPLE_IMAGES],
        folder=folder,
        device=device,
        watch=Stopwatch(),
    )


def _cost(context: Context, outcome: Outcome, joules: float | None) -> Cost:
    cached = context.watch.carried_joules
    seconds = {name: round(value, 3) for name, value in context.watch.seconds.items()}
    return Cost(
        seconds=seconds,
        spent_seconds=round(math.fsum(context.watch.seconds.values()) - outcome.cached_seconds, 3),
        examples=outcome.examples,
        flops=outcome.flops,
        peak_memory_bytes=peak_memory_bytes(),
        joules=None if joules is None or cached is None else round(joules + cached, 1),
    )


def _write(trial: FinishedTrial, outcome: Outcome, dataset: Dataset) -> None:
    saved = SavedModel(
        architecture=outcome.architecture,
        class_names=dataset.train.class_names,
        preprocessing=stored_preprocessing(trial.preprocessing),
        image_pixels=int(dataset.train.images.shape[1]),
        method=trial.arm.method,
        weights_hash=trial.weights_hash,
        precision=trial.precision,
        feature_precision=trial.feature_precision,
        dataset=TrainingImages(
            name=trial.arm.dataset,
            title=dataset.title,
            source=dataset.source,
            fingerprint=dataset.fingerprint,
        ),
        reading=dataset.reading,
    )
    folder = saved.write(trial.folder, outcome.state)
    store.write_predictions(folder / "predictions.npz", outcome.predictions)
    store.write_history(folder / "history.jsonl", trial.history)
    store.write_result(folder, trial.result)
    _forget_checkpoint(folder)


def _forget_checkpoint(folder: Path) -> None:
    """Removes the checkpoint of a finished trial: also of one whose process was killed just before that."""
    with suppress(OSError):  # a finished trial is whole without it, also on a disk that cannot be written
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)


def environment(device: torch.device, precision: str, jobs: int = 1) -> dict[str, Any]:
    """Versions and hardware of this process, as stored in every result; jobs where several trials share the
    machine."""
    side_by_side = {"jobs": jobs} if jobs > 1 else {}
    return side_by_side | {
        "headstart": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "device": _device_name(device),
        "precision": precision,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _plain(value: Trial | Preprocessing) -> dict[str, Any]:
    """The value as JSON will give it back."""
    plain: dict[str, Any] = json.loads(json.dumps(store.as_stored(value)))
    return plain
