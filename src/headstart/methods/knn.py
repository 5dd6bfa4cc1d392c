"""Votes of the nearest training images by cosine similarity of frozen features: nothing is trained.

Training accuracy is read with each image among its own neighbours, as other methods read it on what they
learned from.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data.splits import Ids
from headstart.methods.base import Context, Outcome
from headstart.methods.frozen import FrozenMethod, FrozenOutputs, Head, frozen_features, saved_backbone
from headstart.methods.reading import Part, read_parts
from headstart.methods.selection import select, selection_splits
from headstart.methods.trained import TrainedModel
from headstart.models import features
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.recipes import KNNRecipe
from headstart.results import metrics
from headstart.runtime import progress
from headstart.training.feature_rows import full_precision
from headstart.types import Predictions

_QUERIES = 512  # compared at a time: 512 x 45,000 similarities are 92 MB


class KNN(FrozenMethod):
    """The votes of the nearest training images."""

    calibration_purpose = "a kNN model compares with"  # the images that it needs anyway

    def run(self, context: Context) -> Outcome:
        """Extract features (or find them cached), select k and read the votes on every part."""
        recipe = context.trial.arm.recipe
        assert isinstance(recipe, KNNRecipe)
        frozen = frozen_features(context)
        with context.watch.phase("select"):
            progress.say(f"{context.what}: choosing the number of neighbours")
            choice = _select_k(context, frozen, recipe)
        started = time.perf_counter()
        with context.watch.phase("train"):
            final = _bank_of(context, frozen, context.train_ids, choice.k)
        seconds = (
            context.watch.seconds["features"]
            + context.watch.seconds["select"]
            + time.perf_counter()
            - started
        )

        def logits_of(part: Part, ids: Ids | None) -> NDArray[np.float32]:
            return final.logits(*final.nearest(frozen.of(part).values, ids), choice.k, recipe)

        with context.watch.phase("evaluate"):
            predictions = read_parts(context, logits_of)
        flops = frozen.flops + choice.flops
        row = {"seconds": seconds, "flops": flops} | _validation(predictions)
        return Outcome(
            predictions=predictions,
            history=[{"epoch": 1.0, "step": 1, "examples": len(context.train_ids)} | row],
            examples=choice.examples + len(context.train_ids),
            flops=flops + final.flops,
            state={
                "neighbours.ids": torch.from_numpy(np.array(context.train_ids)),
                "neighbours.labels": final.labels,
            },
            architecture={
                **context.described_network,
                "trained": "neighbours",
                "k": choice.k,
                "temperature": recipe.temperature,
                "smoothing": recipe.smoothing,
                "features": frozen.train.features.key,
            },
            selected={"k": choice.k, "validation_accuracy_by_k": choice.accuracies},
            cached_seconds=frozen.cached_seconds,
        )

    def head(self, model: TrainedModel) -> Head:
        built, labels = model.saved.architecture, model.state["neighbours.labels"].cpu().numpy()
        values, ids = self._stored_rows(model)
        labels_of_rows = np.zeros(len(values), np.int64)
        labels_of_rows[ids] = labels
        bank = Neighbours(
            values, labels_of_rows, ids, k=built["k"], num_classes=model.num_classes, device=model.device
        )
        recipe = KNNRecipe(
            k_values=(built["k"],), temperature=built["temperature"], smoothing=built["smoothing"]
        )
        return lambda rows: bank.logits(*bank.nearest(rows), built["k"], recipe)

    def complete_state(self, model: TrainedModel) -> dict[str, Tensor]:
        """The stored tensors with the neighbours' features among them."""
        if "neighbours.values" in model.state:
            return dict(model.state)
        values, ids = self._stored_rows(model)
        return dict(model.state) | {"neighbours.values": torch.from_numpy(np.array(values[ids]))}

    def _stored_rows(self, model: TrainedModel) -> tuple[NDArray[np.float16], Ids]:
        """Features, and which of their rows are the neighbours: stored with the model, cached, or computed
        again."""
        if "neighbours.values" in model.state:
            stored = model.state["neighbours.values"].cpu().numpy()
            return stored, np.arange(len(stored))
        ids = model.state["neighbours.ids"].cpu().numpy()
        values = features.cached_values(model.saved.architecture["features"])
        if values is None:
            images = model.training_images(self.calibration_purpose)
            layers = FrozenLayers(
                network=saved_backbone(model),
                precision=model.saved.feature_precision,
                device=model.device,
                calibration=images,
            )
            extraction = FeatureRequest(layers=layers, images=images).extract(
                "features of the training images, to be compared with"
            )
            values = extraction.features.values
        return values, ids


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """The number of neighbours, each candidate's accuracy by its name, and what choosing it cost."""

    k: int
    accuracies: dict[str, float]
    flops: int = 0
    examples: int = 0


def _select_k(context: Context, frozen: FrozenOutputs, recipe: KNNRecipe) -> _Choice:
    splits = selection_splits(context)
    if not splits:
        return _Choice(k=recipe.default_k, accuracies={})
    train, flops = frozen.train.features, 0

    def logits_of(fit_ids: Ids, held_out: Ids) -> Iterator[NDArray[np.float32]]:
        nonlocal flops
        bank = _bank_of(context, frozen, fit_ids, max(recipe.k_values))
        nearest = bank.nearest(train.values, held_out)
        flops += bank.flops
        return (bank.logits(*nearest, k, recipe) for k in recipe.k_values)

    best, scores = select(splits, train.labels, len(recipe.k_values), logits_of)
    return _Choice(
        k=recipe.k_values[best],
        accuracies={str(k): score for k, score in zip(recipe.k_values, scores, strict=True)},
        flops=flops,
        examples=sum(len(fit_ids) for fit_ids, _ in splits),
    )


def _bank_of(context: Context, frozen: FrozenOutputs, ids: Ids, k: int) -> Neighbours:
    train = frozen.train.features
    return Neighbours(
        train.values, train.labels, ids, k=k, num_classes=context.num_classes, device=context.device
    )


def _validation(predictions: dict[str, Predictions]) -> dict[str, float]:
    if "val" not in predictions:
        return {}
    val = predictions["val"]
    return {
        "val_accuracy": metrics.accuracy(val.logits, val.labels),
        "val_nll": metrics.negative_log_likelihood(val.logits, val.labels),
    }


class Neighbours:
    """A bank of labelled features that answers with log vote shares.

    values: float16 (N, D), may be memory-mapped. labels: int64 (N,). ids: the rows that are the bank. k:
    neighbours kept."""

    def __init__(
        self,
        values: NDArray[np.float16],
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

    def nearest(self, values: NDArray[np.float16], ids: Ids | None = None) -> tuple[Tensor, Tensor]:
        """(similarities float32 (M, k), labels int64 (M, k)) of each query row's neighbours, nearest
        first."""
        rows = np.arange(len(values)) if ids is None else ids
        nearest = []
        with full_precision():
            for start in range(0, len(rows), _QUERIES):
                queries = _unit_rows(values, rows[start : start + _QUERIES], self.device)
                similarity, place = (queries @ self.bank.T).topk(self.k, dim=1)
                nearest.append((similarity, self.labels[place]))
        self.flops += 2 * len(rows) * self.bank.numel()
        return torch.cat([s for s, _ in nearest]), torch.cat([labels for _, labels in nearest])

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
                for of, weight in zip(
                    torch.split(labels, _QUERIES), torch.split(weights, _QUERIES), strict=True
                )
            ]
        )
        return ((votes + recipe.smoothing / self.num_classes) / (k + recipe.smoothing)).log().cpu().numpy()


def _unit_rows(values: NDArray[np.float16], ids: Ids, device: torch.device) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(values[ids].astype(np.float32)).to(device), dim=1)
