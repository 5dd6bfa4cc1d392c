"""A linear probe first, then fine-tuning from it: the head starts where frozen features put it."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import torch

from headstart import store
from headstart.methods import network
from headstart.methods.base import Context, Method, Outcome
from headstart.methods.frozen import training_features
from headstart.methods.linear_probe import select_l2, solver_options
from headstart.models import Network
from headstart.recipes import LogisticRecipe, LPFTRecipe
from headstart.runtime import progress
from headstart.training.durations import Spent
from headstart.training.logistic import LogisticFit, fit_path
from headstart.types import Features


def run(context: Context) -> Outcome:
    """Fits the probe on cached features, fine-tunes from it, and reads the network on train sample,
    validation and test."""
    recipe = context.trial.arm.recipe
    assert isinstance(recipe, LPFTRecipe)
    found = training_features(context)
    context.watch.carry("features", found.seconds)
    context.watch.carry_joules([found.joules] if found.was_cached else [])
    head = _head(context, found.features, recipe)
    context.watch.carry("select", head.seconds)
    with context.watch.phase("prepare"):
        model = start_from(context, head.fit)
        network.set_policy(model, recipe)
    head_flops = found.flops + head.flops
    before = Spent(seconds=found.seconds + context.watch.seconds["select"], flops=head_flops)
    outcome = network.read_network(context, network.train_on_images(context, model, recipe, before))
    network.shift_history(outcome.history, before.seconds, before.flops)
    return dataclasses.replace(
        outcome,
        flops=outcome.flops + head_flops,
        cached_seconds=found.seconds if found.was_cached else 0.0,
        selected={"l2": head.l2, "validation_accuracy_by_l2": head.table, "converged": head.fit.converged},
    )


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The head to start from, the L2 that was chosen for it, every candidate's accuracy, and what all of it
    cost."""

    fit: LogisticFit
    l2: float
    table: dict[str, float]
    flops: int
    seconds: float


# Tries of a search differ in what comes after: the heads of its folds are fitted once. Their seconds count in
# every try.
_HEADS: dict[str, _Head] = {}
_MOST_HEADS = 5


def _head(context: Context, train: Features, recipe: LPFTRecipe) -> _Head:
    regression = [getattr(recipe, name) for name in LogisticRecipe.model_fields]
    key = store.digest(
        [
            train.key,
            train.labels.tolist(),
            context.train_ids.tolist(),
            context.val_ids.tolist(),
            context.trial.label_budget.per_class,
            context.trial.seed,
            str(context.device),
            regression,
        ]
    )
    if key in _HEADS:
        return _HEADS[key]
    progress.say(f"{context.what}: fitting the head to start from")
    start = time.perf_counter()
    l2, table, spent = select_l2(context, train, recipe)
    (fit,) = fit_path(
        train.values,
        train.labels,
        num_classes=context.num_classes,
        l2_values=[l2],
        ids=context.train_ids,
        options=solver_options(context, recipe),
    )
    flops = sum(part.flops for part in (*spent, fit))
    head = _Head(fit=fit, l2=l2, table=table, flops=flops, seconds=time.perf_counter() - start)
    if len(_HEADS) == _MOST_HEADS:
        _HEADS.pop(next(iter(_HEADS)))
    _HEADS[key] = head
    return head


def start_from(context: Context, fit: LogisticFit) -> Network:
    """The arm's network with the probe as its head: its logits are the probe's."""
    model = network.build_network(context)
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(fit.weight))
        model.classifier.bias.copy_(torch.from_numpy(fit.bias))
    return model


class LPFT(Method):
    def run(self, context: Context) -> Outcome:
        return run(context)
