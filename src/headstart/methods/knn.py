"""Votes of the nearest training images by cosine similarity of frozen features: nothing is trained.

Training accuracy is read with each image among its own neighbours, as other methods read it on what they
learned from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.methods.base import Context, Method, Outcome
from headstart.methods.frozen import frozen_features, read_all
from headstart.methods.selection import select, selection_splits
from headstart.recipes import KNNRecipe
from headstart.results import metrics
from headstart.runtime import progress
from headstart.training.feature_rows import full_precision
from headstart.types import Features

_QUERIES = 512  # compared at a time: 512 x 45,000 similarities are 92 MB

Ids = NDArray[np.int64]


class Neighbours:
    """A bank of labelled features that answers with log vote shares.

    values: float16 (N, D), may be memory-mapped. labels: int64 (N,). ids: the rows that are the bank. k:
    neighbours kept."""

    def __init__(
        self,
        values: NDArray,
        labels: NDArray[np.int64],
        ids: Ids,
        *,
        k: int,
        num_classes: int,
        device: torch.device,
    ) -> None:
        self.k, self.num_classes, self.device = min(k, len(ids)), num_classes, device
        self.bank = _unit_rows(values, ids, device)
        self.labels = torch.from_numpy(labels[ids]).to(device)
        self.flops = 0

    def nearest(self, values: NDArray, ids: Ids | None = None) -> tuple[Tensor, Tensor]:
        """(similarities float32 (M, k), labels int64 (M, k)) of each query row's neighbours, nearest
        first."""
        rows = np.arange(len(values)) if ids is None else ids
        found = []
        with full_precision():
            for start in range(0, len(rows), _QUERIES):
                queries = _unit_rows(values, rows[start : start + _QUERIES], self.device)
                similarity, place = (queries @ self.bank.T).topk(self.k, dim=1)
                found.append((similarity, self.labels[place]))
        self.flops += 2 * len(rows) * self.bank.numel()
        return torch.cat([s for s, _ in found]), torch.cat([labels for _, labels in found])

    def logits(self, similarity: Tensor, labels: Tensor, k: int, recipe: KNNRecipe) -> NDArray[np.float32]:
        """Logarithm of the smoothed vote shares of the first k neighbours, float32 (M, C); its softmax gives
        the shares."""
        k = min(k, self.k)
        weights = torch.ones_like(similarity[:, :k])
        if recipe.temperature is not None:
            weights = torch.softmax(similarity[:, :k] / recipe.temperature, dim=1) * k
        # A sum over one-hot rows, not scatter_add_, whose order is open on a GPU.
        votes = torch.cat(
            [
                (torch.nn.functional.one_hot(of[:, :k], self.num_classes) * weight[:, :, None]).sum(1)
                for of, weight in zip(labels.split(_QUERIES), weights.split(_QUERIES), strict=True)
            ]
        )
        return ((votes + recipe.smoothing / self.num_classes) / (k + recipe.smoothing)).log().cpu().numpy()


def _unit_rows(values: NDArray, ids: Ids, device: torch.device) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(values[ids].astype(np.float32)).to(device), dim=1)


def run(context: Context) -> Outcome:
    """Extracts features (or finds them cached), selects k and reads the votes on every part."""
    trial, recipe = context.trial, context.trial.arm.recipe
    assert isinstance(recipe, KNNRecipe)
    found = frozen_features(context)
    values, labels = found.train.features.values, found.train.features.labels
    flops, examples = found.flops, 0

    def bank(ids: Ids, k: int) -> Neighbours:
        return Neighbours(values, labels, ids, k=k, num_classes=context.num_classes, device=context.device)

    def logits_of(fit_ids: Ids, held_out: Ids) -> Iterator[NDArray[np.float32]]:
        nonlocal flops, examples
        neighbours = bank(fit_ids, max(recipe.k_values))
        nearest = neighbours.nearest(values, held_out)
        flops, examples = flops + neighbours.flops, examples + len(fit_ids)
        return (neighbours.logits(*nearest, k, recipe) for k in recipe.k_values)

    k, table = recipe.default_k, {}
    with context.watch.phase("select"):
        progress.say(f"{context.what}: choosing the number of neighbours")
        if splits := selection_splits(context):
            best, scores = select(splits, labels, len(recipe.k_values), logits_of)
            k, table = (
                recipe.k_values[best],
                {str(n): score for n, score in zip(recipe.k_values, scores, strict=True)},
            )
    started = time.perf_counter()
    with context.watch.phase("train"):
        final = bank(context.train_ids, k)

    def logits(part: Features, ids: Ids | None) -> NDArray[np.float32]:
        return final.logits(*final.nearest(part.values, ids), k, recipe)

    row: dict[str, float] = {"epoch": 1.0, "step": 1, "examples": len(context.train_ids)}
    row["seconds"] = (
        context.watch.seconds["features"] + context.watch.seconds["select"] + time.perf_counter() - started
    )
    row["flops"] = flops
    with context.watch.phase("evaluate"):
        predictions = read_all(context, found, logits)
    if "val" in predictions:
        row["val_accuracy"] = metrics.accuracy(predictions["val"].logits, predictions["val"].labels)
        row["val_nll"] = metrics.negative_log_likelihood(predictions["val"].logits, predictions["val"].labels)
    return Outcome(
        predictions=predictions,
        history=[row],
        examples=examples + len(context.train_ids),
        flops=flops + final.flops,
        state={
            "neighbours.ids": torch.from_numpy(np.array(context.train_ids)),
            "neighbours.labels": final.labels,
        },
        architecture={
            "model": trial.arm.model,
            "weights": trial.arm.weights,
            "num_classes": context.num_classes,
            "input_pixels": trial.arm.input_pixels,
            "trained": "neighbours",
            "k": k,
            "temperature": recipe.temperature,
            "smoothing": recipe.smoothing,
            "features": found.train.features.key,
        },
        selected={"k": k, "validation_accuracy_by_k": table},
        cached_seconds=found.cached_seconds,
    )


class KNN(Method):
    def run(self, context: Context) -> Outcome:
        return run(context)
