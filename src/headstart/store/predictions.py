"""The predictions of a trial: predictions.npz, plain arrays by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DamagedError
from headstart.store import manifest
from headstart.store.files import write_npz
from headstart.store.names import inside
from headstart.store.reading import Arrays, read_npz
from headstart.store.remedies import TRIAL as REMEDY
from headstart.types import Predictions

PREDICTIONS = "predictions.npz"


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
    """The stored predictions of a run folder, by part.

    Raises: StoreError where they are missing; DamagedError where they are not what was written."""
    return _read_parts(folder)


def read_test(folder: Path, *, both_views: bool = True) -> Predictions:
    """The stored predictions on the test images, with those of both views where they are wanted; nothing else
    is decompressed. Raises: as read_predictions."""

    def wanted(name: str) -> bool:
        return name.startswith("test_") and (both_views or name != "test_flip_logits")

    return _read_parts(folder, wanted)["test"]


def _read_parts(folder: Path, wanted: Callable[[str], bool] | None = None) -> dict[str, Predictions]:
    path = checked_predictions(folder)
    arrays = read_npz(path, REMEDY, wanted=wanted)
    parts = {
        name.removesuffix("_logits")
        for name in arrays
        if name.endswith("_logits") and not name.endswith("_flip_logits")
    }
    if "test" not in parts:
        raise DamagedError(f"{path} is damaged (it has no test_logits); {REMEDY}")
    return {part: _predictions(arrays, part, path) for part in sorted(parts)}


def _predictions(arrays: Arrays, part: str, path: Path) -> Predictions:
    """One part of predictions.npz, its shapes and types checked."""
    logits, flip = arrays[f"{part}_logits"], arrays.get(f"{part}_flip_logits")
    labels, ids = (arrays.get(f"{part}_{name}", np.zeros(0)) for name in ("labels", "ids"))
    sound = (
        logits.ndim == 2
        and logits.dtype.kind == "f"
        and labels.shape == ids.shape == logits.shape[:1]
        and labels.dtype.kind == ids.dtype.kind == "i"
        and (flip is None or (flip.shape == logits.shape and flip.dtype.kind == "f"))
        and (not len(labels) or (labels.min() >= 0 and labels.max() < logits.shape[1] and ids.min() >= 0))
    )
    if not sound:
        raise DamagedError(
            f"{path} is damaged (its {part} logits, labels and ids do not belong together); {REMEDY}"
        )
    with np.errstate(over="ignore"):
        logits, flip = logits.astype(np.float32), None if flip is None else flip.astype(np.float32)
    if not all(np.isfinite(each).all() for each in (logits, flip) if each is not None):
        raise DamagedError(f"{path} is damaged (its {part} logits are not all finite); {REMEDY}")
    return Predictions(logits=logits, labels=labels, example_ids=ids, flip_logits=flip)


def read_test_ids(folder: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Labels and ids of the stored test predictions, int64 (N,) each; None where this copy has none.

    The logits are not decompressed. Raises: DamagedError where the file is not what was written."""
    if not (folder / PREDICTIONS).is_file():
        return None
    arrays = read_npz(checked_predictions(folder), REMEDY, ("test_labels", "test_ids"))
    return arrays["test_labels"], arrays["test_ids"]


def checked_predictions(folder: Path) -> Path:
    """The file of a run folder's predictions, compared with its SHA-256 where a manifest has one. Raises:
    StoreError; DamagedError."""
    path = inside(folder, PREDICTIONS)
    if stored := manifest.read_manifest(folder, REMEDY):
        stored.require(folder, PREDICTIONS, REMEDY)
    return path
