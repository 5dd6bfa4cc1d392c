"""What more labels would bring: heads on a half, a quarter, ... of the images, judged on others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.advise.heads import Heads
from headstart.data.splits import Ids, label_subset
from headstart.results.curve_fit import Curve, fit_curve
from headstart.results.label_curves import Estimate, gain_from_doubling
from headstart.results.metrics import accuracy
from headstart.runtime import progress

_HALVINGS = 5
_GROWTH = 2.5  # of the time that a budget takes, from half of it
_FEWEST = 16  # labels of the smallest class: below, a curve has too few points


@dataclass(frozen=True, kw_only=True)
class LabelCurve:
    """Accuracies by labels a class and seed, the curve through them and the gain from twice the labels; None
    where the data cannot say."""

    points: dict[float, dict[int, float]]
    curve: Curve | None
    doubling: Estimate | None


def measure_curve(heads: Heads, splits: Sequence[tuple[Ids, Ids]], seconds: float) -> LabelCurve | None:
    """Heads on nested subsets of the first ids of each split, judged on its second; None for too few labels,
    or too few seconds.

    heads: of a probe, each with the L2 that its recipe chooses. splits: one a seed."""
    train = heads.dataset.train
    smallest = min(
        int(np.bincount(train.labels[ids], minlength=len(train.class_names)).min()) for ids, _ in splits
    )
    if smallest < _FEWEST:
        return None
    points: dict[float, dict[int, float]] = {}
    deadline, took = time.monotonic() + seconds, 0.0
    with progress.track("what more labels would bring", _HALVINGS * len(splits), "heads") as bar:
        for budget in sorted({smallest >> halvings for halvings in range(_HALVINGS)}):
            if time.monotonic() + _GROWTH * took > deadline:
                return None
            began = time.monotonic()
            for seed, (learned, judged) in enumerate(splits):
                ids = label_subset(train.labels, learned, train.fingerprint, seed, budget)
                points.setdefault(float(budget), {})[seed] = accuracy(
                    heads.logits(ids, judged), train.labels[judged]
                )
                bar.advance()
            took = time.monotonic() - began
    curve = fit_curve(points, np.random.default_rng(0))
    return LabelCurve(
        points=points, curve=curve, doubling=None if curve is None else gain_from_doubling(curve)
    )
