"""The last stages or blocks of a pretrained network go on learning; what lies before is frozen and computed
once an image.

The frozen part's output is cached for the plain and the mirrored image, so that an epoch computes only what
learns.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.batches import ActivationBatches, StoredViews
from headstart.errors import ConfigError
from headstart.methods import network
from headstart.methods.base import Context, Method, Outcome
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.models.inference import forward_logits
from headstart.models.network import Network, Tail
from headstart.recipes import PartialRecipe
from headstart.runtime import progress
from headstart.store import cache_folder, require_space
from headstart.training.durations import Spent
from headstart.training.step import Step
from headstart.types import Predictions

BATCH = 250  # rows of activations evaluated at a time: 33 MB at the usual cut of ResNet-50 at 128 px


@dataclass(frozen=True, kw_only=True)
class Activations:
    """At the cut: of the trial's training and validation images (`ids`, sorted) and of the test images (None
    where no test is read), both views."""

    ids: NDArray[np.int64]
    plain: Extraction
    mirrored: Extraction
    test: Extraction | None
    test_mirrored: Extraction | None

    @property
    def all(self) -> tuple[Extraction, ...]:
        return tuple(
            part for part in (self.plain, self.mirrored, self.test, self.test_mirrored) if part is not None
        )

    @property
    def seconds(self) -> float:
        """Wall seconds of computing them, cold."""
        return math.fsum(part.seconds for part in self.all)

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.all)

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where images lie in `plain` and `mirrored`."""
        return np.searchsorted(self.ids, ids)


def run(context: Context) -> Outcome:
    """Computes the frozen part (or finds it cached), trains the rest and reads it on train sample, validation
    and test."""
    trial, recipe = context.trial, context.trial.arm.recipe
    assert isinstance(recipe, PartialRecipe)
    model, cut = build(context)
    activations = extract_activations(context, model, cut)
    context.watch.carry("features", activations.seconds)
    context.watch.carry_joules(part.joules for part in activations.all if part.was_cached)
    val_rows = activations.rows(context.val_ids)
    before = Spent(seconds=activations.seconds, flops=activations.flops)
    training = network.train_and_validate(
        context,
        tail_step(context, Tail(model, cut), recipe),
        make_batches(context, activations, recipe),
        lambda tail: _logits(context, tail, activations.plain, val_rows),
        before,
    )
    network.shift_history(training.history, before.seconds, before.flops)
    with context.watch.phase("evaluate"):
        predictions = _read_all(context, training.network, activations)
    state = training.network.state_dict()
    return Outcome(
        predictions=predictions,
        history=training.history,
        examples=training.examples,
        flops=training.flops + before.flops,
        state={name.removeprefix("network."): value for name, value in state.items()},
        architecture={
            "model": trial.arm.model,
            "weights": trial.arm.weights,
            "num_classes": context.num_classes,
            "input_pixels": trial.arm.input_pixels,
            "trained": recipe.trainable_from,
        },
        cached_seconds=math.fsum(part.seconds for part in activations.all if part.was_cached),
    )


def _read_all(context: Context, tail: Network, activations: Activations) -> dict[str, Predictions]:
    """Predictions on the training sample, validation (where there is one) and test (both views)."""
    train, test = context.dataset.train, context.dataset.test
    predictions = {
        part: Predictions(
            logits=_logits(context, tail, activations.plain, activations.rows(ids)),
            labels=train.labels[ids],
            example_ids=ids,
        )
        for part, ids in (("train", context.sample_ids), ("val", context.val_ids))
        if len(ids)
    }
    if activations.test is not None and activations.test_mirrored is not None:
        rows = np.arange(len(test))
        plain = _logits(context, tail, activations.test, rows)
        mirrored = _logits(context, tail, activations.test_mirrored, rows)
        predictions["test"] = Predictions(
            logits=plain,
            labels=test.labels,
            example_ids=rows,
            flip_logits=(plain + mirrored) * np.float32(0.5),
        )
    return predictions


def _logits(
    context: Context, tail: Network, part: Extraction, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Logits float32 (len(rows), C) of stored activations, in the trial's precision."""
    inputs = _inputs(part, rows, context)
    return forward_logits(tail, inputs, device=context.device, precision=context.trial.precision)


def build(context: Context) -> tuple[Network, str]:
    """The arm's network with a head at zero and the recipe's freezing policy, and the cut behind its frozen
    part.

    Raises: ConfigError where there is no such stage, or nothing before it."""
    recipe = context.trial.arm.recipe
    assert isinstance(recipe, PartialRecipe)
    model = network.build_network(context)
    network.set_policy(model, recipe, recipe.trainable_from)
    network.zero_head(model)
    cut = model.cut_before(recipe.trainable_from)
    if cut is None:
        raise ConfigError(
            f"recipe field 'trainable_from': nothing comes before {recipe.trainable_from!r} to be frozen; "
            'use method "finetune"'
        )
    return model, cut


def extract_activations(context: Context, model: Network, cut: str) -> Activations:
    """All four parts, from the cache or computed now, in the trial's own precision. The disk they need is
    said beforehand.

    Raises: StoreError where the disk has less free."""
    train, test = context.dataset.train, context.dataset.test
    requests = activation_requests(context, model, cut)
    missing = sum(request.missing_bytes() for request in requests)
    ids = np.union1d(context.train_ids, context.val_ids)
    name = context.trial.arm.model
    if missing:
        what = (
            f"the output of {name} at {cut} for {len(ids):,} training and {len(test):,} test images, both "
            "sides,"
        )
        progress.say(f"{what} takes {missing / 1e9:.2f} GB in {cache_folder()}")
        require_space(cache_folder(), missing, what)
    plain, mirrored, *of_test = (
        request.extract(
            f"{name} to {cut}, {'mirrored ' if request.mirrored else ''}"
            f"{'training' if request.images is train else 'test'} images"
        )
        for request in requests
    )
    test_plain, test_mirrored = of_test or (None, None)
    return Activations(ids=ids, plain=plain, mirrored=mirrored, test=test_plain, test_mirrored=test_mirrored)


def activation_requests(context: Context, model: Network, cut: str) -> list[FeatureRequest]:
    """The activations at the cut that a trial needs: of its training and validation images, then of the test
    images where they are read, each in both views."""
    train, test = context.dataset.train, context.dataset.test
    ids = np.union1d(context.train_ids, context.val_ids)
    layers = FrozenLayers(network=model, precision=context.trial.precision, device=context.device, cut=cut)
    # all labels: the same files for every seed
    own = FeatureRequest(layers=layers, images=train, ids=None if len(ids) == len(train) else ids)
    requests = [own, dataclasses.replace(own, mirrored=True)]
    if context.reads_test:
        of_test = FeatureRequest(layers=layers, images=test)
        requests += [of_test, dataclasses.replace(of_test, mirrored=True)]
    return requests


def make_batches(context: Context, activations: Activations, recipe: PartialRecipe) -> ActivationBatches:
    """The trial's training images at the cut, in the order and with the sides that ImageBatches would give
    them."""
    labels = torch.from_numpy(context.dataset.train.labels[context.train_ids]).to(context.device)
    views = StoredViews(
        plain=activations.plain.features.values,
        mirrored=activations.mirrored.features.values,
        rows=activations.rows(context.train_ids),
    )
    return ActivationBatches(
        views, labels, batch_size=recipe.batch_size, seed=context.trial.seed, flip=recipe.flip
    )


def tail_step(context: Context, tail: Tail, recipe: PartialRecipe) -> Step:
    """A step on activations as make_batches has them."""
    device, precision = context.device, context.trial.precision
    return Step(
        network=tail,
        recipe=recipe,
        prepare=lambda activations: network_input(activations, device, precision),
        device=device,
        precision=precision,
    )


def network_input(activations: Tensor, device: torch.device, precision: str) -> Tensor:
    """Stored activations float16 (B, H, W, C) or (B, D) as a network computes on them: (B, C, H, W), channels
    last."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    x = activations.to(device, dtype)
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _inputs(part: Extraction, rows: NDArray[np.int64], context: Context) -> Iterator[Tensor]:
    for start in range(0, len(rows), BATCH):
        batch = np.array(part.features.values[rows[start : start + BATCH]])
        yield network_input(torch.from_numpy(batch), context.device, context.trial.precision)


class Partial(Method):
    def run(self, context: Context) -> Outcome:
        return run(context)
