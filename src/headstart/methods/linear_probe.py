"""A frozen backbone with a new head: multinomial logistic regression on cached features."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.data.splits import Ids, class_weights
from headstart.methods.base import Context, Outcome
from headstart.methods.frozen import FrozenMethod, FrozenOutputs, Head, frozen_features, saved_backbone
from headstart.methods.reading import Part, read_parts
from headstart.methods.selection import select, selection_splits
from headstart.methods.trained import TrainedModel
from headstart.models import Network
from headstart.recipes import LogisticRecipe, ProbeRecipe
from headstart.results import metrics
from headstart.runtime import progress
from headstart.training.logistic import (
    LogisticFit,
    OnPass,
    Raw,
    Scaling,
    SolverOptions,
    fit_path,
    predict_logits,
)
from headstart.types import Features, Recipe


class LinearProbe(FrozenMethod):
    """A logistic regression on the features of a frozen backbone."""

    def run(self, context: Context) -> Outcome:
        """Extract features (or find them cached), select the L2, fit the head and read it on every part."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, LogisticRecipe)
        frozen = frozen_features(context)
        with context.watch.phase("select"):
            progress.say(f"{context.what}: choosing the L2")
            choice = select_l2(context, frozen.train.features, recipe)
        history = _History(context, frozen, choice, scaling_of(recipe))
        with context.watch.phase("train"):
            (fit,) = fit_heads(
                context, frozen.train.features, recipe, context.train_ids, [choice.l2], history.add
            )

        def logits_of(part: Part, ids: Ids | None) -> NDArray[np.float32]:
            values = frozen.of(part).values
            return predict_logits(values, fit.weight, fit.bias, ids=ids, scaling=scaling_of(recipe))

        with context.watch.phase("evaluate"):
            predictions = read_parts(context, logits_of)
        return Outcome(
            predictions=predictions,
            history=history.rows,
            examples=sum(each.passes for each in (*choice.fits, fit)) * len(context.train_ids),
            flops=history.flops_before + fit.flops,
            state={
                "head.weight": torch.from_numpy(np.array(fit.weight)),
                "head.bias": torch.from_numpy(np.array(fit.bias)),
            },
            architecture={**context.described_network, "trained": "head"} | _stored_scaling(recipe),
            selected={
                "l2": choice.l2,
                "validation_accuracy_by_l2": choice.accuracies,
                "converged": fit.converged,
                "passes": fit.passes,
            },
            cached_seconds=frozen.cached_seconds,
        )

    def head_fits(self, context: Context) -> int:
        return head_fits(context)

    def head(self, model: TrainedModel) -> Head:
        weight, bias = (model.state[f"head.{name}"].numpy() for name in ("weight", "bias"))
        scaling = saved_scaling(model)
        return lambda rows: predict_logits(rows, weight, bias, scaling=scaling)

    def network(self, model: TrainedModel) -> Network:
        network = saved_backbone(model, num_classes=model.num_classes)
        if saved_scaling(model) == "unit":
            network.set_submodule(
                network.head_name, UnitLinear(network.feature_dim, network.classifier.out_features)
            )
        network.classifier.load_state_dict(
            {"weight": model.state["head.weight"], "bias": model.state["head.bias"]}
        )
        return network.eval()


class UnitLinear(nn.Linear):
    """A linear layer on features that it brings to length 1 first."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(nn.functional.normalize(features, dim=1))


def scaling_of(recipe: Recipe) -> Scaling:
    """How a regression scales its features: only a probe's may say so, other heads start networks."""
    return recipe.scaling if isinstance(recipe, ProbeRecipe) else "columns"


def _stored_scaling(recipe: Recipe) -> dict[str, str]:
    scaling = scaling_of(recipe)
    return {} if scaling == "columns" else {"scaling": scaling}


def saved_scaling(model: TrainedModel) -> Scaling:
    """The scaling that a saved head was fitted with."""
    return "unit" if model.saved.architecture.get("scaling") == "unit" else "columns"


class _History:
    """A row for each pass of the solver, with what was spent before it began."""

    def __init__(self, context: Context, frozen: FrozenOutputs, choice: L2Choice, scaling: Scaling) -> None:
        self.scaling = scaling
        self.rows: list[dict[str, float]] = []
        self.flops_before = frozen.flops + sum(fit.flops for fit in choice.fits)
        self._train, self._val_ids = frozen.train.features, context.val_ids
        self._count = len(context.train_ids)
        # logits, then both gradient products
        self._pass_flops = 3 * 2 * self._count * self._train.values.shape[1] * context.num_classes
        self._seconds_before = context.watch.seconds["features"] + context.watch.seconds["select"]
        self._started = time.perf_counter()

    def add(self, _: float, number: int, loss: float, head: Raw) -> None:
        """The row of a pass; as fit_path's on_pass."""
        weight, bias = head()
        if not weight.any():  # the solver's start: nothing is learned yet
            return
        row = {
            "epoch": float(number),
            "step": number,
            "seconds": self._seconds_before + time.perf_counter() - self._started,
            "examples": number * self._count,
            "flops": self.flops_before + number * self._pass_flops,
            "train_loss": loss,
        }
        if len(self._val_ids):
            logits = predict_logits(self._train.values, weight, bias, ids=self._val_ids, scaling=self.scaling)
            labels = self._train.labels[self._val_ids]
            row["val_accuracy"] = metrics.accuracy(logits, labels)
            row["val_nll"] = metrics.negative_log_likelihood(logits, labels)
        self.rows.append(row)


def fit_heads(
    context: Context,
    train: Features,
    recipe: LogisticRecipe,
    ids: Ids,
    l2_values: Sequence[float],
    on_pass: OnPass | None = None,
) -> list[LogisticFit]:
    """The regression on the rows `ids` of the training features, for each L2; on_pass: as fit_path's."""
    labels = context.dataset.train.labels
    weights = (
        class_weights(labels[context.train_ids], context.num_classes)[labels] if recipe.balance else None
    )
    return fit_path(
        train.values,
        train.labels,
        l2_values=l2_values,
        ids=ids,
        num_classes=context.num_classes,
        options=SolverOptions(
            tolerance=recipe.tolerance,
            max_passes=recipe.max_passes,
            sample_weight=weights,
            on_pass=on_pass,
            device=str(context.device),
            scaling=scaling_of(recipe),
        ),
    )


def head_by_recipe(context: Context, train: Features) -> Head:
    """The head that the trial's recipe gives on these features of all training images: the L2 chosen as the
    trial chooses it, then fitted on context.train_ids."""
    recipe = context.trial.arm.recipe
    assert isinstance(recipe, LogisticRecipe)
    choice = select_l2(context, train, recipe)
    (fit,) = fit_heads(context, train, recipe, context.train_ids, [choice.l2])
    return lambda rows: predict_logits(rows, fit.weight, fit.bias, scaling=scaling_of(recipe))


def head_fits(context: Context) -> int:
    """How many regressions a trial fits: the candidates on every split, and the chosen one."""
    recipe = context.trial.arm.recipe
    assert isinstance(recipe, LogisticRecipe)
    return len(selection_splits(context)) * len(recipe.l2_values) + 1


@dataclass(frozen=True, kw_only=True)
class L2Choice:
    """The L2 that was chosen, each candidate's accuracy by its name, and the fits that choosing took."""

    l2: float
    accuracies: dict[str, float]
    fits: tuple[LogisticFit, ...] = ()


def select_l2(context: Context, train: Features, recipe: LogisticRecipe) -> L2Choice:
    """The L2 that selection.select chooses on the trial's training features; the default where nothing may be
    selected, and the only one where the recipe has no other."""
    if len(recipe.l2_values) == 1:
        return L2Choice(l2=recipe.l2_values[0], accuracies={})
    splits = selection_splits(context)
    if not splits:
        return L2Choice(l2=recipe.default_l2, accuracies={})
    fits: list[LogisticFit] = []

    def logits_of(fit_ids: Ids, held_out: Ids) -> Iterator[NDArray[np.float32]]:
        candidates = fit_heads(context, train, recipe, fit_ids, recipe.l2_values)
        fits.extend(candidates)
        return (
            predict_logits(train.values, fit.weight, fit.bias, ids=held_out, scaling=scaling_of(recipe))
            for fit in candidates
        )

    best, scores = select(splits, train.labels, len(recipe.l2_values), logits_of)
    return L2Choice(
        l2=recipe.l2_values[best],
        accuracies={f"{l2:g}": score for l2, score in zip(recipe.l2_values, scores, strict=True)},
        fits=tuple(fits),
    )
