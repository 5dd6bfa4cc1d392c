"""Wrong labels among real ones are found; each image is judged by a classifier that never saw it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from headstart.data.splits import fold_numbers
from headstart.data_quality.label_errors import (
    cross_validated_probabilities,
    find_label_errors,
    suspected_label_errors,
)
from headstart.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def digits():
    """Features float32 (1797, 64) of real handwritten digits, and their labels."""
    values, labels = load_digits(return_X_y=True)
    return values.astype(np.float32), labels.astype(np.int64)


def test_planted_wrong_labels_are_found(digits):
    values, true = digits
    labels = true.copy()
    wrong = np.random.default_rng(0).choice(len(labels), 60, replace=False)
    labels[wrong] = (labels[wrong] + 1 + np.arange(60) % 9) % 10
    found = find_label_errors(values, labels, np.arange(len(labels)), num_classes=10)
    hits = np.isin(found.places, wrong)
    assert hits.sum() >= 50 and len(found) <= 60
    assert (found.suggested[hits] == true[found.places[hits]]).mean() > 0.9
    assert (np.diff(found.given_probability) >= 0).all()  # the surest first
    assert (found.suggested_probability[hits] > found.given_probability[hits]).all()


def test_copies_of_a_picture_do_not_vouch_for_its_wrong_label(digits):
    """Three copies of a zero that is called a four: each is judged by a probe that saw none of them."""
    values, labels = digits
    values = np.concatenate([values[:1], values[:1], values[:1], values[1:400]])
    labels = np.concatenate([[4, 4, 4], labels[1:400]])
    units = np.concatenate([[0, 0, 0], np.arange(1, 400)])
    found = find_label_errors(values, labels, units, num_classes=10)
    assert {0, 1, 2} <= set(found.places.tolist())
    assert (found.suggested[np.isin(found.places, (0, 1, 2))] == 0).all()


def test_each_image_is_judged_by_a_fit_without_it(digits):
    values, _ = digits
    labels = np.random.default_rng(1).integers(
        0, 10, len(values)
    )  # nothing to learn: only a leak would be right
    folds = fold_numbers(labels, np.arange(len(labels)))
    shares = cross_validated_probabilities(values, labels, folds, num_classes=10, l2_values=[0.01])
    assert shares.shape == (1797, 10) and shares.dtype == np.float32
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert (shares.argmax(axis=1) == labels).mean() < 0.14


def test_probabilities_are_scikit_learns(digits):
    values, labels = digits
    folds = fold_numbers(labels, np.arange(len(labels)), 2)
    shares = cross_validated_probabilities(values, labels, folds, num_classes=10, l2_values=[0.01])
    for fold in (0, 1):
        fit = folds != fold
        mean, deviation = values[fit].mean(axis=0), np.maximum(values[fit].std(axis=0), 1e-6)
        deviation[values[fit].std(axis=0) == 0] = 1
        expected = LogisticRegression(C=1 / (0.01 * fit.sum()), max_iter=2000, tol=1e-8)
        theirs = expected.fit((values[fit] - mean) / deviation, labels[fit]).predict_proba(
            (values[~fit] - mean) / deviation
        )
        assert np.abs(shares[~fit] - theirs).mean() < 2e-3


def test_a_class_without_images_is_left_out():
    labels = np.array([0, 0, 0, 2, 2, 2] * 10)
    shares = np.where(np.eye(3)[labels] > 0, 0.9, 0.05)
    shares[0] = (0.02, 0.0, 0.98)
    found = suspected_label_errors(labels, shares)
    assert (found.places.tolist(), found.suggested.tolist()) == ([0], [2])
    assert found.given_probability.tolist() == pytest.approx([0.02])
    assert found.agreement == pytest.approx(59 / 60)


def test_one_class_alone_has_no_suspects():
    assert len(suspected_label_errors([1, 1, 1], np.full((3, 2), 0.5))) == 0


@pytest.mark.parametrize(
    ("shares", "message"),
    [(np.ones((2, 3)), "3 labels and probabilities of shape"), (np.full((3, 3), np.nan), "not finite")],
)
def test_probabilities_that_make_no_sense_are_refused(shares, message):
    with pytest.raises(DataError, match=message):
        suspected_label_errors([0, 1, 2], shares)


def test_without_cleanlab_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(ConfigError, match=r'cleanlab: pip install "headstart\[check\]"'):
        suspected_label_errors([0, 1], np.full((2, 2), 0.5))
