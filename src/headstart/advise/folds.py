"""Candidates read by cross-validation: every image is judged by a model that has not learned from it.

Five folds, stratified by class; images that belong together are in one fold. All candidates have the same
folds, so that they compare image by image; heads are read on other divisions into folds too. What is chosen
inside a candidate (L2, neighbours) is chosen on folds of the images that it learns from alone. A reading is
kept in the folder: the same command reads it.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from headstart import store
from headstart.advise.heads import Heads, fold_trial, training_alone
from headstart.advise.rung import Rung
from headstart.data.splits import FOLDS, Ids, fold_numbers
from headstart.errors import StoreError
from headstart.methods import method_spec
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.runtime.threads import use_threads
from headstart.store.files import write_npz
from headstart.store.reading import read_npz
from headstart.store.remedies import CACHED
from headstart.studies.fit import Fitted, fit, make_fold_context
from headstart.studies.trial import resolve
from headstart.types import Dataset, Trial

REPETITIONS = 3  # divisions into folds: heads are cheap, and more would say little more
_READING, _LOGITS = "reading.json", "logits.npz"


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldReading:
    """A candidate on one fold.

    ids: int64 (M,), of the images that it judged; logits: float32 (M, C). seconds: wall time of learning and
    reading, frozen layers apart. steps: that it trained, 0 for a head. folder: holds its model, where it is a
    network's first fold."""

    fold: int
    ids: Ids
    logits: NDArray[np.float32]
    seconds: float
    steps: int
    folder: Path

    @property
    def model_kept(self) -> bool:
        return (self.folder / "model.safetensors").exists()


class FoldReader:
    """Fits candidates on folds of the training images, and on all of them.

    images: a dataset's training set; a test set is never looked at. folder: of the whole command."""

    def __init__(self, dataset: Dataset, name: str, folder: Path) -> None:
        train = dataset.train
        self.dataset = training_alone(dataset)
        self.name, self.folder, self.device = name, folder / "folds", default_device()
        self.units = np.arange(len(train)) if train.groups is None else train.groups
        self.divisions = [fold_numbers(train.labels, self.units, FOLDS, each) for each in range(REPETITIONS)]

    @property
    def fold_of(self) -> NDArray[np.int64]:
        """Each image's fold of the first repetition, int64 (N,)."""
        return self.divisions[0]

    def ids(self, fold: int) -> tuple[Ids, Ids]:
        """(learned from, judged) on a fold, int64, sorted. The second repetition's folds begin at FOLDS."""
        fold_of = self.divisions[fold // FOLDS]
        return np.flatnonzero(fold_of != fold % FOLDS), np.flatnonzero(fold_of == fold % FOLDS)

    def trial(self, rung: Rung, ids: Ids) -> Trial:
        """The rung as a trial whose hyperparameters are chosen on folds of `ids`."""
        return fold_trial(rung, self.name, self.dataset, ids)

    def heads(self, probe: Rung) -> Heads:
        """Fits the probe of a rung on any of the training images."""
        return Heads(probe, self.name, self.dataset, self.folder)

    def prepare(self, rung: Rung) -> tuple[float, float]:
        """Computes the frozen layers' outputs of all images, or finds them: (seconds cold, seconds now)."""
        ids = self.ids(0)
        trial = self.trial(rung, ids[0])
        context = make_fold_context(trial, self.dataset, ids, self.folder, self.device)
        method = method_spec(rung.method).implementation
        layers = method.frozen_layers(context)
        if layers is None:
            return 0.0, 0.0
        began = time.perf_counter()
        parts = [
            each.extract(f"{rung.label}: frozen layers") for each in method.feature_requests(context, layers)
        ]
        return sum(part.seconds for part in parts), time.perf_counter() - began

    def missing_bytes(self, rung: Rung) -> int:
        """Bytes that the frozen layers' outputs of all images would still take on the disk."""
        ids = self.ids(0)
        context = make_fold_context(self.trial(rung, ids[0]), self.dataset, ids, self.folder, self.device)
        method = method_spec(rung.method).implementation
        layers = method.frozen_layers(context)
        return (
            0
            if layers is None
            else sum(each.missing_bytes() for each in method.feature_requests(context, layers))
        )

    def step_seconds(self, rung: Rung) -> float:
        """Seconds of a training step on a fold, measured; 0 where the candidate takes none."""
        ids = self.ids(0)
        context = make_fold_context(self.trial(rung, ids[0]), self.dataset, ids, self.folder, self.device)
        step = method_spec(rung.method).implementation.training_step(context)
        return 0.0 if step is None else step[0].seconds(step[1])

    def read(self, rung: Rung, fold: int) -> FoldReading:
        """The candidate on a fold, trained now or read back."""
        ids = self.ids(fold)
        trial = self.trial(rung, ids[0])
        folder = self._place(trial, fold)
        classes = len(self.dataset.train.class_names)
        if (stored := _stored(folder, fold, ids[1], classes)) is not None:
            return stored
        began = time.perf_counter()
        fitted = self._fit(rung, trial, ids, folder)
        judged = fitted.outcome.predictions["val"]
        steps = int(fitted.history[-1]["step"]) if fitted.history and not rung.is_frozen else 0
        if not rung.is_frozen and fold == 0:
            fitted.saved.write(folder, fitted.state)
        write_npz(folder / _LOGITS, {"ids": judged.example_ids, "logits": judged.logits})
        facts = {"name": rung.name, "seconds": round(time.perf_counter() - began, 3), "steps": steps}
        store.write_sealed(folder / _READING, facts)
        (folder / "checkpoint.safetensors").unlink(missing_ok=True)
        reading = _stored(folder, fold, ids[1], classes)
        assert reading is not None
        return reading

    def has(self, rung: Rung, fold: int) -> bool:
        """Whether an earlier run has read the candidate on this fold."""
        return (self._place(self.trial(rung, self.ids(fold)[0]), fold) / _READING).exists()

    def _place(self, trial: Trial, fold: int) -> Path:
        return self.folder / store.digest(resolve(trial, self.dataset) | {"fold": [fold, FOLDS]})[:32]

    def refit(self, rung: Rung) -> Fitted:
        """The candidate fitted on all training images."""
        everything = np.arange(len(self.dataset.train))
        place = self.folder / self.refit_key(rung)[:32]
        return self._fit(rung, self._refit_trial(rung), (everything, everything[:0]), place)

    def refit_key(self, rung: Rung) -> str:
        """Names all that a refit depends on."""
        return store.digest(resolve(self._refit_trial(rung), self.dataset) | {"fold": "all"})

    def _refit_trial(self, rung: Rung) -> Trial:
        return dataclasses.replace(self.trial(rung, np.arange(len(self.dataset.train))), phase="refit")

    def _fit(self, rung: Rung, trial: Trial, ids: tuple[Ids, Ids], folder: Path) -> Fitted:
        folder.mkdir(parents=True, exist_ok=True)
        if not rung.is_frozen:
            return fit(trial, self.dataset, folder, self.device, ids=ids, name=self.name)
        with (
            use_threads(1),
            progress.quietly(),
        ):  # heads on few rows: a second thread waits more than it works
            return fit(trial, self.dataset, folder, self.device, ids=ids, name=self.name)

    def forget(self) -> None:
        """Removes the networks of the first folds and what an interruption left; readings stay."""
        for folder in self.folder.glob("*"):
            (folder / "model.safetensors").unlink(missing_ok=True)
            (folder / "checkpoint.safetensors").unlink(missing_ok=True)
            if folder.is_dir() and not (folder / _READING).exists():
                shutil.rmtree(folder, ignore_errors=True)


def joined(readings: Sequence[FoldReading]) -> tuple[Ids, NDArray[np.float32]]:
    """(ids, sorted; logits in their order) of several folds of one division."""
    ids = np.concatenate([each.ids for each in readings])
    order = np.argsort(ids)
    return ids[order], np.concatenate([each.logits for each in readings])[order]


class _Facts(BaseModel):
    """reading.json."""

    seconds: Annotated[float, Field(ge=0, le=1e9)]
    steps: Annotated[int, Field(ge=0, le=10**12)]


def _stored(folder: Path, fold: int, judged: Ids, classes: int) -> FoldReading | None:
    """A reading of an earlier run; None where there is none, or a damaged one, which is announced.

    judged: the images that the fold judges; classes: how many logits each has."""
    if not (folder / _READING).exists():
        return None
    try:
        facts = store.read_as(_Facts, folder / _READING, CACHED)
        arrays = read_npz(folder / _LOGITS, CACHED, ("ids", "logits"))
        ids, logits = arrays["ids"], arrays["logits"]
        if ids.dtype.kind != "i" or not np.array_equal(np.sort(ids, axis=None), judged):
            raise StoreError(f"{folder / _LOGITS} holds other images than those of the fold")
        if logits.dtype != np.float32 or logits.shape != (len(judged), classes):
            raise StoreError(f"{folder / _LOGITS} holds no logits of {classes} classes")
        if not np.isfinite(logits).all():
            raise StoreError(f"{folder / _LOGITS} holds values that are not finite")
    except StoreError as error:
        progress.say(f"{error}; the fold is read anew")
        return None
    return FoldReading(
        fold=fold, ids=ids, logits=logits, seconds=facts.seconds, steps=facts.steps, folder=folder
    )
