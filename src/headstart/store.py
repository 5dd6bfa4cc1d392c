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
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from headstart.errors import BusyError, StoreError
from headstart.types import Cost, Predictions, Result

if TYPE_CHECKING:
    import pandas as pd

RESULT_COLUMNS = (
    "study",
    "arm",
    "dataset",
    "model",
    "weights",
    "method",
    "recipe",
    "labels_per_class",
    "seed",
    "phase",
    "precision",
    "train_images",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "test_flip_accuracy",
    "test_top5_accuracy",
    "test_nll",
    "test_ece",
    "generalization_gap",
    "seconds",
    "spent_seconds",
    "examples",
    "flops",
    "joules",
    "peak_memory_bytes",
    "key",
)


def cache_folder() -> Path:
    """Where data, weights and features are kept: HEADSTART_CACHE, else the platform's user cache folder."""
    given = os.environ.get("HEADSTART_CACHE")
    return (
        Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("headstart", appauthor=False))
    )


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all: temporary file, fsync, rename.

    Raises: StoreError where the folder cannot be written or the disk is full."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(name, 0o644)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Writes a value as readable JSON, whole or not at all."""
    write_bytes(
        path,
        (json.dumps(value, indent=1, ensure_ascii=False, default=_plain, allow_nan=False) + "\n").encode(),
    )


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises: StoreError where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged ({error}); delete its folder {path.parent} and run the study again"
        ) from error


def write_history(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    write_bytes(
        path, "".join(json.dumps(row, default=_plain, allow_nan=False) + "\n" for row in rows).encode()
    )


def write_predictions(path: Path, parts: Mapping[str, Predictions]) -> None:
    """Stores predictions by part ("train", "val", "test") as one compressed file of plain arrays."""
    import io

    arrays: dict[str, np.ndarray] = {}
    for part, predictions in parts.items():
        for name, array in (
            ("logits", predictions.logits),
            ("labels", predictions.labels),
            ("ids", predictions.example_ids),
            ("flip_logits", predictions.flip_logits),
        ):
            if array is not None:
                arrays[f"{part}_{name}"] = array
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_bytes(path, buffer.getvalue())


def read_predictions(folder: Path) -> dict[str, Predictions]:
    """The stored predictions of a run folder, by part. Raises: StoreError where missing or damaged."""
    path = folder / "predictions.npz"
    try:
        # Opened here, not by numpy, which leaves the file open where it is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise StoreError(f"cannot read {path}: {error}; delete its folder and run the study again") from error
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


def write_result(folder: Path, result: Result) -> None:
    """Writes result.json: from here on the trial counts as done."""
    value = dataclasses.asdict(result)
    del value["history"]  # history.jsonl has it
    write_json(folder / "result.json", value)


def read_result(folder: Path) -> Result:
    """The finished trial in a run folder. Raises: StoreError where it is not finished or damaged."""
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


def is_finished(folder: Path) -> bool:
    return (folder / "result.json").is_file()


def finished_trials(study_folder: Path) -> list[tuple[Path, Result]]:
    """Every finished trial of a study folder, ordered by arm, labels, phase and seed."""
    if not study_folder.is_dir():
        raise StoreError(f"{study_folder} is not a folder; give the folder that `headstart study` wrote")
    found = [(path.parent, read_result(path.parent)) for path in sorted(study_folder.glob("*/result.json"))]

    def order(item: tuple[Path, Result]) -> tuple:
        trial = item[1].trial
        return (
            trial["arm"]["name"],
            trial["labels_per_class"] or 10**9,
            trial["phase"],
            trial["seed"],
            item[1].key,
        )

    return sorted(found, key=order)


def results_row(result: Result) -> dict[str, Any]:
    """One row of results.csv."""
    trial, arm = result.trial, result.trial["arm"]
    row: dict[str, Any] = {
        "study": result.study,
        "arm": arm["name"],
        "dataset": arm["dataset"],
        "model": arm["model"],
        "weights": arm["weights"],
        "method": arm["method"],
        "recipe": arm["recipe_name"],
        "labels_per_class": "all" if trial["labels_per_class"] is None else trial["labels_per_class"],
        "seed": trial["seed"],
        "phase": trial["phase"],
        "precision": trial["precision"],
        "train_images": result.train_images,
        "seconds": round(result.cost.total_seconds, 3),
        "spent_seconds": round(result.cost.spent_seconds, 3),
        "examples": result.cost.examples,
        "flops": result.cost.flops,
        "joules": result.cost.joules,
        "peak_memory_bytes": result.cost.peak_memory_bytes,
        "key": result.key,
    }
    return {column: row.get(column, result.metrics.get(column)) for column in RESULT_COLUMNS}


def results_table(study_folder: Path) -> pd.DataFrame:
    """A row a finished trial with the columns of results.csv; extra metrics stay in the run folders."""
    import pandas as pd  # a third of a second, of which few commands have any use

    rows = [results_row(result) for _, result in finished_trials(study_folder)]
    return pd.DataFrame(rows, columns=list(RESULT_COLUMNS))


def load_results(folder: str | Path) -> pd.DataFrame:
    """The finished trials of a study's folder, a row a trial, with the columns of results.csv.

    Examples:
        >>> headstart.load_results(folder)[["arm", "seed"]].to_dict("list")
        {'arm': ['cnn', 'cnn', 'probe'], 'seed': [0, 1, 0]}

    Raises: StoreError where the folder holds no finished trial."""
    table = results_table(Path(folder))
    if table.empty:
        raise StoreError(f"{folder} holds no finished trial; run `headstart study` with --out {folder} first")
    return table


def write_results_csv(study_folder: Path) -> Path:
    """Writes results.csv anew from the run folders and returns its path."""
    path = study_folder / "results.csv"
    write_bytes(path, results_table(study_folder).to_csv(index=False, lineterminator="\n").encode())
    return path


class _HeldLock(FileLock):
    """A lock that is acquired before its `with`: FileLock would count that as a second hold and stay locked
    after it."""

    def __enter__(self) -> _HeldLock:
        return self


def lock(path: Path, what: str, wait_seconds: float = 0.0) -> FileLock:
    """A held lock on `path`; release it or use it as a context manager.

    Raises: BusyError where another process holds it longer than wait_seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _HeldLock(path, timeout=wait_seconds)
        held.acquire()
    except Timeout as error:
        raise BusyError(
            f"{what} is in use by another headstart process; wait for it to end, or choose another folder"
        ) from error
    except OSError as error:
        raise StoreError(
            f"cannot write {path.parent}: {error.strerror or error}; choose another folder"
        ) from error
    return held


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Raises: StoreError where `folder`'s disk has less than needed_bytes free."""
    here = folder
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free
    if free < needed_bytes:
        raise StoreError(
            f"{what} needs {needed_bytes / 1e9:.1f} GB in {folder}, {free / 1e9:.1f} GB are free; "
            "free space or set HEADSTART_CACHE to another disk"
        )


def purge_unfinished(folder: Path, keep: Sequence[str] = ()) -> None:
    """Removes stray temporary files that a killed run left in a folder."""
    for stray in folder.glob(".*.part"):
        if stray.name not in keep:
            stray.unlink(missing_ok=True)
