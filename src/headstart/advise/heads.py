"""Heads on a frozen network's features by the probe's own recipe, for what is asked beside the candidates."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.advise.rung import Rung
from headstart.data.arrays import image_set
from headstart.data.splits import Ids
from headstart.methods.frozen import Head, backbone_layers
from headstart.methods.linear_probe import head_by_recipe
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.runtime.threads import use_threads
from headstart.studies.fit import make_fold_context
from headstart.studies.trials import trials_of
from headstart.types import Dataset, Features, LabelBudget, Study, Trial


def fold_trial(rung: Rung, name: str, dataset: Dataset, ids: Ids) -> Trial:
    """The rung as a trial whose hyperparameters are chosen on folds of the training images `ids`. name: of
    the dataset, for load_dataset."""
    study = Study(name="advice", dataset=name, arms=(rung.arm(name),))
    train = dataset.train
    smallest = int(np.bincount(train.labels[ids], minlength=len(train.class_names)).min())
    return dataclasses.replace(trials_of(study)[0], label_budget=LabelBudget(max(smallest, 1)))


def training_alone(dataset: Dataset) -> Dataset:
    """The dataset without its test images: nothing of them can be looked at."""
    train = dataset.train
    nothing = image_set(train.images[:0], train.labels[:0], train.class_names)
    return dataclasses.replace(dataset, test=nothing)


class Heads:
    """Fits the probe of a rung on any of the training images, with the L2 that folds of these choose.

    folder: for checkpoints; a head writes none."""

    def __init__(self, rung: Rung, name: str, dataset: Dataset, folder: Path) -> None:
        self.rung, self.name, self.folder = rung, name, folder
        self.dataset, self.device = training_alone(dataset), default_device()

    @cached_property
    def features(self) -> Features:
        """Of all training images, from the cache where it has them."""
        return FeatureRequest(layers=self._layers, images=self.dataset.train).extract().features

    def mirrored(self, ids: Ids) -> Features:
        """Of these training images mirrored, in their order."""
        request = FeatureRequest(layers=self._layers, images=self.dataset.train, mirrored=True)
        return dataclasses.replace(request, ids=ids).extract("mirrored images").features

    def fit(self, learned: Ids) -> Head:
        """A function of features (N, D): logits float32 (N, C). learned: sorted."""
        trial = fold_trial(self.rung, self.name, self.dataset, learned)
        context = make_fold_context(trial, self.dataset, (learned, learned[:0]), self.folder, self.device)
        # heads on few rows: a second thread waits more than it works
        with use_threads(1), progress.quietly():
            return head_by_recipe(context, self.features)

    def logits(self, learned: Ids, judged: Ids) -> NDArray[np.float32]:
        """Of the images `judged`, from a head that learned from `learned`: float32 (M, C)."""
        return self.fit(learned)(np.asarray(self.features.values[judged]))

    @cached_property
    def _layers(self) -> FrozenLayers:
        everything = np.arange(len(self.dataset.train))
        trial = fold_trial(self.rung, self.name, self.dataset, everything)
        ids = (everything, everything[:0])
        return backbone_layers(make_fold_context(trial, self.dataset, ids, self.folder, self.device))
