"""A finished study kept in a repository without weights: its trials count as done anywhere, and its report
renders from it.

<folder>/
    study.json, study.toml, gallery.npz, ...   what lies beside the trials in the study's folder: settings,
    readings, pixels <trial key>/
        result.json       as in the run folder
        history.jsonl     as in the run folder
        predictions.npz   logits of the test images alone, float16
        manifest.json     size and SHA-256 of these files; trials that an older version published have none
    manifest.json         the same of what lies beside the trials
No trial is published or taken over whose metrics are not those of its logits, and no symbolic link is
followed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import StoreError
from headstart.results.honest import honest_trials, require_honest
from headstart.results.trials import newest
from headstart.store.files import json_bytes
from headstart.store.hashes import facts_of_bytes
from headstart.store.manifest import FILE as MANIFEST
from headstart.store.manifest import read_manifest, write_manifest
from headstart.store.remedies import PUBLISHED, READING
from headstart.store.remedies import TRIAL as REMEDY

LIMIT_BYTES = 50_000_000  # of a whole published study: what a repository bears
_KEPT = (
    ".json",
    ".jsonl",
    ".toml",
    ".npz",
    ".csv",
)  # of what lies beside the trials; never a network's weights
_MADE = ("results.csv", MANIFEST)  # made anew from the trials
_OF_OTHER_IMAGES = ("robustness", "shift")  # their float32 arrays are logits
_READINGS = ("robustness", "shift", "looks", "tuning", "health.json", "health.npz")


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publication did: trials that were new, all trials there, bytes of all files there."""

    new: int
    trials: int
    size_bytes: int


def publish(study_folder: Path, target: Path) -> Published:
    """Writes the newest finished trials of a study's folder, and all that its report needs, into `target`.

    Trials that are there already stay as they are; what lies beside them is brought up to date. The same
    folder gives the same bytes. Raises: StoreError where nothing is finished, target cannot be written or
    `target` lies in the study's folder."""
    study_folder, target = Path(study_folder), Path(target)
    trials = newest(honest_trials(study_folder))
    if not trials:
        raise StoreError(
            f"{study_folder} holds no finished trial to publish; run `headstart study --out {study_folder}` "
            "first"
        )
    if target.resolve().is_relative_to(study_folder.resolve()):
        raise StoreError(f"{target} lies in the study's own folder {study_folder}; publish into another one")
    new = 0
    for trial in trials:
        there = store.inside(target, trial.key)
        if store.is_finished(there):
            continue
        test = store.read_test(trial.folder)
        predictions: dict[str, NDArray[Any]] = {
            "test_logits": half_precision(test.logits),
            "test_labels": test.labels.astype(np.int32),
            "test_ids": test.example_ids.astype(np.int32),
        }
        _write_trial(trial.folder, there, packed(predictions))
        new += 1
    beside = {}
    for path in _beside_the_trials(study_folder):
        name, content = path.relative_to(study_folder).as_posix(), _repacked(path, study_folder)
        store.write_bytes(store.inside(target, name), content)
        beside[name] = facts_of_bytes(content)
    write_manifest(target, (), beside)
    return Published(
        new=new,
        trials=len(honest_trials(target)),
        size_bytes=sum(path.stat().st_size for path in target.rglob("*") if path.is_file()),
    )


def _write_trial(source: Path, target: Path, predictions: bytes, result: bytes | None = None) -> None:
    """Writes a trial's summary with these predictions, result.json last. result: instead of the source's."""
    content = {"predictions.npz": predictions}
    if (source / "history.jsonl").exists():
        content["history.jsonl"] = store.read_bytes(store.inside(source, "history.jsonl"))
    content["result.json"] = result or store.read_bytes(store.inside(source, "result.json"))
    write_manifest(target, (), {name: facts_of_bytes(each) for name, each in content.items()})
    for name, each in content.items():
        store.write_bytes(target / name, each)


def _beside_the_trials(study_folder: Path) -> Iterator[Path]:
    """Every file of a study's folder that its report may read and that belongs to no run folder."""
    for path in sorted(study_folder.rglob("*")):
        inside = path.relative_to(study_folder)
        if (
            path.suffix not in _KEPT
            or not path.is_file()
            or any(part.startswith(".") for part in inside.parts)
        ):
            continue
        home = study_folder / inside.parts[0]
        if (
            inside.parts[0] in (*_MADE, MANIFEST)
            or (home / "trial.json").exists()
            or (home / "result.json").exists()
        ):
            continue
        yield store.inside(study_folder, inside)


def _repacked(path: Path, study_folder: Path) -> bytes:
    """A file's bytes; arrays as `packed`, logits among the readings of other images as float16, all else
    unchanged."""
    if path.suffix != ".npz":
        return store.read_bytes(path)
    arrays = store.read_npz(path, READING)
    if path.relative_to(study_folder).parts[0] in _OF_OTHER_IMAGES:
        arrays = {
            name: half_precision(array) if array.dtype == np.float32 else array
            for name, array in arrays.items()
        }
    return packed(arrays)


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as an .npz file that numpy reads, compressed by bzip2, the same bytes for the same arrays.

    A tenth smaller than numpy's own deflate on float16 logits (CIFAR-10's 10,000 x 10 of the CNN: 131 instead
    of 147 KB)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array, order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # its date is 1980: no clock in the file
            entry.compress_type = zipfile.ZIP_BZIP2
            archive.writestr(entry, content.getvalue())
    return buffer.getvalue()


def half_precision(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Logits float32 (..., C) as float16, each row's largest still its first largest: rounding must not
    change an answer.

    Raises: StoreError for values outside float16's range."""
    if not (np.abs(logits) < np.finfo(np.float16).max).all():
        raise StoreError(
            "logits beyond 65504 or not finite cannot be published as float16; the trial went wrong"
        )
    rows = logits.reshape(-1, logits.shape[-1])
    halved = rows.astype(np.float16)
    best = rows.argmax(axis=1)
    moved = np.flatnonzero(halved.argmax(axis=1) != best)
    halved[moved, best[moved]] = np.nextafter(halved[moved].max(axis=1), np.float16(np.inf))
    return halved.reshape(logits.shape)


def adopt(published: Path, key: str, run_folder: Path, names: Mapping[str, str]) -> bool:
    """Makes a published trial a finished one in its run folder (without a model); False where it is not
    published.

    names: of the arm, for people: name, label and recipe_name in this study.
    Raises: StoreError where the published trial is not what was published, or its metrics are not those of
    its logits."""
    source = store.inside(published, key)
    if not store.is_finished(source):
        return False
    trial = store.read_trial(source)
    require_honest(trial)
    result = None
    if any(trial.result.trial["arm"].get(name) != value for name, value in names.items()):
        value = store.read_json(source / "result.json", REMEDY)
        value["trial"]["arm"] |= names
        result = json_bytes(value)
    predictions = store.read_bytes(store.inside(source, "predictions.npz"), 10 * LIMIT_BYTES)
    _write_trial(source, run_folder, predictions, result)
    return True


def adopt_readings(published: Path, folder: Path) -> None:
    """Copies what was read beside the published trials (corrupted images, shift sets, where networks look,
    data health, tries of a search) and is not in the study's folder yet.

    Raises: StoreError where a file is not what was published."""
    manifest = read_manifest(published, PUBLISHED)
    for path in _beside_the_trials(published):
        inside = path.relative_to(published)
        if inside.parts[0] in _READINGS and not (folder / inside).exists():
            if manifest is not None:
                manifest.require(published, inside.as_posix(), PUBLISHED)
            store.write_bytes(store.inside(folder, inside), store.read_bytes(path))
