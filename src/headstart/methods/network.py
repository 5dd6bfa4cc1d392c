"""Training a whole network on images and reading it: shared by `scratch`, `finetune` and `lp_ft`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.batches import ImageBatches
from headstart.data.splits import Ids
from headstart.errors import ConfigError, WeightsError
from headstart.methods.base import Context, Method, Outcome
from headstart.methods.reading import Part, read_parts
from headstart.methods.trained import Reader, TrainedModel
from headstart.models import Network, load_model, preprocessing_of, rebuild_model
from headstart.models.inference import batch_for, predict_logits
from headstart.models.preprocessing import preprocess
from headstart.recipes import CNNRecipe, TrainingRecipe, TransferRecipe
from headstart.results import metrics
from headstart.runtime.seeding import seed_for
from headstart.training.durations import Spent
from headstart.training.loop import Training, train
from headstart.training.step import Batches, Step


def build_network(context: Context) -> Network:
    """The arm's network with its weights and a head for the trial's classes; random parts are drawn from the
    trial's seed."""
    arm = context.trial.arm
    keeps_size = preprocessing_of(arm.model, arm.weights).size_pixels is None
    options: dict[str, Any] = {}
    if isinstance(recipe := arm.recipe, CNNRecipe):
        options = {
            "widths": recipe.widths,
            "activation": recipe.activation,
            "norm_momentum": recipe.norm_momentum,
        }
    return load_model(
        arm.model,
        arm.weights,
        num_classes=context.num_classes,
        seed=seed_for(context.trial.seed, "weights"),
        image_pixels=arm.input_pixels or (context.dataset.train.images.shape[1] if keeps_size else None),
        **options,
    )


def zero_head(model: Network) -> None:
    """Sets the new head to zero: the first gradients of the backbone are then zero too, not those of a random
    head."""
    nn.init.zeros_(model.classifier.weight)
    if model.classifier.bias is not None:
        nn.init.zeros_(model.classifier.bias)


def set_policy(model: Network, recipe: TrainingRecipe, trainable_from: str = "stem") -> None:
    """Freezes what a recipe freezes: layers before `trainable_from`, and BatchNorm statistics where it says
    so.

    Raises: ConfigError for a stage that the network does not have, or a network that cannot be frozen in
    part."""
    keep = isinstance(recipe, TransferRecipe) and recipe.batchnorm == "frozen"
    try:
        model.set_trainable(trainable_from, keep_statistics=keep)
    except ValueError as error:
        raise ConfigError(f"recipe field 'trainable_from': {error}") from error


def first_inputs(context: Context, model: Network, count: int) -> Tensor:
    """The trial's first training images as the network's input, float32 (count, 3, S, S), on the device."""
    pixels = np.ascontiguousarray(context.dataset.train.images[context.train_ids[:count]])
    return preprocess(pixels, model.preprocessing, device=context.device)


def image_batches(context: Context, recipe: TrainingRecipe) -> ImageBatches:
    """The trial's training images on the device, to be augmented in their own size."""
    train_set = context.dataset.train
    images = torch.from_numpy(np.ascontiguousarray(train_set.images[context.train_ids])).to(context.device)
    labels = torch.from_numpy(train_set.labels[context.train_ids]).to(context.device)
    return ImageBatches(
        images,
        labels,
        batch_size=recipe.batch_size,
        seed=context.trial.seed,
        flip=recipe.flip,
        translate_pixels=recipe.translate_pixels,
    )


def train_on_images(
    context: Context, model: Network, recipe: TrainingRecipe, spent: Spent | None = None
) -> Training:
    """Trains on the trial's images, augmented in their own size, then resized on the device; validates after
    each epoch.

    spent: before this, by the same trial."""
    with context.watch.phase("prepare"):
        batches = image_batches(context, recipe)
    val_images = context.dataset.train.images[context.val_ids]

    def val_logits(network: Network) -> NDArray[np.float32]:
        return predict_logits(network, val_images, device=context.device, precision=context.trial.precision)

    return train_and_validate(context, image_step(context, model, recipe), batches, val_logits, spent)


def image_step(context: Context, model: Network, recipe: TrainingRecipe) -> Step:
    """A step on images as image_batches has them."""
    device = context.device
    return Step(
        network=model,
        recipe=recipe,
        prepare=lambda images: preprocess(images, model.preprocessing, device=device),
        device=device,
        precision=context.trial.precision,
    )


def train_and_validate(
    context: Context,
    step: Step,
    batches: Batches,
    val_logits: Callable[[Network], NDArray[np.float32]],
    spent: Spent | None = None,
) -> Training:
    """Trains with a checkpoint in the run folder; validates after each epoch where the trial watches
    validation.

    val_logits: a network's logits of the validation images, float32 (N, C). spent: before this, by the same
    trial."""
    labels = context.dataset.train.labels[context.val_ids]

    def evaluate(network: Network) -> dict[str, float]:
        logits = val_logits(network)
        return {
            "val_accuracy": metrics.accuracy(logits, labels),
            "val_nll": metrics.negative_log_likelihood(logits, labels),
        }

    training = train(
        step,
        batches,
        checkpoint=context.folder / "checkpoint.safetensors",
        evaluate=evaluate if context.watches_validation else None,
        spent=spent,
        what=context.what,
    )
    context.watch.carry("train", training.seconds)
    context.watch.carry("validate", training.watch_seconds)
    return training


def read_network(context: Context, training: Training) -> Outcome:
    """The outcome of a trained network, read on the training sample, validation and test (both views)."""

    def logits_of(part: Part, ids: Ids | None) -> NDArray[np.float32]:
        images = (context.dataset.train if part == "train" else context.dataset.test).images
        return predict_logits(
            training.network,
            images if ids is None else images[ids],
            device=context.device,
            precision=context.trial.precision,
            mirrored=part == "mirrored test",
        )

    with context.watch.phase("evaluate"):
        predictions = read_parts(context, logits_of)
    return Outcome(
        predictions=predictions,
        history=training.history,
        examples=training.examples,
        flops=training.flops,
        state=training.network.state_dict(),
        architecture=_architecture(context),
    )


def shift_history(history: list[dict[str, float]], seconds: float, flops: int) -> None:
    """Adds to each row what was spent before training began: frozen features and a head fitted on them."""
    for row in history:
        row["seconds"] += seconds
        row["flops"] += flops


def _architecture(context: Context) -> dict[str, Any]:
    arm = context.trial.arm
    architecture: dict[str, Any] = {
        "model": arm.model,
        "num_classes": context.num_classes,
        "input_pixels": arm.input_pixels,
        "weights": arm.weights,
    }
    if isinstance(arm.recipe, CNNRecipe):
        architecture |= {
            "widths": list(arm.recipe.widths),
            "activation": arm.recipe.activation,
            "image_pixels": int(context.dataset.train.images.shape[1]),
        }
    return architecture


class NetworkMethod(Method):
    """A method whose saved model is a whole trained network."""

    def reader(self, model: TrainedModel) -> Reader:
        network = self.network(model).to(model.device)
        return lambda images, batch_size: predict_logits(
            network, images, device=model.device, precision=model.precision, batch_size=batch_size
        )

    def batch_size(self, model: TrainedModel) -> int:
        return batch_for(model.saved.input_pixels)

    def training_step(self, context: Context) -> tuple[Step, Batches]:
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, TrainingRecipe)
        model = build_network(context)
        set_policy(model, recipe)
        first = dataclasses.replace(context, train_ids=context.train_ids[: recipe.batch_size])
        return image_step(context, model, recipe), image_batches(first, recipe)

    def network(self, model: TrainedModel) -> Network:
        saved = model.saved
        try:
            return rebuild_model(
                saved.model,
                model.state,
                saved.preprocessing,
                image_pixels=saved.input_pixels,
                **saved.network_options,
            )
        except (KeyError, TypeError, ValueError) as error:  # of the constructor: its description is damaged
            raise WeightsError(
                f"the description of the model in {saved.folder} gives no {saved.model} "
                f"({type(error).__name__}: {str(error)[:200]}); take another copy of it"
            ) from error
