"""Short measurements on this machine, from which the time of a study's trials is multiplied up."""

from __future__ import annotations

import time
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import torch

from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from headstart.methods import method_spec, network
from headstart.methods.base import Context
from headstart.models import load_model
from headstart.models.features import FrozenLayers
from headstart.models.inference import predict_logits
from headstart.recipes import TrainingRecipe
from headstart.studies.trial import SAMPLE_IMAGES, make_context
from headstart.training.durations import resolve_steps
from headstart.training.logistic import fit_path
from headstart.types import Arm, Dataset, Trial

_BATCHES = 3  # of features, after one to warm up
_ROWS = 2000  # of the head's solver
_IMAGES = 100  # corrupted, and passed through a whole network


class Timings:
    """Seconds of what trials do, each measured once.

    scratch: an empty folder for what a measurement writes."""

    def __init__(self, dataset: Dataset, device: torch.device, scratch: Path = Path(".")) -> None:
        self.dataset, self.device, self.scratch = dataset, device, scratch
        self._seconds: dict[Hashable, float] = {}
        self._steps: dict[Hashable, tuple[float, float] | None] = {}

    def trial(self, trial: Trial) -> float:
        """Seconds of a trial without its frozen features."""
        context = self.context(trial)
        fits = method_spec(trial.arm.method).implementation.head_fits(context)
        heads = fits * len(context.train_ids) * self.head_row(trial) if fits else 0.0
        return heads + self._training(context)

    def context(self, trial: Trial) -> Context:
        """The trial with its images, as it would run."""
        return make_context(trial, self.dataset, self.scratch, self.device)

    def _training(self, context: Context) -> float:
        """Seconds of the training steps, and of reading the network that they give."""
        arm, recipe, count = context.trial.arm, context.trial.arm.recipe, len(context.train_ids)
        if not isinstance(recipe, TrainingRecipe):
            return 0.0
        batch = min(recipe.batch_size, count)
        first_stage = getattr(recipe, "trainable_from", "")
        key = (
            arm.method,
            arm.model,
            arm.input_pixels,
            type(recipe),
            first_stage,
            batch,
            context.trial.precision,
        )
        if key not in self._steps:
            self._steps[key] = _step(context, batch)
        if (measured := self._steps[key]) is None:
            return 0.0
        step, flops = measured
        steps_per_epoch = -(-count // batch)
        steps = resolve_steps(recipe.duration, steps_per_epoch, lambda: step, flops)
        # A forward pass is about a third of a step. Both views of the test images and the training sample are
        # read, validation after every epoch.
        read = (
            2 * len(self.dataset.test)
            + min(count, SAMPLE_IMAGES)
            + len(context.val_ids) * (steps / steps_per_epoch + 1)
        )
        return steps * step + read * step / batch / 3

    def head_row(self, trial: Trial) -> float:
        """Seconds of one fit of a head, for each image that it is fitted on."""
        width = load_model(trial.arm.model, "none", image_pixels=trial.arm.input_pixels).feature_dim
        if ("head", width) not in self._seconds:
            classes = len(self.dataset.train.class_names)
            rng = np.random.default_rng(0)
            values = rng.standard_normal((_ROWS, width)).astype(np.float16)
            labels = np.arange(_ROWS, dtype=np.int64) % classes
            start = time.perf_counter()
            fits = fit_path(values, labels, l2_values=[0.03, 0.01], num_classes=classes)
            self._seconds["head", width] = (time.perf_counter() - start) / len(fits) / _ROWS
        return self._seconds["head", width]

    def forward(self, trial: Trial) -> float:
        """Seconds an image of a pass through a trial's whole network, as its saved model is read."""
        arm, method = trial.arm, method_spec(trial.arm.method)
        if method.frozen_backbone:
            layers = method.implementation.frozen_layers(self.context(trial))
            assert layers is not None
            return self.features(arm, layers)
        key = ("forward", arm.model, arm.input_pixels, getattr(arm.recipe, "widths", None), trial.precision)
        if key not in self._seconds:
            model = network.build_network(self.context(trial)).to(self.device)
            images = np.array(self.dataset.test.images[:_IMAGES])
            for _ in range(2):  # once to warm up
                start = time.perf_counter()
                predict_logits(model, images, device=self.device, precision=trial.precision)
                self._seconds[key] = (time.perf_counter() - start) / len(images)
        return self._seconds[key]

    def corrupting(self) -> float:
        """Seconds of an image's 75 corrupted copies."""
        if "corrupting" not in self._seconds:
            images = np.array(self.dataset.test.images[:_IMAGES])
            start = time.perf_counter()
            for name in CORRUPTIONS:
                corrupt(images, name, 3, np.random.default_rng(0))
            self._seconds["corrupting"] = len(SEVERITIES) * (time.perf_counter() - start) / len(images)
        return self._seconds["corrupting"]

    def features(self, arm: Arm, layers: FrozenLayers) -> float:
        """Seconds an image of an arm's frozen layers."""
        key = ("features", arm.model, arm.weights, arm.input_pixels, layers.cut, layers.precision)
        if key not in self._seconds:
            self._seconds[key] = layers.seconds_per_image(self.dataset.train, batches=_BATCHES)
        return self._seconds[key]


def _step(context: Context, batch: int) -> tuple[float, float] | None:
    """Seconds and operations of a training step of the trial; None where its method takes none."""
    timed = method_spec(context.trial.arm.method).implementation.training_step(context)
    if timed is None:
        return None
    step, batches = timed
    step.network.to(context.device).train()
    return step.seconds(batches), step.flops_per_example(batches) * batch
