"""A linear probe first, then fine-tuning from it: the head starts where frozen features put it."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import torch

from headstart import store
from headstart.methods import network
from headstart.methods.base import Context, Outcome
from headstart.methods.frozen import backbone_layers, backbone_requests, training_features
from headstart.methods.linear_probe import L2Choice, fit_heads, head_fits, select_l2
from headstart.models import Network
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.recipes import LogisticRecipe, LPFTRecipe
from headstart.runtime import progress
from headstart.training.durations import Spent
from headstart.training.logistic import LogisticFit
from headstart.types import Features


class LPFT(network.NetworkMethod):
    """A linear probe gives the head from which all layers are then fine-tuned."""

    def run(self, context: Context) -> Outcome:
        """Fit the probe on cached features, fine-tune from it, and read the network on train sample,
        validation and test."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, LPFTRecipe)
        extraction = training_features(context)
        context.watch.carry("features", extraction.seconds)
        context.watch.carry_joules([extraction.joules] if extraction.was_cached else [])
        head = _head(context, extraction.features, recipe)
        context.watch.carry("select", head.seconds)
        with context.watch.phase("prepare"):
            model = start_from(context, head.fit)
            network.set_policy(model, recipe)
        before = Spent(
            seconds=extraction.seconds + context.watch.seconds["select"], flops=extraction.flops + head.flops
        )
        outcome = network.read_network(context, network.train_on_images(context, model, recipe, before))
        network.shift_history(outcome.history, before.seconds, before.flops)
        return dataclasses.replace(
            outcome,
            flops=outcome.flops + before.flops,
            cached_seconds=extraction.seconds if extraction.was_cached else 0.0,
            selected={
                "l2": head.choice.l2,
                "validation_accuracy_by_l2": head.choice.accuracies,
                "converged": head.fit.converged,
            },
        )

    def frozen_layers(self, context: Context) -> FrozenLayers:
        return backbone_layers(context)

    def feature_requests(self, context: Context, layers: FrozenLayers) -> list[FeatureRequest]:
        return backbone_requests(context, layers)[:1]  # training images alone

    def head_fits(self, context: Context) -> int:
        return head_fits(context)


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The head to start from, the choice of its L2, and what both cost."""

    fit: LogisticFit
    choice: L2Choice
    flops: int
    seconds: float


# The trials of a search differ in what comes after: the heads of its folds are fitted once. Their seconds
# count in every trial.
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
    choice = select_l2(context, train, recipe)
    (fit,) = fit_heads(context, train, recipe, context.train_ids, [choice.l2])
    flops = sum(part.flops for part in (*choice.fits, fit))
    head = _Head(fit=fit, choice=choice, flops=flops, seconds=time.perf_counter() - start)
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
