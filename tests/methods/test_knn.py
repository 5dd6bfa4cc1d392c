"""Nearest neighbours: against scikit-learn on the same features, the vote's formula by hand, the choice of
k."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from headstart.methods.knn import Neighbours
from headstart.recipes import KNNRecipe

CPU = torch.device("cpu")
PLAIN = KNNRecipe(k_values=(1,), temperature=None)


def _features(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(0.5, size=(count, 24)).astype(np.float16)


def _bank(count: int = 700, k: int = 20) -> tuple[Neighbours, np.ndarray, np.ndarray]:
    values, labels = _features(count, 0), np.random.default_rng(1).integers(0, 4, count)
    ids = np.arange(0, count, 2)
    return Neighbours(values, labels, ids, k=k, num_classes=4, device=CPU), values[ids], labels[ids]


@pytest.mark.parametrize("k", [1, 3, 20])
def test_vote_shares_are_scikit_learns(k: int) -> None:
    bank, values, labels = _bank()
    queries = _features(600, 2)  # more than one chunk of queries
    theirs = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(
        values.astype(np.float64), labels
    )
    shares = theirs.predict_proba(queries.astype(np.float64))
    want = np.log((k * shares + 0.25) / (k + 1))
    np.testing.assert_allclose(bank.logits(*bank.nearest(queries), k, PLAIN), want, rtol=1e-5)


def test_weighted_votes_are_scikit_learns_with_the_same_weights() -> None:
    bank, values, labels = _bank()
    queries = _features(100, 2)
    theirs = KNeighborsClassifier(
        7, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.1)
    ).fit(values.astype(np.float64), labels)
    want = np.log((7 * theirs.predict_proba(queries.astype(np.float64)) + 0.25) / 8)
    recipe = KNNRecipe(k_values=(7,), temperature=0.1)
    np.testing.assert_allclose(bank.logits(*bank.nearest(queries), 7, recipe), want, rtol=1e-4)


def test_shares_by_hand() -> None:
    # Cosines with (1, 0): 1, 0.6, 0; the two nearest are of classes 0 and 1.
    values = np.array([[2, 0], [3, 4], [0, 1]], np.float16)
    bank = Neighbours(values, np.array([0, 1, 1]), np.arange(3), k=2, num_classes=2, device=CPU)
    query = np.array([[5, 0]], np.float16)
    even = bank.logits(*bank.nearest(query), 2, PLAIN)
    np.testing.assert_allclose(even, np.log([[0.5, 0.5]]), rtol=1e-6)
    # Weights e^(1/0.4) and e^(0.6/0.4): the nearer one has a share of 1 / (1 + 1/e); one smoothing vote of
    # three.
    share = 1 / (1 + math.exp(-1))
    weighted = bank.logits(*bank.nearest(query), 2, KNNRecipe(k_values=(2,), temperature=0.4))
    np.testing.assert_allclose(
        weighted, np.log([[(2 * share + 0.5) / 3, (2 * (1 - share) + 0.5) / 3]]), rtol=1e-5
    )


def test_more_neighbours_than_images_means_all_of_them() -> None:
    values, labels = _features(6, 0), np.array([0, 0, 0, 1, 1, 2])
    bank = Neighbours(values, labels, np.arange(6), k=50, num_classes=3, device=CPU)
    logits = bank.logits(*bank.nearest(_features(2, 3)), 50, PLAIN)
    np.testing.assert_allclose(
        logits, np.log([[(3 + 1 / 3) / 7, (2 + 1 / 3) / 7, (1 + 1 / 3) / 7]] * 2), rtol=1e-6
    )


def test_work_is_counted_by_hand() -> None:
    bank, _, _ = _bank(count=20)
    bank.nearest(_features(3, 2))
    assert bank.flops == 2 * 3 * 10 * 24
