"""A linear probe first, then fine-tuning from it: the head starts where frozen features put it."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from headstart import progress
from headstart.logistic import LogisticFit, fit_path
from headstart.methods import network
from headstart.methods.base import Context, Outcome
from headstart.methods.frozen import training_features
from headstart.methods.linear_probe import select_l2, solver_options
from headstart.recipes import LPFTRecipe
from headstart.training import Spent


def run(context: Context) -> Outcome:
    """Fits the probe on cached features, fine-tunes from it, and reads the network on train sample, validation and test."""
    recipe = context.trial.arm.recipe
    assert isinstance(recipe, LPFTRecipe)
    found = training_features(context)
    context.watch.carry("features", found.seconds)
    train = found.features
    with context.watch.phase("select"):
        progress.say(f"{context.what}: fitting the head to start from")
        l2, table, spent = select_l2(context, train, recipe)
        (fit,) = fit_path(train.values, train.labels, l2_values=[l2], ids=context.train_ids, **solver_options(context, recipe))
    with context.watch.phase("prepare"):
        model = start_from(context, fit)
        network.set_policy(model, recipe)
    head_flops = found.flops + sum(part.flops for part in (*spent, fit))
    before = Spent(seconds=found.seconds + context.watch.seconds["select"], flops=head_flops)
    outcome = network.read_network(context, network.train_on_images(context, model, recipe, before))
    network.shift_history(outcome.history, before.seconds, before.flops)
    return dataclasses.replace(
        outcome, flops=outcome.flops + head_flops, cached_seconds=found.seconds if found.was_cached else 0.0,
        selected={"l2": l2, "validation_accuracy_by_l2": table, "converged": fit.converged},
    )  # fmt: skip


def start_from(context: Context, fit: LogisticFit) -> nn.Module:
    """The arm's network with the probe as its head: its logits are the probe's."""
    model = network.build_network(context)
    head = network.head_of(context, model)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(fit.weight))
        head.bias.copy_(torch.from_numpy(fit.bias))
    return model
