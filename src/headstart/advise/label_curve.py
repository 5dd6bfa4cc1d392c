"""What more labels would bring: heads on a half, a quarter, ... of the images, judged on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from headstart.data.splits import Ids, label_subset
from headstart.results.curve_fit import Curve, fit_curve
from headstart.results.label_curves import Estimate, gain_from_doubling
from headstart.results.metrics import accuracy
from headstart.runtime import progress
from headstart.runtime.threads import use_threads
from headstart.training.logistic import Scaling, SolverOptions, fit_path, predict_logits
from headstart.types import ImageSet

_HALVINGS = 5
_FEWEST = 16  # labels of the smallest class: below, a curve has too few points


@dataclass(frozen=True, kw_only=True)
class LabelCurve:
    """Accuracies by labels a class and seed, the curve through them and the gain from twice the labels; None
    where the data cannot say."""

    points: dict[float, dict[int, float]]
    curve: Curve | None
    doubling: Estimate | None


def measure_curve(
    values: ArrayLike,
    train: ImageSet,
    splits: Sequence[tuple[Ids, Ids]],
    l2: float,
    scaling: Scaling = "columns",
) -> LabelCurve | None:
    """Heads on nested subsets of the first ids of each split, judged on its second; None for too few labels.

    values: features (N, D) of all training images. splits: one a seed. scaling: as of SolverOptions."""
    smallest = min(
        int(np.bincount(train.labels[ids], minlength=len(train.class_names)).min()) for ids, _ in splits
    )
    if smallest < _FEWEST:
        return None
    points: dict[float, dict[int, float]] = {}
    with (
        progress.track("what more labels would bring", _HALVINGS * len(splits), "heads") as bar,
        use_threads(1),
    ):
        for budget in sorted({smallest >> halvings for halvings in range(_HALVINGS)}):
            for seed, (learned, judged) in enumerate(splits):
                ids = label_subset(train.labels, learned, train.fingerprint, seed, budget)
                (fit,) = fit_path(
                    values,
                    train.labels,
                    l2_values=[l2],
                    ids=ids,
                    num_classes=len(train.class_names),
                    options=SolverOptions(tolerance=1e-3, scaling=scaling),
                )
                logits = predict_logits(np.asarray(values), fit.weight, fit.bias, ids=judged, scaling=scaling)
                points.setdefault(float(budget), {})[seed] = accuracy(logits, train.labels[judged])
                bar.advance()
    curve = fit_curve(points, np.random.default_rng(0))
    return LabelCurve(
        points=points, curve=curve, doubling=None if curve is None else gain_from_doubling(curve)
    )
