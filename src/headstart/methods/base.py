"""Method, which every method derives from, with what it takes (Context) and returns (Outcome)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.methods.trained import Reader, TrainedModel
from headstart.models import Network
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.runtime.cost import Stopwatch
from headstart.training.step import Batches, Step
from headstart.types import Dataset, Predictions, Trial


@dataclass(frozen=True, kw_only=True)
class Context:
    """A trial with its data.

    train_ids, val_ids: int64 positions in dataset.train, disjoint, sorted; val_ids is empty where nothing may
    be selected on validation (label budgets, refits). sample_ids: the training images on which training
    accuracy is read. dataset.test is empty where there is nothing to test: then nothing of it is read.
    folder: the run folder, for checkpoints.
    watch: phases of wall time are measured with it."""

    trial: Trial
    dataset: Dataset
    train_ids: NDArray[np.int64]
    val_ids: NDArray[np.int64]
    sample_ids: NDArray[np.int64]
    folder: Path
    device: torch.device
    watch: Stopwatch

    @property
    def num_classes(self) -> int:
        return len(self.dataset.train.class_names)

    @property
    def reads_test(self) -> bool:
        """Whether there are test images: a trial has them, a search trial and an estimator have none."""
        return len(self.dataset.test) > 0

    @property
    def watches_validation(self) -> bool:
        """Whether validation is read after every epoch, for curves; a search trial is read once, at its
        end."""
        return len(self.val_ids) > 0 and self.reads_test

    @property
    def described_network(self) -> dict[str, Any]:
        """What every stored architecture says of the arm's network."""
        arm = self.trial.arm
        return {
            "model": arm.model,
            "weights": arm.weights,
            "num_classes": self.num_classes,
            "input_pixels": arm.input_pixels,
        }

    @property
    def what(self) -> str:
        """The trial in a few words, for progress lines."""
        return f"{self.trial.arm.label}, {self.trial.label_budget.plain_words}, seed {self.trial.seed}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a method learned, and its predictions.

    predictions: by part, "train" (the sample), "val", "test"; each is absent where empty. state: tensors to
    keep. architecture: what rebuilds the network around them. examples, flops: see types.Cost; flops include
    frozen layers."""

    predictions: Mapping[str, Predictions]
    history: list[dict[str, float]]
    examples: int
    flops: int
    state: Mapping[str, Tensor]
    architecture: Mapping[str, Any]
    selected: Mapping[str, Any] = field(default_factory=dict)
    cached_seconds: float = 0.0  # of watch's seconds, those that an earlier trial had spent


class Method(ABC):
    """The half of a method that computes; its entry in METHODS says the rest."""

    @abstractmethod
    def run(self, context: Context) -> Outcome:
        """Learn from the trial's images, and read what was learned on train sample, validation and test."""

    @abstractmethod
    def reader(self, model: TrainedModel) -> Reader:
        """The saved model as a function (images uint8 (N, S, S, 3), batch size) -> logits float32 (N, C).

        At the batch size, precision and threads of its evaluation, the bits are those that were evaluated."""

    @abstractmethod
    def batch_size(self, model: TrainedModel) -> int:
        """Images that the evaluation passed through the network at a time."""

    def network(self, model: TrainedModel) -> Network:
        """The saved model as one differentiable float32 network on the CPU, in eval mode, that carries its
        preprocessing. Not called where the method's entry says that it is none (is_network)."""
        raise NotImplementedError

    def frozen_layers(self, context: Context) -> FrozenLayers | None:
        """The frozen layers whose outputs the trial reads, the same for every trial of an arm; None: it reads
        none."""
        return None

    def feature_requests(self, context: Context, layers: FrozenLayers) -> list[FeatureRequest]:
        """What the trial reads of these layers, for planning."""
        return []

    def training_step(self, context: Context) -> tuple[Step, Batches] | None:
        """A step as the trial takes it, with a batch of its images, to be timed; None: it takes no steps."""
        return None

    def head_fits(self, context: Context) -> int:
        """How many logistic regressions on all of its training features the trial fits."""
        return 0

    def backbone_state(self, model: TrainedModel) -> dict[str, Tensor]:
        """The tensors of the pretrained network that the model uses and does not store, under the prefix
        trained.BACKBONE; empty where it stores all."""
        return {}

    def complete_state(self, model: TrainedModel) -> dict[str, Tensor]:
        """The tensors that answer without the cache of features."""
        return dict(model.state)
