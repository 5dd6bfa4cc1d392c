"""The last stages or blocks of a pretrained network learn on; what lies before them is frozen and computed
once for each image.

The frozen part's output is cached for the plain and the mirrored image, so that an epoch computes only what
learns.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.batches import ActivationBatches, StoredViews
from headstart.data.splits import Ids
from headstart.errors import ConfigError
from headstart.methods import network
from headstart.methods.base import Context, Method, Outcome
from headstart.methods.frozen import FrozenOutputs, backbone_tensors, saved_backbone
from headstart.methods.reading import Part, read_parts
from headstart.methods.trained import Images, Reader, TrainedModel
from headstart.methods.trained import batches as image_batches
from headstart.models import features
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.models.inference import forward_logits
from headstart.models.network import Network, Tail
from headstart.recipes import PartialRecipe
from headstart.runtime import progress
from headstart.store import cache_folder, require_space
from headstart.training.durations import Spent
from headstart.training.step import Batches, Step
from headstart.types import Features

BATCH = 250  # rows of activations evaluated at a time: 33 MB at the usual cut of ResNet-50 at 128 px


class Partial(Method):
    """The last stages of a pretrained network learn, on cached activations of the frozen rest."""

    def run(self, context: Context) -> Outcome:
        """Compute the frozen part (or find it cached), train the rest and read it on train sample, validation
        and test."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, PartialRecipe)
        model, cut = build(context)
        activations = extract_activations(context, model, cut)
        activations.count_in(context)
        before = Spent(seconds=activations.seconds, flops=activations.flops)
        batches = make_batches(context, activations, recipe)
        val_rows = activations.rows(context.val_ids)
        training = network.train_and_validate(
            context,
            tail_step(context, Tail(model, cut), recipe),
            batches,
            lambda tail: _logits(context, tail, activations.train.features, val_rows),
            before,
        )
        network.shift_history(training.history, before.seconds, before.flops)

        def logits_of(part: Part, ids: Ids | None) -> NDArray[np.float32]:
            outputs = activations.of(part)
            rows = np.arange(len(outputs.labels)) if ids is None else activations.rows(ids)
            return _logits(context, training.network, outputs, rows)

        with context.watch.phase("evaluate"):
            predictions = read_parts(context, logits_of)
        state = training.network.state_dict()
        return Outcome(
            predictions=predictions,
            history=training.history,
            examples=training.examples,
            flops=training.flops + before.flops,
            state={name.removeprefix("network."): value for name, value in state.items()},
            architecture={**context.described_network, "trained": recipe.trainable_from},
            cached_seconds=activations.cached_seconds,
        )

    def frozen_layers(self, context: Context) -> FrozenLayers:
        return frozen_part(context, *build(context))

    def feature_requests(self, context: Context, layers: FrozenLayers) -> list[FeatureRequest]:
        return activation_requests(context, layers)

    def training_step(self, context: Context) -> tuple[Step, Batches]:
        """A step on random activations: none are computed for it."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, PartialRecipe)
        model, cut = build(context)
        shape, _ = frozen_part(context, model, cut).outline(context.dataset.train)
        ids = context.train_ids[: recipe.batch_size]
        values = np.random.default_rng(0).random((len(ids), *shape), dtype=np.float32).astype(np.float16)
        views = StoredViews(plain=values, mirrored=values, rows=np.arange(len(ids)))
        labels = torch.from_numpy(context.dataset.train.labels[ids]).to(context.device)
        batches = ActivationBatches(views, labels, batch_size=len(ids), seed=0)
        return tail_step(context, Tail(model, cut), recipe), batches

    def batch_size(self, model: TrainedModel) -> int:
        return features.BATCH

    def backbone_state(self, model: TrainedModel) -> dict[str, Tensor]:
        return backbone_tensors(model)

    def network(self, model: TrainedModel) -> Network:
        network = saved_backbone(model, num_classes=model.num_classes)
        network.load_state_dict(network.state_dict() | model.own_state)  # the trained tail over the rest
        return network.eval()

    def reader(self, model: TrainedModel) -> Reader:
        network, device = self.network(model), model.device
        cut = network.cut_before(model.saved.architecture["trained"])
        assert cut is not None  # a partial trial has frozen layers
        layers = FrozenLayers(network=network, precision=model.precision, device=device, cut=cut)
        row_of = layers.row_function()
        tail = Tail(copy.deepcopy(network), cut).to(device)

        def read(images: Images, batch_size: int) -> NDArray[np.float32]:
            tail_batch = BATCH if batch_size == features.BATCH else batch_size
            activations = _regroup((row_of(batch) for batch in image_batches(images, batch_size)), tail_batch)
            inputs = (network_input(torch.from_numpy(part), device, model.precision) for part in activations)
            return forward_logits(tail, inputs, device=device, precision=model.precision)

        return read


@dataclass(frozen=True, kw_only=True)
class Activations(FrozenOutputs):
    """Activations at the cut; `train` has those of the trial's training and validation images (`ids`,
    sorted), `mirrored_train` those of their mirror images."""

    ids: Ids
    mirrored_train: Extraction

    @property
    def all(self) -> list[Extraction]:
        """Every extraction that was made."""
        return [self.train, self.mirrored_train, *super().all[1:]]

    def rows(self, ids: Ids) -> Ids:
        """The rows of training images in `train` and `mirrored_train`."""
        return np.searchsorted(self.ids, ids)


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
    """The activations of all parts, from the cache or computed now, in the trial's own precision.

    Says beforehand how much disk they need. Raises: StoreError where less is free."""
    train, test = context.dataset.train, context.dataset.test
    requests = activation_requests(context, frozen_part(context, model, cut))
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
    train_plain, train_mirrored, *of_test = (
        request.extract(
            f"{name} to {cut}, {'mirrored ' if request.mirrored else ''}"
            f"{'training' if request.images is train else 'test'} images"
        )
        for request in requests
    )
    test_plain, test_mirrored = of_test or (None, None)
    return Activations(
        ids=ids,
        train=train_plain,
        mirrored_train=train_mirrored,
        test=test_plain,
        mirrored_test=test_mirrored,
    )


def frozen_part(context: Context, model: Network, cut: str) -> FrozenLayers:
    """The network up to the cut, in the trial's own precision."""
    return FrozenLayers(network=model, precision=context.trial.precision, device=context.device, cut=cut)


def activation_requests(context: Context, layers: FrozenLayers) -> list[FeatureRequest]:
    """The activations that a trial needs: of its training and validation images, then of the test
    images where they are read, each in both views."""
    train, test = context.dataset.train, context.dataset.test
    ids = np.union1d(context.train_ids, context.val_ids)
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
        plain=activations.train.features.values,
        mirrored=activations.mirrored_train.features.values,
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


def _logits(context: Context, tail: Network, activations: Features, rows: Ids) -> NDArray[np.float32]:
    """The tail's logits, float32 (len(rows), C), of rows of activations."""
    device, precision = context.device, context.trial.precision

    def inputs() -> Iterator[Tensor]:
        for start in range(0, len(rows), BATCH):
            batch = np.array(activations.values[rows[start : start + BATCH]])
            yield network_input(torch.from_numpy(batch), device, precision)

    return forward_logits(tail, inputs(), device=device, precision=precision)


def _regroup(parts: Iterable[NDArray[np.float16]], size: int) -> Iterator[NDArray[np.float16]]:
    """The same rows in blocks of `size`: the tail was evaluated in other batches than the frozen part."""
    held: list[NDArray[np.float16]] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= size:
            block = np.concatenate(held)
            full = count - count % size
            yield from (block[start : start + size] for start in range(0, full, size))
            held, count = [block[full:]], count - full
    if count:
        yield np.concatenate(held)
