"""A method fitted on given images outside of a study: for estimators, folds of cross-validation, final
models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.data.splits import Ids
from headstart.methods import method_spec
from headstart.methods.base import Context, Outcome
from headstart.models import preprocessing_of
from headstart.models.saved import SavedModel, TrainingImages
from headstart.runtime.cost import Stopwatch
from headstart.studies.trial import resolve
from headstart.types import Dataset, Trial


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was learned: the method's outcome, and the model as it can be saved."""

    outcome: Outcome
    saved: SavedModel

    @property
    def state(self) -> dict[str, Tensor]:
        """The model's tensors, on the CPU."""
        return {name: value.detach().cpu() for name, value in self.outcome.state.items()}

    @property
    def history(self) -> list[dict[str, float]]:
        return list(self.outcome.history)

    @property
    def selected(self) -> Mapping[str, Any]:
        """What was chosen on held-out images: {"l2": ...}."""
        return self.outcome.selected


def make_fold_context(
    trial: Trial, dataset: Dataset, ids: tuple[Ids, Ids], folder: Path, device: torch.device
) -> Context:
    """A trial on other images than a study gives it. ids: to learn from, and those that are read ("val")."""
    train_ids, val_ids = ids
    return Context(
        trial=trial,
        dataset=dataset,
        train_ids=train_ids,
        val_ids=val_ids,
        sample_ids=train_ids[:0],
        folder=folder,
        device=device,
        watch=Stopwatch(),
    )


def fit(
    trial: Trial,
    dataset: Dataset,
    folder: Path,
    device: torch.device,
    *,
    ids: tuple[Ids, Ids] | None = None,
    name: str | None = None,
) -> Fitted:
    """Fits a trial's arm on dataset.train, or on the first of `ids`; the second of them is then read.

    dataset.test must be empty. Where the trial's label budget is not "all", a hyperparameter is chosen on
    folds of the images that are learned from, and never on those that are read. name: of the dataset, for
    load_dataset."""
    everything = np.arange(len(dataset.train))
    context = make_fold_context(trial, dataset, ids or (everything, everything[:0]), folder, device)
    outcome = method_spec(trial.arm.method).implementation.run(context)
    saved = SavedModel(
        architecture=outcome.architecture,
        class_names=dataset.train.class_names,
        preprocessing=preprocessing_of(trial.arm.model, trial.arm.weights, trial.arm.input_pixels),
        image_pixels=int(dataset.train.images.shape[1]),
        method=trial.arm.method,
        weights_hash=resolve(trial, dataset)["weights_hash"],
        precision=trial.precision,
        feature_precision=trial.feature_precision,
        label=trial.arm.label,
        dataset=TrainingImages(
            name=name, title=dataset.title, source=dataset.source, fingerprint=dataset.fingerprint
        ),
        reading=dataset.reading,
    )
    return Fitted(outcome=outcome, saved=saved)
