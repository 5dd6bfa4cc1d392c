"""Find suspected label errors: images that a classifier, fitted without them, assigns to another class.

The classifier is a linear probe on frozen features, cross-validated, so that each image is judged by one that
was fitted without it (and without its near duplicates). Confident learning, as in cleanlab, decides which of
its doubts count.
Source: Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR
2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.data.splits import FOLDS, fold_numbers
from headstart.errors import ConfigError, DataError
from headstart.runtime import progress

L2_VALUES = (1.0, 0.3, 0.1, 0.03, 0.01)
# The images with the lowest probability of their own label, as many as confident learning counts. Of 15 wrong
# labels planted among 3,050 CIFAR-10 images (the probe agrees with 82 % of the labels) it finds 14 in 129
# suspects, all among the first 58; "prune_by_class" 14 in 196, "prune_by_noise_rate" (cleanlab's default) 11
# in 194, "both" 11 in 140, "confident_learning" 9 in
# 129. Of 60 among scikit-learn's 1,797 handwritten digits: 52 in 54, then 59 in 73, 55 in 67, 54 in 59, 50 in
# 54.
_FILTER = "low_self_confidence"


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """Images whose label is probably wrong, the surest first.

    places: int64 (K,), positions. suggested: int64 (K,), the most probable class. given_probability,
    suggested_probability: float64 (K,), probabilities of the label and of the suggested class.
    agreement: share of all images, suspects or not, whose label is the most probable class.
    """

    places: NDArray[np.int64]
    suggested: NDArray[np.int64]
    given_probability: NDArray[np.float64]
    suggested_probability: NDArray[np.float64]
    agreement: float

    def __len__(self) -> int:
        return len(self.places)


def find_label_errors(
    features: ArrayLike, labels: NDArray[np.int64], units: NDArray[np.int64], *, num_classes: int
) -> Suspects:
    """Find the suspects among images with frozen features, each judged by a probe fitted without its unit.

    features: (N, D) float16 or float32, may be memory-mapped. labels: int64 (N,) in [0, num_classes). units:
    int64 (N,), equal for images that show the same. Raises: as suspected_label_errors."""
    progress.say(f"looking for label errors: {FOLDS}-fold cross-validation of a linear probe")
    folds = fold_numbers(labels, units)
    return suspected_label_errors(
        labels, cross_validated_probabilities(features, labels, folds, num_classes=num_classes)
    )


def suspected_label_errors(labels: ArrayLike, probabilities: ArrayLike) -> Suspects:
    """Find the suspects among labelled images from out-of-sample probabilities.

    labels: (N,) in [0, C). probabilities: (N, C), rows sum to 1, from classifiers that were fitted without
    the image.
    Raises: ConfigError without cleanlab; DataError for shapes that do not fit or probabilities that are not
    finite."""
    given_labels, values = np.asarray(labels, np.int64), np.asarray(probabilities, np.float64)
    if values.ndim != 2 or values.shape[0] != len(given_labels):
        raise DataError(
            f"{len(given_labels):,} labels and probabilities of shape {values.shape} do not fit together"
        )
    if not np.isfinite(values).all():
        raise DataError("the probabilities hold values that are not finite")
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ConfigError('suspected label errors need cleanlab: pip install "headstart[check]"') from error
    agreement = float((values.argmax(axis=1) == given_labels).mean())
    # Classes without an image would make cleanlab divide by zero: they are left out.
    present, dense = np.unique(given_labels, return_inverse=True)
    if len(present) < 2:
        return Suspects(
            places=np.zeros(0, np.int64),
            suggested=np.zeros(0, np.int64),
            given_probability=np.zeros(0),
            suggested_probability=np.zeros(0),
            agreement=agreement,
        )
    shares = values[:, present] / np.maximum(values[:, present].sum(axis=1, keepdims=True), 1e-12)
    places = np.asarray(
        find_label_issues(
            dense, shares, return_indices_ranked_by="self_confidence", filter_by=_FILTER, n_jobs=1
        ),
        np.int64,
    )
    suggested = shares[places].argmax(axis=1)
    return Suspects(
        places=places,
        suggested=present[suggested],
        given_probability=shares[places, dense[places]],
        suggested_probability=shares[places, suggested],
        agreement=agreement,
    )


def cross_validated_probabilities(
    features: ArrayLike,
    labels: NDArray[np.int64],
    fold_of: NDArray[np.int64],
    *,
    num_classes: int,
    l2_values: Sequence[float] = L2_VALUES,
) -> NDArray[np.float32]:
    """Class probabilities float32 (N, C), of each image from a probe fitted on the other folds.

    features: (N, D) float16 or float32, may be memory-mapped. fold_of: int64 (N,). The l2 with the lowest
    cross-entropy over all folds is chosen: its probabilities are best calibrated, which cleanlab's thresholds
    need."""
    from headstart.results.metrics import probabilities
    from headstart.training.logistic import SolverOptions, fit_path, predict_logits

    values = np.asarray(features)
    logits = np.zeros((len(l2_values), len(labels), num_classes), np.float32)
    for fold in np.unique(fold_of):
        held_out = np.flatnonzero(fold_of == fold)
        fits = fit_path(
            values,
            labels,
            num_classes=num_classes,
            l2_values=l2_values,
            ids=np.flatnonzero(fold_of != fold),
            options=SolverOptions(tolerance=1e-3),
        )
        for place, fit in enumerate(fits):
            logits[place, held_out] = predict_logits(values, fit.weight, fit.bias, ids=held_out)
    shares = [probabilities(part) for part in logits]
    losses = [-np.log(np.maximum(share[np.arange(len(labels)), labels], 1e-12)).mean() for share in shares]
    return shares[int(np.argmin(losses))].astype(np.float32)
