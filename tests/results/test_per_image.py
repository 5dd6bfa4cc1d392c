"""Each metric is the mean of its values at single images; their spread is that of resampled images."""

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.results import metrics
from headstart.results.per_image import per_image_values
from headstart.types import Predictions

SPLIT = [name for name in metrics.METRICS if name.startswith("test_")]


def predictions(count: int = 997, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.choice(7, count, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.06, 0.04])
    logits = rng.normal(size=(count, 7)).astype(np.float32)
    logits[np.arange(count), labels] += 1.5
    flip = logits + rng.normal(0, 0.3, logits.shape).astype(np.float32)
    return Predictions(logits=logits, labels=labels, example_ids=np.arange(count), flip_logits=flip)


@pytest.mark.parametrize("metric", SPLIT)
def test_the_mean_is_the_metric(metric: str) -> None:
    test = predictions()
    expected = metrics.evaluate({"test": test, "val": predictions(seed=1)})
    values = per_image_values(metric, test, expected["temperature"])
    assert values is not None and values.shape == (997,) and values.dtype == np.float64
    assert values.mean() == pytest.approx(expected[metric], abs=1e-12)


def test_a_class_that_no_image_shows_counts_in_neither() -> None:
    test = predictions(40)
    few = Predictions(logits=test.logits[:9], labels=test.labels[:9], example_ids=test.example_ids[:9])
    for metric in ("test_balanced_accuracy", "test_macro_f1"):
        values = per_image_values(metric, few)
        assert values is not None
        assert values.mean() == pytest.approx(metrics.evaluate({"test": few})[metric], abs=1e-12)


@pytest.mark.parametrize("metric", ["test_balanced_accuracy", "test_macro_f1", "test_nll"])
def test_the_spread_is_that_of_resampled_images(metric: str) -> None:
    test, rng = predictions(2000), np.random.default_rng(3)
    values = per_image_values(metric, test)
    assert values is not None
    measure = {
        "test_balanced_accuracy": metrics.balanced_accuracy,
        "test_macro_f1": metrics.macro_f1,
        "test_nll": metrics.negative_log_likelihood,
    }[metric]
    drawn = [measure(test.logits[rows], test.labels[rows]) for rows in rng.integers(0, 2000, (200, 2000))]
    assert values.std() / np.sqrt(2000) == pytest.approx(np.std(drawn), rel=0.15)


def test_what_test_images_do_not_give_is_none() -> None:
    test = predictions(20)
    assert per_image_values("seconds", test) is None
    assert per_image_values("test_nll_calibrated", test) is None  # no temperature
    five = Predictions(logits=test.logits[:, :5], labels=test.labels % 5, example_ids=test.example_ids)
    assert per_image_values("test_top5_accuracy", five) is None
    assert per_image_values("test_flip_accuracy", five) is None


def test_the_gap_has_the_test_images_part() -> None:
    test = predictions(50)
    values = per_image_values("generalization_gap", test)
    assert values is not None and values.mean() == -metrics.accuracy(test.logits, test.labels)


def test_logits_that_are_not_finite_are_refused() -> None:
    test = predictions(5)
    test.logits[0, 0] = np.nan
    with pytest.raises(DataError, match="not finite"):
        per_image_values("test_accuracy", test)
