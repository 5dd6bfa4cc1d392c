"""A frozen pretrained backbone with a new head: multinomial logistic regression on cached features.

The L2 is chosen on the 5,000 validation images where all labels are used, on folds inside the label budget from
5 labels a class up, and not at all below that (the recipe's default, written beforehand, is used).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart import features, metrics, progress
from headstart.data.splits import stratified_folds, validation_split
from headstart.logistic import LogisticFit, fit_path, predict_logits
from headstart.methods.base import Context, Outcome
from headstart.models import load_model
from headstart.recipes import ProbeRecipe
from headstart.types import Features, Predictions

_FOLDS = 5
_MINIMUM_FOR_SELECTION = 5  # labels a class


def run(context: Context) -> Outcome:
    """Extracts features (or finds them cached), selects the L2, fits the head and reads it on every part."""
    trial, recipe = context.trial, context.trial.arm.recipe
    assert isinstance(recipe, ProbeRecipe)
    train, test, mirrored = _features(context)
    context.watch.carry("features", sum(part.seconds for part in (train, test, mirrored)))
    values, labels = train.features.values, train.features.labels
    options: dict[str, Any] = {"num_classes": context.num_classes, "tolerance": recipe.tolerance,
                               "max_passes": recipe.max_passes, "device": str(context.device)}  # fmt: skip
    with context.watch.phase("select"):
        progress.say(f"{context.what}: choosing the L2")
        l2, table, spent = _select_l2(context, train.features, recipe, options)
    history: list[dict[str, float]] = []
    begun = context.watch.seconds["features"] + context.watch.seconds["select"]
    val_ids, dimension = context.val_ids, values.shape[1]
    count = len(context.train_ids)
    pass_flops = 3 * 2 * count * dimension * context.num_classes  # logits, then both gradient products
    start_flops = train.flops + test.flops + mirrored.flops + sum(fit.flops for fit in spent)

    started = time.perf_counter()

    def on_pass(_: float, number: int, loss: float, head: Any) -> None:
        weight, bias = head()
        if not weight.any():  # the solver's start: nothing is learned yet
            return
        row = {"epoch": float(number), "step": number, "seconds": begun + time.perf_counter() - started,
               "examples": number * count, "flops": start_flops + number * pass_flops, "train_loss": loss}  # fmt: skip
        if len(val_ids):
            logits = predict_logits(values, weight, bias, ids=val_ids)
            row["val_accuracy"] = metrics.accuracy(logits, labels[val_ids])
            row["val_nll"] = metrics.negative_log_likelihood(logits, labels[val_ids])
        history.append(row)

    with context.watch.phase("train"):
        (fit,) = fit_path(values, labels, l2_values=[l2], ids=context.train_ids, on_pass=on_pass, **options)
    with context.watch.phase("evaluate"):
        predictions = _read_all(context, fit, train.features, test.features, mirrored.features)
    head_flops = sum(part.flops for part in (*spent, fit))
    return Outcome(
        predictions=predictions, history=history, examples=sum(f.passes for f in (*spent, fit)) * count,
        flops=train.flops + test.flops + mirrored.flops + head_flops,
        state={"head.weight": torch.from_numpy(np.array(fit.weight)), "head.bias": torch.from_numpy(np.array(fit.bias))},
        architecture={"model": trial.arm.model, "weights": trial.arm.weights, "num_classes": context.num_classes,
                      "input_pixels": trial.arm.input_pixels, "trained": "head"},
        selected={"l2": l2, "validation_accuracy_by_l2": table, "converged": fit.converged, "passes": fit.passes},
        cached_seconds=sum(part.seconds for part in (train, test, mirrored) if part.was_cached),
    )  # fmt: skip


def _features(context: Context) -> tuple[features.Extraction, features.Extraction, features.Extraction]:
    """Of the training images, the test images and the mirrored test images."""
    arm = context.trial.arm
    model = load_model(arm.model, arm.weights, image_pixels=arm.input_pixels)
    options: dict[str, Any] = {"weights_hash": context.weights_hash, "precision": context.trial.feature_precision,
                               "device": context.device}  # fmt: skip
    data = context.dataset
    return (features.extract(model, data.train, what=f"{arm.model} features of the training images", **options),
            features.extract(model, data.test, what=f"{arm.model} features of the test images", **options),
            features.extract(model, data.test, mirrored=True, what=f"{arm.model} features of the mirrored test images",
                             **options))  # fmt: skip


def _select_l2(
    context: Context, train: Features, recipe: ProbeRecipe, options: Mapping[str, Any]
) -> tuple[float, dict[str, float], list[LogisticFit]]:
    """The L2 with the best accuracy on images that the fit did not see (ties: the smaller loss); accuracies; fits."""
    trial, values, labels = context.trial, train.values, train.labels
    budget = trial.labels_per_class
    if budget is not None and budget < _MINIMUM_FOR_SELECTION:
        return recipe.default_l2, {}, []
    if budget is None:
        fit_ids = np.setdiff1d(context.train_ids, context.val_ids)
        held_out = context.val_ids
        if not len(held_out):  # a refit: the choice is the one that the select phase made, on the same split
            fit_ids, held_out = validation_split(labels, context.dataset.train.fingerprint)
        splits = [(fit_ids, held_out)]
    else:
        splits = stratified_folds(labels, context.train_ids, _FOLDS, context.dataset.train.fingerprint, trial.seed)
    scores = np.zeros((len(recipe.l2_values), 2))
    spent: list[LogisticFit] = []
    held_out_count = sum(len(held_out) for _, held_out in splits)
    for fit_ids, held_out in splits:
        fits = fit_path(values, labels, l2_values=list(recipe.l2_values), ids=fit_ids, **options)
        spent += fits
        for place, fit in enumerate(fits):
            logits = predict_logits(values, fit.weight, fit.bias, ids=held_out)
            share = len(held_out) / held_out_count
            scores[place] += (share * metrics.accuracy(logits, labels[held_out]),
                              share * metrics.negative_log_likelihood(logits, labels[held_out]))  # fmt: skip
    best = max(range(len(scores)), key=lambda place: (round(scores[place, 0], 9), -scores[place, 1]))
    table = {f"{l2:g}": round(float(score), 6) for l2, score in zip(recipe.l2_values, scores[:, 0], strict=True)}
    return recipe.l2_values[best], table, spent


def _read_all(context: Context, fit: LogisticFit, train: Features, test: Features, mirrored: Features) -> dict[str, Predictions]:
    def logits(part: Features, ids: NDArray[np.int64] | None = None) -> np.ndarray:
        return predict_logits(part.values, fit.weight, fit.bias, ids=ids)

    parts = {name: Predictions(logits=logits(train, ids), labels=train.labels[ids], example_ids=ids)
             for name, ids in (("train", context.sample_ids), ("val", context.val_ids)) if len(ids)}  # fmt: skip
    plain = logits(test)
    parts["test"] = Predictions(logits=plain, labels=test.labels, example_ids=np.arange(len(test.labels)),
                                flip_logits=(plain + logits(mirrored)) / 2)  # fmt: skip
    return parts
