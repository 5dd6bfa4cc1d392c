"""Whether an image is like those that a model learned from: distances to the nearest of them, in features.

The score of an image is one less the mean cosine similarity of its features to its nearest neighbours among
the training images. Images held out of each fold say how large it is for images of the model's own classes;
above all but 5 % of these an image is called unfamiliar.

Source: Sun, Ming, Zhu and Li (2022), "Out-of-distribution detection with deep nearest neighbors"; the
threshold is that of split conformal prediction (Vovk et al. 2005).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

REFUSED = 0.05  # of held-out images of the model's own classes
NEIGHBOURS = 5
MOST_ROWS = 2000  # training images that are kept
MOST_SCORED = 5000  # training images that say how large the score of a model's own classes is
VALUES, KEY = "familiar.values", "familiar"  # among a model's tensors, in its description
_QUERIES = 512


@dataclass(frozen=True, kw_only=True, eq=False)
class Familiar:
    """The training images' features as unit rows, float16 (M, D), and the score above which an image is
    unfamiliar. refused: share of the held-out images that lie above it."""

    values: NDArray[np.float16]
    threshold: float
    refused: float

    def scores(self, features: ArrayLike) -> NDArray[np.float32]:
        """Float32 (N,) of features (N, D): 0 for a training image's own copy, at most 2."""
        return _scores(_unit(features), torch.from_numpy(self.values.astype(np.float32)))

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {VALUES: torch.from_numpy(self.values)}

    @property
    def described(self) -> dict[str, Any]:
        """What the model's description says of it."""
        return {KEY: {"threshold": self.threshold, "refused": self.refused, "neighbours": NEIGHBOURS}}


def learn(features: ArrayLike, fold_of: NDArray[np.int64]) -> Familiar:
    """From features (N, D) of the training images; each fold's images are scored against those of the others
    that are kept, as other images will be.

    fold_of: int64 (N,)."""
    order = np.random.default_rng(0).permutation(len(fold_of))
    scored, kept = np.sort(order[:MOST_SCORED]), np.sort(order[:MOST_ROWS])
    rows, fold_of, is_kept = _unit(np.asarray(features)[scored]), fold_of[scored], np.isin(scored, kept)
    scores = np.zeros(len(rows), np.float32)
    for fold in np.unique(fold_of):
        held = fold_of == fold
        scores[held] = _scores(rows[torch.from_numpy(held)], rows[torch.from_numpy(is_kept & ~held)])
    place = min(len(scores), math.ceil((len(scores) + 1) * (1 - REFUSED)))
    threshold = float(np.sort(scores)[place - 1])
    return Familiar(
        values=rows[torch.from_numpy(is_kept)].numpy().astype(np.float16),
        threshold=threshold,
        refused=float((scores > threshold).mean()),
    )


def stored(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> Familiar | None:
    """What a saved model says of familiar images; None where it says nothing."""
    facts = description.get(KEY)
    if not isinstance(facts, dict) or VALUES not in state:
        return None
    return Familiar(
        values=state[VALUES].numpy(),
        threshold=float(facts["threshold"]),
        refused=float(facts["refused"]),
    )


def _unit(features: ArrayLike) -> Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(np.asarray(features, np.float32)), dim=1)


def _scores(queries: Tensor, bank: Tensor) -> NDArray[np.float32]:
    count = min(NEIGHBOURS, len(bank))
    parts = [
        1 - (part @ bank.T).topk(count, dim=1).values.mean(dim=1) for part in torch.split(queries, _QUERIES)
    ]
    return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)
