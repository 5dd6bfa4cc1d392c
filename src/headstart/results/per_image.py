"""A test metric taken apart: a value for each test image, whose mean is the metric.

Accuracies, the log-likelihood and the Brier score are means over images as they stand. The rest are taken
apart by their first-order expansion in the images' weights (the infinitesimal jackknife): the mean is the
metric itself, and the spread of the values is what the choice of test images puts into it.
Source: Efron (1982), The jackknife, the bootstrap and other resampling plans, chapter 6.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.results.metrics import (
    Logits,
    equal_mass_bins,
    image_brier_scores,
    image_losses,
    is_in_top,
    probabilities,
)
from headstart.types import Predictions

Values = NDArray[np.float64]
_BINS = 15  # as in metrics.expected_calibration_error


def per_image_values(metric: str, test: Predictions, temperature: float | None = None) -> Values | None:
    """The value of a metric at each test image, float64 (N,), with the metric as its mean; None for a metric
    that the test predictions do not give.

    temperature: fitted on validation; without it the calibrated metrics are None. Of "generalization_gap"
    only the test images' part, minus the accuracy.
    Raises: DataError on logits that are not finite."""
    if not np.isfinite(test.logits).all():
        raise DataError("test logits are not finite; the training diverged, lower its learning rate")
    if metric == "test_flip_accuracy":
        return None if test.flip_logits is None else _right(test.flip_logits, test.labels)
    if metric.endswith("_calibrated"):
        if temperature is None:
            return None
        metric = metric.removesuffix("_calibrated")
    else:
        temperature = 1.0
    if metric == "test_top5_accuracy" and test.logits.shape[1] <= 5:
        return None
    if metric in _PLAIN:
        return _PLAIN[metric](test.logits, test.labels)
    if metric in _TEMPERED:
        return _TEMPERED[metric](test.logits, test.labels, temperature)
    return None


def _right(logits: Logits, labels: NDArray[np.int64]) -> Values:
    return np.asarray(logits.argmax(axis=1) == labels, dtype=np.float64)


def _top5(logits: Logits, labels: NDArray[np.int64]) -> Values:
    return np.asarray(is_in_top(logits, labels, 5), dtype=np.float64)


def _balanced(logits: Logits, labels: NDArray[np.int64]) -> Values:
    """Mean recall: an image counts as much as its class has few."""
    right, count = _right(logits, labels), np.bincount(labels)
    classes = int((count > 0).sum())
    recall = np.bincount(labels, weights=right) / np.maximum(count, 1)
    return np.asarray(
        recall.sum() / classes + (right - recall[labels]) * len(labels) / (classes * count[labels])
    )


def _macro_f1(logits: Logits, labels: NDArray[np.int64]) -> Values:
    predicted, images = logits.argmax(axis=1), len(labels)
    classes = logits.shape[1]
    right = predicted == labels
    hits = np.bincount(labels[right], minlength=classes).astype(np.float64)
    sizes = (np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)).astype(
        np.float64
    )
    seen = sizes > 0
    f1 = np.divide(2 * hits, sizes, out=np.zeros(classes), where=seen)
    weight = np.divide(images / seen.sum(), sizes, out=np.zeros(classes), where=seen)
    spread = (
        np.where(right, 2 * weight[labels], 0.0)
        - f1[labels] * weight[labels]
        - f1[predicted] * weight[predicted]
    )
    return np.asarray(f1[seen].mean() + spread)


def _ece(logits: Logits, labels: NDArray[np.int64], temperature: float) -> Values:
    """Each image's accuracy less confidence, with the sign that its bin has; bins as `metrics.reliability`
    has."""
    confidence = probabilities(logits, temperature).max(axis=1)
    gaps = _right(logits, labels) - confidence
    place = equal_mass_bins(confidence, _BINS)
    return np.asarray(gaps * np.sign(np.bincount(place, weights=gaps))[place])


def _fallen(logits: Logits, labels: NDArray[np.int64]) -> Values:
    return -_right(logits, labels)


_PLAIN: dict[str, Callable[[Logits, NDArray[np.int64]], Values]] = {
    "test_accuracy": _right,
    "test_top5_accuracy": _top5,
    "test_balanced_accuracy": _balanced,
    "test_macro_f1": _macro_f1,
    "generalization_gap": _fallen,
}
_TEMPERED: dict[str, Callable[[Logits, NDArray[np.int64], float], Values]] = {
    "test_nll": image_losses,
    "test_brier": image_brier_scores,
    "test_ece": _ece,
}
