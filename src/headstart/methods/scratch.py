"""Training from random weights, all layers, end to end."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from headstart import metrics
from headstart.data.batches import ImageBatches
from headstart.inference import predict_logits
from headstart.methods.base import Context, Outcome
from headstart.models import load_model
from headstart.models.cnn import CNN
from headstart.models.preprocess import preprocess, preprocessing_carried_by
from headstart.recipes import CNNRecipe, TrainingRecipe
from headstart.seeding import seed_for
from headstart.training import train
from headstart.types import Predictions

_WHITENING_IMAGES = 5000


def run(context: Context) -> Outcome:
    """Trains the arm's model on the trial's images and reads it on train sample, validation and test."""
    trial, recipe, device = context.trial, context.trial.arm.recipe, context.device
    assert isinstance(recipe, TrainingRecipe)
    train_set = context.dataset.train
    with context.watch.phase("prepare"):
        images = torch.from_numpy(np.ascontiguousarray(train_set.images[context.train_ids])).to(device)
        labels = torch.from_numpy(train_set.labels[context.train_ids]).to(device)
        model = build_network(context)
    batches = ImageBatches(
        images, labels, batch_size=recipe.batch_size, seed=trial.seed, flip=recipe.flip,
        translate_pixels=recipe.translate_pixels,
    )  # fmt: skip

    def prepare(batch: Tensor) -> Tensor:
        return preprocess(batch, preprocessing_carried_by(model), device=device)

    def evaluate(current: nn.Module) -> dict[str, float]:
        logits = predict_logits(current, val_images, device=device, precision=trial.precision)
        return {"val_accuracy": metrics.accuracy(logits, val_labels),
                "val_nll": metrics.negative_log_likelihood(logits, val_labels)}  # fmt: skip

    val_images, val_labels = train_set.images[context.val_ids], train_set.labels[context.val_ids]
    with context.watch.phase("prepare"):
        if isinstance(model, CNN):
            model.fit_whitening(prepare(images[:_WHITENING_IMAGES]))
    done = train(
        model, batches, recipe, prepare=prepare, device=device, precision=trial.precision,
        checkpoint=context.folder / "checkpoint.safetensors", evaluate=evaluate if len(val_labels) else None, what=context.what,
    )  # fmt: skip
    context.watch.carry("train", done.seconds)
    context.watch.carry("validate", done.watch_seconds)
    with context.watch.phase("evaluate"):
        predictions = read_all(done.model, context)
    return Outcome(
        predictions=predictions, history=done.history, examples=done.examples, flops=done.flops,
        state=done.model.state_dict(), architecture=architecture(context),
    )  # fmt: skip


def build_network(context: Context) -> nn.Module:
    """The arm's network with this trial's random start."""
    arm = context.trial.arm
    options = {"widths": arm.recipe.widths} if isinstance(arm.recipe, CNNRecipe) else {}
    return load_model(
        arm.model, arm.weights, num_classes=context.num_classes, seed=seed_for(context.trial.seed, "weights"),
        image_pixels=arm.input_pixels or (context.dataset.train.images.shape[1] if arm.model == "cnn" else None), **options,
    )  # fmt: skip


def architecture(context: Context) -> dict:
    arm = context.trial.arm
    found = {"model": arm.model, "num_classes": context.num_classes, "input_pixels": arm.input_pixels}
    if isinstance(arm.recipe, CNNRecipe):
        found |= {"widths": list(arm.recipe.widths), "image_pixels": int(context.dataset.train.images.shape[1])}
    return found


def read_all(model: nn.Module, context: Context) -> dict[str, Predictions]:
    """Predictions on the training sample, validation (where there is one) and test (both views)."""
    train_set, test_set = context.dataset.train, context.dataset.test

    def logits(images: np.ndarray, mirrored: bool = False) -> np.ndarray:
        return predict_logits(model, images, device=context.device, precision=context.trial.precision, mirrored=mirrored)

    parts = {}
    for part, ids in (("train", context.sample_ids), ("val", context.val_ids)):
        if len(ids):
            parts[part] = Predictions(logits=logits(train_set.images[ids]), labels=train_set.labels[ids], example_ids=ids)
    plain = logits(test_set.images)
    parts["test"] = Predictions(
        logits=plain, labels=test_set.labels, example_ids=np.arange(len(test_set)),
        flip_logits=(plain + logits(test_set.images, mirrored=True)) / 2,
    )  # fmt: skip
    return parts
