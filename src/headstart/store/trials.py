"""Run folders: one trial on disk, complete when, and only when, `result.json` is there.

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
No pickle is ever written or read.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import StoreError
from headstart.store.files import read_json, read_npz, write_json, write_json_lines, write_npz
from headstart.types import Cost, LabelBudget, Predictions, Result

_ADVICE = "delete its folder and run the study again"


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
        return (self.folder / "model.safetensors").is_file()

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


def write_predictions(path: Path, parts: Mapping[str, Predictions]) -> None:
    """Stores predictions by part ("train", "val", "test") as one compressed file of plain arrays."""
    arrays: dict[str, NDArray[Any]] = {}
    for part, predictions in parts.items():
        for name, array in (
            ("logits", predictions.logits),
            ("labels", predictions.labels),
            ("ids", predictions.example_ids),
            ("flip_logits", predictions.flip_logits),
        ):
            if array is not None:
                arrays[f"{part}_{name}"] = array
    write_npz(path, arrays)


def read_predictions(folder: Path) -> dict[str, Predictions]:
    """The stored predictions of a run folder, by part. Raises: StoreError where missing or damaged."""
    arrays = read_npz(folder / "predictions.npz", _ADVICE)
    parts = {
        name.removesuffix("_logits")
        for name in arrays
        if name.endswith("_logits") and not name.endswith("_flip_logits")
    }
    return {
        part: Predictions(
            logits=arrays[f"{part}_logits"].astype(np.float32),
            labels=arrays[f"{part}_labels"],
            example_ids=arrays[f"{part}_ids"],
            flip_logits=arrays[f"{part}_flip_logits"].astype(np.float32)
            if f"{part}_flip_logits" in arrays
            else None,
        )
        for part in parts
    }


def read_test_ids(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Labels and ids of the stored test predictions, int64 (N,) each; None where this copy has none.

    The logits are not decompressed. Raises: StoreError where the file is damaged."""
    path = folder / "predictions.npz"
    if not path.is_file():
        return None
    arrays = read_npz(path, _ADVICE, ("test_labels", "test_ids"))
    return arrays["test_labels"], arrays["test_ids"]


def write_result(folder: Path, result: Result) -> None:
    """Writes result.json: from here on the trial counts as done."""
    value = dataclasses.asdict(result)
    del value["history"]  # history.jsonl has it
    write_json(folder / "result.json", value)


def read_result(folder: Path) -> Result:
    """The result in a run folder. Raises: StoreError where the trial is not finished or a file is damaged."""
    value = read_json(folder / "result.json")
    history_path = folder / "history.jsonl"
    try:
        history = (
            tuple(json.loads(line) for line in history_path.read_text().splitlines())
            if history_path.exists()
            else ()
        )
        return Result(**{**value, "cost": Cost(**value["cost"]), "history": history})
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{folder / 'result.json'} is damaged ({error}); delete the folder and run the study again"
        ) from error


def read_trial(folder: Path) -> FinishedTrial:
    """The finished trial in a run folder. Raises: as `read_result`."""
    return FinishedTrial(folder=folder, result=read_result(folder))


def is_finished(folder: Path) -> bool:
    return (folder / "result.json").is_file()


def finished_trials(study_folder: Path) -> list[FinishedTrial]:
    """Every finished trial of a study folder, ordered by arm, label budget, phase and seed."""
    if not study_folder.is_dir():
        raise StoreError(f"{study_folder} is not a folder; give the folder that `headstart study` wrote")
    trials = [read_trial(path.parent) for path in sorted(study_folder.glob("*/result.json"))]
    return sorted(trials, key=lambda t: (t.arm.name, t.label_budget, t.phase, t.seed, t.key))
