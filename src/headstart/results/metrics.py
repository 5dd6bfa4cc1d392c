"""How good predictions are, from logits alone: accuracy, calibration, per-class measures.

Everywhere: logits float32 (N, C), labels int64 (N,) in [0, C). The prediction is the largest logit, the
first of several equal ones. Sums run in float64, so the numbers do not depend on the order of the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its submodules load when they are first used
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.types import Predictions

if TYPE_CHECKING:
    import pandas as pd

# pandas and scikit-learn take longer to load than a prediction to compute: they load where they are used.
Logits = NDArray[np.floating[Any]]
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """What a metric is called, its unit ("fraction", "nats", ...) and which way is better (None: neither)."""

    title: str
    unit: str
    higher_is_better: bool | None


METRICS: dict[str, MetricSpec] = {
    "train_accuracy": MetricSpec(title="Training accuracy", unit="fraction", higher_is_better=True),
    "val_accuracy": MetricSpec(title="Validation accuracy", unit="fraction", higher_is_better=True),
    "test_accuracy": MetricSpec(title="Test accuracy", unit="fraction", higher_is_better=True),
    "test_flip_accuracy": MetricSpec(
        title="Test accuracy, flip-averaged", unit="fraction", higher_is_better=True
    ),
    "test_top5_accuracy": MetricSpec(title="Test top-5 accuracy", unit="fraction", higher_is_better=True),
    "test_balanced_accuracy": MetricSpec(
        title="Test balanced accuracy", unit="fraction", higher_is_better=True
    ),
    "test_macro_f1": MetricSpec(title="Test macro F1", unit="fraction", higher_is_better=True),
    "val_nll": MetricSpec(title="Validation negative log-likelihood", unit="nats", higher_is_better=False),
    "test_nll": MetricSpec(title="Test negative log-likelihood", unit="nats", higher_is_better=False),
    "test_nll_calibrated": MetricSpec(
        title="Test negative log-likelihood after temperature scaling", unit="nats", higher_is_better=False
    ),
    "test_ece": MetricSpec(title="Expected calibration error", unit="fraction", higher_is_better=False),
    "test_ece_calibrated": MetricSpec(
        title="Expected calibration error after temperature scaling", unit="fraction", higher_is_better=False
    ),
    "test_brier": MetricSpec(title="Brier score", unit="squared error", higher_is_better=False),
    "generalization_gap": MetricSpec(
        title="Training minus test accuracy", unit="fraction", higher_is_better=False
    ),
    "temperature": MetricSpec(title="Temperature fitted on validation", unit="ratio", higher_is_better=None),
}


def _checked(
    logits: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    logits, labels = np.asarray(logits), np.asarray(labels)
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or logits.shape[1] == 0:
        raise DataError(
            f"logits {logits.shape} and labels {labels.shape} do not match; expected (N, C) and (N,)"
        )
    if len(labels) == 0:
        raise DataError("no images to evaluate; expected at least one")
    bad = ~np.isfinite(logits).all(axis=1)
    if bad.any():
        raise DataError(
            f"logits of {int(bad.sum())} of {len(bad)} images are not finite; "
            "the training diverged, lower its learning rate"
        )
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise DataError(
            f"labels run from {labels.min()} to {labels.max()}; expected 0 to {logits.shape[1] - 1}"
        )
    return logits.astype(np.float64), labels.astype(np.int64)


def accuracy(logits: Logits, labels: NDArray[np.int64]) -> float:
    """Fraction of images whose largest logit is their label's.

    Raises: DataError on logits that are not finite, on shapes that do not match, or on no images; so do all
    here."""
    values, labels = _checked(logits, labels)
    return float((values.argmax(axis=1) == labels).mean())


def topk_accuracy(logits: Logits, labels: NDArray[np.int64], k: int = 5) -> float | None:
    """Fraction of images whose label is among the k largest logits (lower class first among equals);
    None with k classes or fewer, where it is 1 whatever the model says."""
    hits = is_in_top(logits, labels, k)
    return None if logits.shape[1] <= k else float(hits.mean())


def is_in_top(logits: Logits, labels: NDArray[np.int64], k: int) -> NDArray[np.bool_]:
    """Whether each image's label is among its k largest logits, bool (N,); lower class first among equals."""
    values, labels = _checked(logits, labels)
    own = np.take_along_axis(values, labels[:, None], axis=1)
    equal_before = (values == own) & (np.arange(values.shape[1]) < labels[:, None])
    return np.asarray((values > own).sum(axis=1) + equal_before.sum(axis=1) < k)


def probabilities(logits: Logits, temperature: float = 1.0) -> NDArray[np.float64]:
    """Class probabilities softmax(logits / temperature), float64 (N, C); rows sum to 1."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    return np.asarray(np.exp(scipy.special.log_softmax(scaled, axis=1)))


def negative_log_likelihood(logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean of -log p(label), in nats."""
    return float(image_losses(logits, labels, temperature).mean())


def image_losses(logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0) -> NDArray[np.float64]:
    """-log p(label) of each image, float64 (N,), in nats."""
    values, labels = _checked(logits, labels)
    return _losses(scipy.special.log_softmax(values / temperature, axis=1), labels)


def _losses(log_probability: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(-np.take_along_axis(log_probability, labels[:, None], axis=1)[:, 0])


def brier_score(logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0) -> float:
    """Mean squared distance between the probabilities and the one-hot label, summed over classes: 0 to 2.

    Source: Brier (1950), Verification of forecasts expressed in terms of probability, equation 2."""
    return float(image_brier_scores(logits, labels, temperature).mean())


def image_brier_scores(
    logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0
) -> NDArray[np.float64]:
    """The Brier score of each image, float64 (N,)."""
    values, labels = _checked(logits, labels)
    return _brier_scores(probabilities(values, temperature), labels)


def _brier_scores(probability: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    errors = probability.copy()
    errors[np.arange(len(labels)), labels] -= 1.0
    return np.asarray((errors**2).sum(axis=1))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Negative log-likelihood in nats, Brier score 0 to 2, and expected calibration error 0 to 1."""

    nll: float
    brier: float
    ece: float


def scores(logits: Logits, labels: NDArray[np.int64], temperature: float = 1.0) -> Scores:
    """The bits of negative_log_likelihood, brier_score and expected_calibration_error, from one softmax."""
    values, labels = _checked(logits, labels)
    log_probability = scipy.special.log_softmax(values / temperature, axis=1)
    probability = np.exp(log_probability)
    return Scores(
        nll=float(_losses(log_probability, labels).mean()),
        brier=float(_brier_scores(probability, labels).mean()),
        ece=_calibration_error(_bins(probability, values.argmax(axis=1) == labels, 15, equal_mass=True)),
    )


def reliability(
    logits: Logits,
    labels: NDArray[np.int64],
    bins: int = 15,
    equal_mass: bool = True,
    temperature: float = 1.0,
) -> pd.DataFrame:
    """Reliability diagram: a row a non-empty bin, ordered by confidence, columns confidence (mean probability
    of the predicted class), accuracy, count.

    equal_mass: bins hold equally many images (equal confidences stay together, so the order of the images
    cannot matter); otherwise bins are equally wide on (0, 1], closed on the right.
    Source: Guo et al. (2017), On calibration of modern neural networks, section 2; equal mass: Nixon et al.
    (2019).
    """
    import pandas as pd

    values, labels = _checked(logits, labels)
    confidence, correct, count = _bins(
        probabilities(values, temperature), values.argmax(axis=1) == labels, bins, equal_mass
    )
    return pd.DataFrame({"confidence": confidence, "accuracy": correct, "count": count})


def _bins(
    probability: NDArray[np.float64], correct: NDArray[np.bool_], bins: int, equal_mass: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """The rows of a reliability diagram: mean confidence, accuracy and images of each bin."""
    confidence = probability.max(axis=1)
    if equal_mass:
        place = equal_mass_bins(confidence, bins)
    else:
        place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place)
    full = count > 0
    return (
        np.bincount(place, weights=confidence)[full] / count[full],
        np.bincount(place, weights=correct)[full] / count[full],
        count[full],
    )


def equal_mass_bins(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each image, int64 (N,) from 0: equally many a bin, equal confidences in one."""
    starts = np.arange(1, bins) * len(confidence) // bins
    return np.searchsorted(np.unique(np.sort(confidence)[starts]), confidence, side="right")


def expected_calibration_error(
    logits: Logits,
    labels: NDArray[np.int64],
    bins: int = 15,
    equal_mass: bool = True,
    temperature: float = 1.0,
) -> float:
    """Mean over images of their bin's |accuracy - confidence|, 0 to 1; bins as in `reliability`.

    Source: Naeini et al. (2015); Guo et al. (2017), equation 3."""
    values, labels = _checked(logits, labels)
    correct = values.argmax(axis=1) == labels
    return _calibration_error(_bins(probabilities(values, temperature), correct, bins, equal_mass))


def _calibration_error(rows: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]) -> float:
    confidence, accuracy, count = rows
    return float((count * np.abs(accuracy - confidence)).sum() / count.sum())


def confusion_matrix(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts, int64 (C, C): a row a true class, a column a predicted class."""
    values, labels = _checked(logits, labels)
    classes = values.shape[1]
    counts = np.bincount(labels * classes + values.argmax(axis=1), minlength=classes**2)
    return counts.reshape(classes, classes).astype(np.int64)


def _precision_recall_f1_support(logits: Logits, labels: NDArray[np.int64]) -> list[NDArray[Any]]:
    """Of each class, NaN where undefined: scikit-learn's, whose import alone takes 1.9 s of a processor."""
    counts = confusion_matrix(logits, labels)
    right, predicted, support = counts.diagonal(), counts.sum(0), counts.sum(1)
    with np.errstate(invalid="ignore"):
        return [right / predicted, right / support, 2 * right / (support + predicted), support]


def per_class(logits: Logits, labels: NDArray[np.int64], class_names: Sequence[str]) -> pd.DataFrame:
    """A row a class (index "class"), columns precision, recall, f1 (0..1) and support (images of the class).

    NaN where undefined: the precision of a class never predicted, the recall of a class without images, the
    F1 of a class that is neither. Raises: DataError where the names are not one for each logit."""
    import pandas as pd

    if len(class_names) != np.asarray(logits).shape[-1]:
        raise DataError(
            f"{len(class_names)} class names for {np.asarray(logits).shape[-1]} logits; expected one each"
        )
    precision, recall, f1, support = _precision_recall_f1_support(logits, labels)
    return pd.DataFrame(
        {"precision": precision, "recall": recall, "f1": f1, "support": support.astype(np.int64)},
        index=pd.Index(class_names, name="class"),
    )


def balanced_accuracy(logits: Logits, labels: NDArray[np.int64]) -> float:
    """Mean recall over the classes that have images."""
    return float(np.nanmean(_precision_recall_f1_support(logits, labels)[1]))


def macro_f1(logits: Logits, labels: NDArray[np.int64]) -> float:
    """Mean F1 over the classes that have images or are predicted."""
    return float(np.nanmean(_precision_recall_f1_support(logits, labels)[2]))


def fit_temperature(logits: Logits, labels: NDArray[np.int64]) -> float:
    """The temperature in [0.05, 20] whose softmax has the least negative log-likelihood on these images.

    The likelihood is convex in 1/T, hence has one minimum in log T; where every image is right it falls
    towards T = 0, and what comes back lies where it stops falling in float64, or on the lower bound.
    Source: Guo et al. (2017), section 4.2."""
    values, labels = _checked(logits, labels)
    optimum = scipy.optimize.minimize_scalar(
        lambda log_t: negative_log_likelihood(values, labels, float(np.exp(log_t))),
        bounds=(np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(optimum.x))


def evaluate(predictions: Mapping[str, Predictions]) -> dict[str, float | None]:
    """Every metric in METRICS, by name; None where its part ("train", "val") was not predicted or it is
    undefined.

    The temperature is fitted on "val" and applied to "test". Raises: DataError where "test" is missing."""
    if "test" not in predictions:
        raise DataError(f"no test predictions to evaluate, only {sorted(predictions)}; expected 'test'")
    train, val, test = predictions.get("train"), predictions.get("val"), predictions["test"]
    temperature = None if val is None else fit_temperature(val.logits, val.labels)
    train_accuracy = None if train is None else accuracy(train.logits, train.labels)
    test_accuracy = accuracy(test.logits, test.labels)
    return {
        "train_accuracy": train_accuracy,
        "val_accuracy": None if val is None else accuracy(val.logits, val.labels),
        "test_accuracy": test_accuracy,
        "test_flip_accuracy": None if test.flip_logits is None else accuracy(test.flip_logits, test.labels),
        "test_top5_accuracy": topk_accuracy(test.logits, test.labels, k=5),
        "test_balanced_accuracy": balanced_accuracy(test.logits, test.labels),
        "test_macro_f1": macro_f1(test.logits, test.labels),
        "val_nll": None if val is None else negative_log_likelihood(val.logits, val.labels),
        "test_nll": negative_log_likelihood(test.logits, test.labels),
        "test_nll_calibrated": None
        if temperature is None
        else negative_log_likelihood(test.logits, test.labels, temperature),
        "test_ece": expected_calibration_error(test.logits, test.labels),
        "test_ece_calibrated": None
        if temperature is None
        else expected_calibration_error(test.logits, test.labels, temperature=temperature),
        "test_brier": brier_score(test.logits, test.labels),
        "generalization_gap": None if train_accuracy is None else train_accuracy - test_accuracy,
        "temperature": temperature,
    }
