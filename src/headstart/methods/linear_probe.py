"""A frozen backbone with a new head: multinomial logistic regression on cached features."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.splits import class_weights
from headstart.methods.base import Context, Method, Outcome
from headstart.methods.frozen import frozen_features, read_all
from headstart.methods.selection import select, selection_splits
from headstart.recipes import LogisticRecipe
from headstart.results import metrics
from headstart.runtime import progress
from headstart.training.logistic import LogisticFit, SolverOptions, fit_path, predict_logits
from headstart.types import Features


def run(context: Context) -> Outcome:
    """Extracts features (or finds them cached), selects the L2, fits the head and reads it on every part."""
    trial, recipe = context.trial, context.trial.arm.recipe
    assert isinstance(recipe, LogisticRecipe)
    found = frozen_features(context)
    train = found.train.features
    with context.watch.phase("select"):
        progress.say(f"{context.what}: choosing the L2")
        l2, table, spent = select_l2(context, train, recipe)
    history: list[dict[str, float]] = []
    begun = context.watch.seconds["features"] + context.watch.seconds["select"]
    val_ids, labels = context.val_ids, train.labels
    count = len(context.train_ids)
    pass_flops = (
        3 * 2 * count * train.values.shape[1] * context.num_classes
    )  # logits, then both gradient products
    start_flops = found.flops + sum(fit.flops for fit in spent)

    started = time.perf_counter()

    def on_pass(_: float, number: int, loss: float, head: Any) -> None:
        weight, bias = head()
        if not weight.any():  # the solver's start: nothing is learned yet
            return
        row = {
            "epoch": float(number),
            "step": number,
            "seconds": begun + time.perf_counter() - started,
            "examples": number * count,
            "flops": start_flops + number * pass_flops,
            "train_loss": loss,
        }
        if len(val_ids):
            logits = predict_logits(train.values, weight, bias, ids=val_ids)
            row["val_accuracy"] = metrics.accuracy(logits, labels[val_ids])
            row["val_nll"] = metrics.negative_log_likelihood(logits, labels[val_ids])
        history.append(row)

    with context.watch.phase("train"):
        (fit,) = fit_path(
            train.values,
            labels,
            l2_values=[l2],
            ids=context.train_ids,
            num_classes=context.num_classes,
            options=dataclasses.replace(solver_options(context, recipe), on_pass=on_pass),
        )

    def logits(part: Features, ids: NDArray[np.int64] | None) -> NDArray[np.float32]:
        return predict_logits(part.values, fit.weight, fit.bias, ids=ids)

    with context.watch.phase("evaluate"):
        predictions = read_all(context, found, logits)
    return Outcome(
        predictions=predictions,
        history=history,
        examples=sum(f.passes for f in (*spent, fit)) * count,
        flops=start_flops + fit.flops,
        state={
            "head.weight": torch.from_numpy(np.array(fit.weight)),
            "head.bias": torch.from_numpy(np.array(fit.bias)),
        },
        architecture={
            "model": trial.arm.model,
            "weights": trial.arm.weights,
            "num_classes": context.num_classes,
            "input_pixels": trial.arm.input_pixels,
            "trained": "head",
        },
        selected={
            "l2": l2,
            "validation_accuracy_by_l2": table,
            "converged": fit.converged,
            "passes": fit.passes,
        },
        cached_seconds=found.cached_seconds,
    )


def solver_options(context: Context, recipe: LogisticRecipe) -> SolverOptions:
    """How every head of a trial is fitted."""
    labels = context.dataset.train.labels
    weights = (
        class_weights(labels[context.train_ids], context.num_classes)[labels] if recipe.balance else None
    )
    return SolverOptions(
        tolerance=recipe.tolerance,
        max_passes=recipe.max_passes,
        device=str(context.device),
        sample_weight=weights,
    )


def select_l2(
    context: Context, train: Features, recipe: LogisticRecipe
) -> tuple[float, dict[str, float], list[LogisticFit]]:
    """The L2 that selection.select chooses, each candidate's accuracy, and the fits that were made."""
    splits = selection_splits(context)
    if not splits:
        return recipe.default_l2, {}, []
    spent: list[LogisticFit] = []

    def logits_of(fit_ids: NDArray[np.int64], held_out: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        fits = fit_path(
            train.values,
            train.labels,
            l2_values=list(recipe.l2_values),
            ids=fit_ids,
            num_classes=context.num_classes,
            options=solver_options(context, recipe),
        )
        spent.extend(fits)
        return (predict_logits(train.values, fit.weight, fit.bias, ids=held_out) for fit in fits)

    best, scores = select(splits, train.labels, len(recipe.l2_values), logits_of)
    return (
        recipe.l2_values[best],
        {f"{l2:g}": score for l2, score in zip(recipe.l2_values, scores, strict=True)},
        spent,
    )


class LinearProbe(Method):
    def run(self, context: Context) -> Outcome:
        return run(context)
