"""Finished trials kept in a repository: their summaries and test logits, without weights, so that they count as done anywhere.

<folder>/<trial key>/
    result.json       as in the run folder
    history.jsonl     as in the run folder
    predictions.npz   logits of the test images alone, float16
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import examples, store
from headstart.errors import StoreError
from headstart.types import Predictions

_SUMMARY = ("history.jsonl", "result.json")  # result.json last: it makes the trial finished


def publish(study_folder: Path, target: Path) -> tuple[int, int]:
    """Writes the newest finished trials of a study's folder into `target`; (how many were new, bytes of all that is there).

    Trials that are there already stay as they are. Raises: StoreError where nothing is finished or target cannot be written."""
    trials = examples.newest(store.finished_trials(Path(study_folder)))
    if not trials:
        raise StoreError(f"{study_folder} holds no finished trial to publish; run `headstart study --out {study_folder}` first")
    new = 0
    for folder, result in trials:
        there = Path(target) / result.key
        if store.is_finished(there):
            continue
        test = store.read_predictions(folder)["test"]
        halved = Predictions(logits=half_precision(test.logits), labels=test.labels.astype(np.int32),  # type: ignore[arg-type]
                             example_ids=test.example_ids.astype(np.int32))  # type: ignore[arg-type]  # fmt: skip
        store.write_predictions(there / "predictions.npz", {"test": halved})
        _copy_summary(folder, there)
        new += 1
    return new, sum(path.stat().st_size for path in Path(target).rglob("*") if path.is_file())


def half_precision(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Logits float32 (N, C) as float16, each row's largest still its first largest: rounding must not change an answer.

    Raises: StoreError for values outside float16's range."""
    if not (np.abs(logits) < np.finfo(np.float16).max).all():
        raise StoreError("logits beyond 65504 or not finite cannot be published as float16; the trial went wrong")
    halved = logits.astype(np.float16)
    best = logits.argmax(axis=1)
    moved = np.flatnonzero(halved.argmax(axis=1) != best)
    halved[moved, best[moved]] = np.nextafter(halved[moved].max(axis=1), np.float16(np.inf))
    return halved


def adopt(published: Path, key: str, run_folder: Path) -> bool:
    """Makes a published trial a finished one in its run folder (without a model); False where it is not published."""
    source = published / key
    if not store.is_finished(source):
        return False
    run_folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "predictions.npz", run_folder / "predictions.npz")
    _copy_summary(source, run_folder)
    return True


def _copy_summary(source: Path, target: Path) -> None:
    for name in _SUMMARY:
        if (source / name).exists():
            store.write_bytes(target / name, (source / name).read_bytes())
