"""The nearest class mean of frozen features: the half of the method that computes."""

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data.splits import Ids
from headstart.methods.base import Context, Outcome
from headstart.methods.frozen import FrozenMethod, frozen_features
from headstart.methods.reading import Part, read_parts
from headstart.methods.trained import Reader, TrainedModel


class Centroids(FrozenMethod):
    """The class whose mean feature is nearest."""

    def run(self, context: Context) -> Outcome:
        recipe, frozen = context.trial.arm.recipe, frozen_features(context)
        train = frozen.train.features
        with context.watch.phase("train"):
            values, labels = train.values[context.train_ids], train.labels[context.train_ids]
            means = [values[labels == label].mean(axis=0, dtype=np.float32) for label in np.unique(labels)]
            centroids = np.stack(means)

        def logits_of(part: Part, ids: Ids | None) -> NDArray[np.float32]:
            values = frozen.of(part).values
            return _logits(values if ids is None else values[ids], centroids, recipe.sharpness)

        with context.watch.phase("evaluate"):
            predictions = read_parts(context, logits_of)
        return Outcome(
            predictions=predictions,
            history=[],
            examples=len(context.train_ids),
            flops=frozen.flops,
            state={"centroids": torch.from_numpy(centroids)},
            architecture={**context.described_network, "sharpness": recipe.sharpness},
            cached_seconds=frozen.cached_seconds,
        )

    def reader(self, model: TrainedModel) -> Reader:
        rows, centroids = self.rows(model), model.state["centroids"].numpy()
        sharpness = model.saved.architecture["sharpness"]
        return lambda images, batch_size: _logits(rows(images, batch_size), centroids, sharpness)


def _logits(
    values: NDArray[np.float16], centroids: NDArray[np.float32], sharpness: float
) -> NDArray[np.float32]:
    apart = values.astype(np.float32)[:, None] - centroids
    return (-sharpness * (apart**2).sum(axis=2)).astype(np.float32)
