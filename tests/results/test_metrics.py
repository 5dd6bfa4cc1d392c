"""Expected values by hand in the comments, or by scikit-learn and float64 references written out here."""

import math

import numpy as np
import pytest
from sklearn import metrics as reference

from headstart.errors import DataError
from headstart.results import metrics
from headstart.types import Predictions


def logits_of(*rows):
    return np.array(rows, dtype=np.float32)


def predictions(logits, labels, flip=None):
    return Predictions(
        logits=logits, labels=np.asarray(labels), example_ids=np.arange(len(labels)), flip_logits=flip
    )


@pytest.fixture(scope="module")
def ten_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 1003)  # not a multiple of 15 bins
    logits = rng.normal(size=(1003, 10)).astype(np.float32)
    logits[np.arange(1003), labels] += 1.5
    return logits, labels


# ---------------------------------------------------------------- accuracy


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        (logits_of([2, 1], [0, 3], [1, 0]), [0, 1, 1], 2 / 3),
        (logits_of([2, 1]), [1], 0.0),
        (logits_of([5, 5, 5]), [0], 1.0),  # a tie goes to the first class,
        (logits_of([5, 5, 5]), [1], 0.0),  # so to no other
    ],
)
def test_accuracy_counts_the_first_largest_logit(logits, labels, expected):
    assert metrics.accuracy(logits, np.array(labels)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("label", "k", "expected"), [(4, 2, 1.0), (0, 2, 1.0), (1, 2, 0.0), (1, 3, 1.0), (3, 4, 0.0)]
)
def test_topk_ranks_by_logit_and_breaks_ties_by_class(label, k, expected):
    # order: class 4 (9), then 0, 1 and 2 (5, in class order), then 3
    assert metrics.topk_accuracy(logits_of([5, 5, 5, 1, 9]), np.array([label]), k=k) == expected


def test_top5_is_undefined_for_five_classes_or_fewer():
    assert metrics.topk_accuracy(logits_of([1, 2, 3, 4, 5]), np.array([0])) is None


def test_topk_agrees_with_scikit_learn(ten_classes):
    logits, labels = ten_classes
    assert metrics.topk_accuracy(logits, labels) == pytest.approx(
        reference.top_k_accuracy_score(labels, logits, k=5)
    )


# ---------------------------------------------------------------- probabilities


def test_temperature_divides_the_logits():
    # softmax(2 ln 3 / 2, 0) = (3, 1) / 4
    assert metrics.probabilities(logits_of([2 * math.log(3), 0]), 2.0)[0] == pytest.approx([0.75, 0.25])


def test_likelihood_is_exact_where_probabilities_underflow():
    # p(label) = e^-2000, whose log a softmax followed by a log could not give
    assert metrics.negative_log_likelihood(logits_of([1000, -1000]), np.array([1])) == pytest.approx(2000.0)


def test_likelihood_agrees_with_scikit_learn(ten_classes):
    logits, labels = ten_classes
    exact = np.exp(logits.astype(np.float64))
    expected = reference.log_loss(labels, exact / exact.sum(axis=1, keepdims=True))
    assert metrics.negative_log_likelihood(logits, labels) == pytest.approx(expected, rel=1e-12)


def test_brier_score_sums_over_classes():
    # (0.75 - 1)^2 + 0.25^2 = 0.125 and 0.75^2 + (0.25 - 1)^2 = 1.125, mean 0.625
    logits = logits_of([math.log(3), 0], [math.log(3), 0])
    assert metrics.brier_score(logits, np.array([0, 1])) == pytest.approx(0.625)


# ---------------------------------------------------------------- calibration


def confident(*confidences):
    """Two-class logits whose first class has these probabilities."""
    return logits_of(*([math.log(each / (1 - each)), 0] for each in confidences))


def test_equal_mass_bins_are_as_worked_out_by_hand():
    # sorted into halves: (0.6, 0.7) with one right: |0.5 - 0.65|; (0.8, 0.9) with both right: |1 - 0.85|;
    # mean 0.15
    logits, labels = confident(0.9, 0.6, 0.8, 0.7), np.array([0, 1, 0, 0])
    table = metrics.reliability(logits, labels, bins=2)
    assert table["confidence"].tolist() == pytest.approx([0.65, 0.85])
    assert table["accuracy"].tolist() == [0.5, 1.0]
    assert table["count"].tolist() == [2, 2]
    assert metrics.expected_calibration_error(logits, labels, bins=2) == pytest.approx(0.15)


def test_equal_width_bins_agree_with_a_loop_in_float64(ten_classes):
    logits, labels = ten_classes
    exact = np.exp(logits.astype(np.float64))
    confidence = (exact / exact.sum(axis=1, keepdims=True)).max(axis=1)
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            right = logits.argmax(axis=1)[inside] == labels[inside]
            expected += inside.mean() * abs(right.mean() - confidence[inside].mean())
    assert metrics.expected_calibration_error(logits, labels, equal_mass=False) == pytest.approx(expected)


def test_equal_mass_bins_differ_by_at_most_one_image(ten_classes):
    assert set(metrics.reliability(*ten_classes)["count"]) == {66, 67}


def test_calibration_error_does_not_depend_on_the_order_of_equally_confident_images():
    logits, labels = confident(*[0.8] * 30), np.array([0] * 20 + [1] * 10)
    shuffled = np.random.default_rng(0).permutation(30)
    # one bin: |2/3 - 0.8|
    assert metrics.expected_calibration_error(logits, labels) == pytest.approx(0.8 - 2 / 3, abs=1e-7)
    assert metrics.expected_calibration_error(logits, labels[shuffled]) == pytest.approx(
        0.8 - 2 / 3, abs=1e-7
    )


def test_saturated_probabilities_have_a_bin():
    assert metrics.reliability(logits_of([1000, 0]), np.array([0]), equal_mass=False)["count"].tolist() == [1]


def test_fitted_temperature_undoes_a_known_scale():
    # labels drawn in the very proportions of the probabilities: 3 of 4 at odds 3, logits then doubled
    logits, labels = confident(*[0.75] * 4) * 2, np.array([0, 0, 0, 1])
    assert metrics.fit_temperature(logits, labels) == pytest.approx(2.0, rel=1e-4)


def test_temperature_of_a_faultless_model_is_the_lower_bound():
    logits = logits_of([0.5, 0], [0, 0.5])
    assert metrics.fit_temperature(logits, np.array([0, 1])) == pytest.approx(0.05, rel=1e-3)


# ---------------------------------------------------------------- per class


def test_confusion_matrix_has_true_classes_as_rows_and_keeps_absent_ones():
    logits = logits_of([9, 0, 0], [0, 9, 0], [0, 9, 0])
    assert metrics.confusion_matrix(logits, np.array([0, 0, 1])).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_an_absent_class_is_undefined_not_zero():
    # "c" has no images and is never predicted, "d" has none but is predicted once
    logits = logits_of([9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 0, 9])
    table = metrics.per_class(logits, np.array([0, 0, 1]), ["a", "b", "c", "d"])
    assert table["precision"].tolist() == pytest.approx([1.0, 0.0, np.nan, 0.0], nan_ok=True)
    assert table["recall"].tolist() == pytest.approx([0.5, 0.0, np.nan, np.nan], nan_ok=True)
    assert table["f1"].tolist() == pytest.approx([2 / 3, 0.0, np.nan, 0.0], nan_ok=True)
    assert table["support"].tolist() == [2, 1, 0, 0]
    assert metrics.balanced_accuracy(logits, np.array([0, 0, 1])) == pytest.approx(0.25)  # (1/2 + 0) / 2
    assert metrics.macro_f1(logits, np.array([0, 0, 1])) == pytest.approx(2 / 9)  # (2/3 + 0 + 0) / 3


def test_averages_agree_with_scikit_learn(ten_classes):
    logits, labels = ten_classes
    predicted = logits.argmax(axis=1)
    expected = reference.f1_score(labels, predicted, average="macro")
    assert metrics.macro_f1(logits, labels) == pytest.approx(expected)
    expected = reference.balanced_accuracy_score(labels, predicted)
    assert metrics.balanced_accuracy(logits, labels) == pytest.approx(expected)


def test_class_names_must_fit():
    with pytest.raises(DataError, match="2 class names for 3 logits; expected one each"):
        metrics.per_class(logits_of([1, 2, 3]), np.array([0]), ["a", "b"])


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize(
    "function",
    [
        metrics.accuracy,
        metrics.topk_accuracy,
        metrics.negative_log_likelihood,
        metrics.brier_score,
        metrics.reliability,
        metrics.expected_calibration_error,
        metrics.confusion_matrix,
        metrics.balanced_accuracy,
        metrics.macro_f1,
        metrics.fit_temperature,
    ],
)
def test_logits_that_are_not_finite_are_refused(function):
    logits = np.zeros((3, 7), dtype=np.float32)
    logits[1, 2], logits[2, 0] = np.nan, np.inf
    with pytest.raises(DataError, match="logits of 2 of 3 images are not finite"):
        function(logits, np.array([0, 1, 2]))


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros((2, 3)), [0], r"logits \(2, 3\) and labels \(1,\) do not match"),
        (np.zeros((0, 3)), [], "no images to evaluate"),
        (np.zeros((2, 3)), [0, 3], "labels run from 0 to 3; expected 0 to 2"),
        (np.zeros((2, 3)), [-1, 2], "labels run from -1 to 2; expected 0 to 2"),
    ],
)
def test_inputs_that_do_not_match_are_refused(logits, labels, message):
    with pytest.raises(DataError, match=message):
        metrics.accuracy(logits, np.array(labels, dtype=np.int64))


def test_evaluate_gives_every_registered_metric(ten_classes):
    part = predictions(*ten_classes, flip=ten_classes[0])
    found = metrics.evaluate({"train": part, "val": part, "test": part})
    assert set(found) == set(metrics.METRICS)
    assert all(isinstance(value, float) for value in found.values())


def test_evaluate_takes_the_gap_from_train_and_the_temperature_from_val():
    test = predictions(confident(0.75, 0.75, 0.75, 0.75) * 2, [0, 0, 1, 1])
    train = predictions(confident(0.75, 0.75), [0, 0])
    val = predictions(confident(*[0.75] * 4) * 2, [0, 0, 0, 1])
    found = metrics.evaluate({"train": train, "val": val, "test": test})
    assert found["generalization_gap"] == 0.5  # 1 - 0.5
    assert found["temperature"] == pytest.approx(2.0, rel=1e-4)
    assert found["test_ece"] == pytest.approx(0.9 - 0.5)  # doubled odds of 3 are 9 to 1
    assert found["test_ece_calibrated"] == pytest.approx(0.75 - 0.5, rel=1e-3)
    assert found["test_nll_calibrated"] == pytest.approx(-(math.log(0.75) + math.log(0.25)) / 2, rel=1e-3)


def test_without_validation_and_training_parts_their_metrics_are_none():
    found = metrics.evaluate({"test": predictions(logits_of([1, 0]), [0])})
    undefined = {name for name, value in found.items() if value is None}
    assert undefined == {
        "train_accuracy",
        "val_accuracy",
        "val_nll",
        "generalization_gap",
        "temperature",
        "test_nll_calibrated",
        "test_ece_calibrated",
        "test_flip_accuracy",
        "test_top5_accuracy",
    }


def test_evaluate_needs_test_predictions():
    with pytest.raises(DataError, match=r"no test predictions to evaluate, only \['val'\]"):
        metrics.evaluate({"val": predictions(logits_of([1, 0]), [0])})
