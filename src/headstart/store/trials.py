"""Run folders: one trial on disk, complete when, and only when, `result.json` is there. No pickle is read.

runs/<study>/
    study.toml          the study as it was asked for (a copy)
    results.csv         one row a finished trial
    <trial key>/
        trial.json      the fully resolved trial, written first
        history.jsonl   one row an epoch or solver pass
        predictions.npz logits of every test (and validation, training-sample) image
        model.safetensors  what was learned; metadata: architecture, class names, preprocessing
        checkpoint.safetensors  while running only
        result.json     written last: temporary file, fsync, rename
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import BusyError, DamagedError, StoreError
from headstart.store import manifest
from headstart.store.durable import disk_errors, write_bytes
from headstart.store.files import digest, json_bytes, write_json_lines
from headstart.store.hashes import Stamp, facts_of_bytes, stamp_of
from headstart.store.locks import lock
from headstart.store.names import inside, is_key
from headstart.store.predictions import PREDICTIONS, checked_predictions, read_predictions
from headstart.store.reading import checked, parse_json, read_bytes, read_table
from headstart.store.remedies import TRIAL as REMEDY
from headstart.store.schema import History, ResultFields
from headstart.types import Cost, LabelBudget, Result

RESULT, HISTORY, TRIAL, MODEL = "result.json", "history.jsonl", "trial.json", "model.safetensors"
SCHEMA = 1  # of result.json: from 1 on a manifest lies beside it
_NAMES = ("label", "name", "recipe_name")  # of an arm, for people: no part of the key


@dataclass(frozen=True, kw_only=True)
class StoredArm:
    """An arm as trial.json and study.json hold it, by whichever version they were written.

    recipe: its fields as stored, for recipes gain fields. What a file lacks is "" or None."""

    name: str
    label: str
    dataset: str
    model: str
    weights: str
    method: str
    recipe: Mapping[str, Any]
    recipe_name: str
    input_pixels: int | None

    @classmethod
    def from_stored(cls, value: Mapping[str, Any]) -> StoredArm:
        return cls(
            name=value["name"],
            label=value.get("label") or value["name"],
            dataset=value.get("dataset", ""),
            model=value.get("model", ""),
            weights=value.get("weights", ""),
            method=value.get("method", ""),
            recipe=value.get("recipe") or {},
            recipe_name=value.get("recipe_name") or "",
            input_pixels=value.get("input_pixels"),
        )

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from weights that somebody trained, not from random ones."""
        return self.weights != "none"


@dataclass(frozen=True, kw_only=True)
class FinishedTrial:
    """A finished trial: its run folder and its result, with what they say as typed values."""

    folder: Path
    result: Result

    @functools.cached_property
    def arm(self) -> StoredArm:
        return StoredArm.from_stored(self.result.trial["arm"])

    @functools.cached_property
    def label_budget(self) -> LabelBudget:
        return LabelBudget(self.result.trial["labels_per_class"])

    @property
    def seed(self) -> int:
        return int(self.result.trial["seed"])

    @property
    def phase(self) -> str:
        """ "select" or "refit"."""
        return str(self.result.trial["phase"])

    @property
    def precision(self) -> str:
        """Of the network's arithmetic; "" where it is not stored."""
        return str(self.result.trial.get("precision", ""))

    @property
    def feature_precision(self) -> str:
        """Of frozen layers; "" where it is not stored."""
        return str(self.result.trial.get("feature_precision", ""))

    @property
    def place(self) -> tuple[Any, ...]:  # in the order of trials
        return self.arm.name, self.label_budget, self.phase, self.seed, self.key

    @property
    def dataset_fingerprint(self) -> str:
        return str(self.result.trial.get("dataset_fingerprint", ""))

    @property
    def weights_hash(self) -> str:
        """Of the weights that it started from; "" where it is not stored."""
        return str(self.result.trial.get("weights_hash") or "")

    @property
    def preprocessing(self) -> Mapping[str, Any]:
        """The fields of its Preprocessing; empty where they are not stored."""
        return self.result.trial.get("preprocessing") or {}

    @property
    def is_pretrained(self) -> bool:
        return self.arm.is_pretrained

    @property
    def key(self) -> str:
        return self.result.key

    @property
    def metrics(self) -> Mapping[str, float | None]:
        return self.result.metrics

    @property
    def test_accuracy(self) -> float | None:
        return self.result.metrics.get("test_accuracy")

    @property
    def cost(self) -> Cost:
        return self.result.cost

    @property
    def history(self) -> tuple[Mapping[str, float], ...]:
        return self.result.history

    @property
    def train_images(self) -> int:
        return self.result.train_images

    @property
    def selected(self) -> Mapping[str, Any]:
        return self.result.selected

    @property
    def environment(self) -> Mapping[str, Any]:
        return self.result.environment

    @property
    def has_model(self) -> bool:
        """Whether the trained model is still there: published trials come without."""
        return (self.folder / MODEL).is_file()

    def with_label(self, label: str) -> FinishedTrial:
        """The same trial whose arm has another name for people."""
        arm = {**self.result.trial["arm"], "label": label}
        return FinishedTrial(
            folder=self.folder,
            result=dataclasses.replace(self.result, trial={**self.result.trial, "arm": arm}),
        )


def write_history(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """Writes history.jsonl, one row a line."""
    write_json_lines(path, rows)


def write_result(folder: Path, result: Result) -> None:
    """Writes manifest.json, which names the files that are there, then result.json: from here on the trial
    counts as done."""
    value = dataclasses.asdict(result)
    del value["history"]  # history.jsonl has it
    content = json_bytes({"schema": SCHEMA} | value)
    names = [name for name in (TRIAL, HISTORY, PREDICTIONS, MODEL) if (folder / name).is_file()]
    manifest.write_manifest(folder, names, {RESULT: facts_of_bytes(content)})
    write_bytes(folder / RESULT, content)


def read_result(folder: Path) -> Result:
    """The result in a run folder. The model and the predictions are not read; a trial is read once a process
    while the sizes and times of its files stay.

    Raises: StoreError where the trial is not finished; DamagedError where a file is not what was written,
    or the trial is another one than the folder's name says."""
    return _read_result(
        folder, tuple(stamp_of(folder / name) for name in (RESULT, HISTORY, TRIAL, manifest.FILE))
    )


@functools.lru_cache(maxsize=4096)
def _read_result(folder: Path, _: tuple[Stamp | None, ...]) -> Result:
    path = inside(folder, RESULT)
    value = read_table(path, REMEDY)
    fields = checked(ResultFields, value, path, REMEDY)
    stored = manifest.read_manifest(folder, REMEDY)
    if stored is None and fields.version > 0:
        raise DamagedError(f"{folder / manifest.FILE} is missing; {REMEDY}")
    if stored is not None:
        for name in {RESULT, *stored.files} & {RESULT, HISTORY, TRIAL}:
            stored.require(folder, name, REMEDY)
    _require_own_key(path, folder.name, value)
    value.pop("schema", None)
    return Result(**{**value, "cost": Cost(**value["cost"]), "history": _history(folder)})


def _require_own_key(path: Path, folder_name: str, value: Mapping[str, Any]) -> None:
    """A trial lies in the folder of its key, and its key is the digest of all that its result depends on."""
    trial = value["trial"]
    arm = {name: part for name, part in trial["arm"].items() if name not in _NAMES}
    if not value["key"] == folder_name == digest({**trial, "arm": arm}):
        raise DamagedError(f"{path} is another trial than its folder's name and its own key say; {REMEDY}")


def _history(folder: Path) -> tuple[Mapping[str, float], ...]:
    path = inside(folder, HISTORY)
    if not path.exists():
        return ()
    try:  # as one list: a text and a check for each line took three times as long
        rows = parse_json(b"[" + b",".join(read_bytes(path).splitlines()) + b"]")
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error}); {REMEDY}") from error
    checked(History, rows, path, REMEDY)
    return tuple(rows)


def read_trial(folder: Path) -> FinishedTrial:
    """The finished trial in a run folder. Raises: as `read_result`."""
    return FinishedTrial(folder=folder, result=read_result(folder))


def set_aside_damaged(study_folder: Path, announce: Callable[[str], None]) -> None:
    """Finds the trials of a study's folder that are not what was written; from here on they count as not
    finished.

    Nothing is deleted: result.json is called result.json.damaged. No model is read. A trial that another
    process holds is left to it. announce: told of each."""
    for path in sorted(study_folder.glob(f"*/{RESULT}")):
        if not is_key(path.parent.name):
            continue
        folder = inside(study_folder, path.parent.name)
        if _damage(folder) is None:
            continue
        with suppress(BusyError), lock(folder / "lock", f"the run folder {folder}"), disk_errors(path):
            error = _damage(folder) if is_finished_now(folder) else None
            if error is not None:
                announce(f"{error}. It is set aside as {path.name}.damaged")
                path.replace(path.with_name(f"{RESULT}.damaged"))


def _damage(folder: Path) -> StoreError | None:
    """What is wrong with a finished trial's small files and predictions."""
    try:
        read_result(folder)
        _require_predictions(folder)
    except StoreError as error:
        return error
    return None


def _require_predictions(folder: Path) -> None:
    """Raises: StoreError where the predictions are missing or not what was written; where an older version
    wrote no manifest, where they cannot be decompressed."""
    if manifest.read_manifest(folder, REMEDY) is None:
        read_predictions(folder)
    else:
        checked_predictions(folder)


def is_finished(folder: Path) -> bool:
    return (folder / RESULT).is_file()


def is_finished_now(folder: Path) -> bool:
    """As is_finished, of a folder that other machines write: NFS remembers for seconds that a file was not
    there, but asks anew for the names of a folder that is opened."""
    try:
        with os.scandir(folder) as entries:
            return any(entry.name == RESULT for entry in entries)
    except FileNotFoundError:
        return False


def finished_trials(study_folder: Path) -> list[FinishedTrial]:
    """Every finished trial of a study folder, ordered by arm, label budget, phase and seed.

    Raises: StoreError where the folder is none; DamagedError where a trial is not what was written."""
    return in_order(map(read_trial, finished_folders(study_folder)))


def in_order(trials: Iterable[FinishedTrial]) -> list[FinishedTrial]:
    """The trials by arm, label budget, phase and seed."""
    return sorted(trials, key=lambda trial: trial.place)


def finished_folders(study_folder: Path) -> list[Path]:
    """The run folders of every finished trial of a study folder, none of them read. Raises: as
    finished_trials."""
    if not study_folder.is_dir():
        raise StoreError(f"{study_folder} is not a folder; give the folder that `headstart study` wrote")
    folders = []
    for path in sorted(study_folder.glob(f"*/{RESULT}")):
        if not is_key(path.parent.name):
            raise DamagedError(
                f"{path} lies in a folder whose name is no trial's key, 64 hexadecimal digits; move that "
                f"folder out of {study_folder}"
            )
        folders.append(inside(study_folder, path.parent.name))
    return folders
