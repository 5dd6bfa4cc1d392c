"""Learning curves with known answers: power 0.95 - 0.9 n^-0.5 and its like, with and without noise."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

from headstart.results import curve_fit, label_curves
from headstart.store import FinishedTrial
from headstart.types import Cost, Result

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
coverage_runs = importlib.import_module("coverage_runs")

BUDGETS = (5, 10, 25, 50, 100, 250, 500, 1000)


def power(n):
    return 0.95 - 0.9 * n**-0.5


def flatter_power(n):
    return 0.85 - 0.35 * n**-0.5  # meets power where 0.1 = 0.55 n^-0.5: n = 30.25


def exponential(n):
    return 0.9 - 0.5 * np.exp(-0.004 * n)


def points_of(truth, seeds=5, spread=0.0, budgets=BUDGETS, noise=0):
    rng = np.random.default_rng(noise)
    return {
        float(n): {seed: float(truth(n) + rng.normal(0, spread)) for seed in range(seeds)} for n in budgets
    }


def fit(truth, **options):
    return curve_fit.fit_curve(points_of(truth, **options), np.random.default_rng(0), draws=400)


# ---------------------------------------------------------------- the fit


def test_a_power_law_is_found_and_chosen():
    found = fit(power)
    assert found.form == "power"
    assert (found.a, found.b, found.c) == pytest.approx((0.95, 0.9, 0.5), rel=1e-4)
    assert found.error < 1e-5


def test_an_exponential_is_found_and_chosen():
    found = fit(exponential)
    assert found.form == "exponential"
    assert (found.a, found.b, found.c) == pytest.approx((0.9, 0.5, 0.004), rel=1e-4)


def test_a_noisy_fit_agrees_with_scipy():
    points = points_of(power, spread=0.01)
    found = curve_fit.fit_curve(points, np.random.default_rng(0), draws=2)
    means = [np.mean(list(by_seed.values())) for by_seed in points.values()]
    expected, _ = optimize.curve_fit(
        lambda n, a, b, c: a - b * n**-c, np.array(BUDGETS, float), means, p0=(0.9, 1.0, 0.6)
    )
    assert found.form == "power"
    assert (found.a, found.b, found.c) == pytest.approx(tuple(expected), rel=0.02)  # its weights are equal


def test_no_curve_rises_above_one():
    found = fit(lambda n: 1.02 - 0.8 * n**-0.4)  # 0.97 at 1,000 labels
    assert found.a <= 1.0
    assert found.b > 0


def test_fewer_than_four_budgets_say_nothing():
    assert fit(power, budgets=(5, 10, 25)) is None
    assert fit(power, budgets=(5, 10, 25, 50)) is not None


def test_accuracy_that_falls_with_more_labels_says_nothing():
    points = points_of(power)
    points[100.0] = {seed: 0.70 for seed in range(5)}  # at 50 labels it was 0.823
    assert curve_fit.fit_curve(points, np.random.default_rng(0)) is None


def test_a_fall_within_the_noise_is_no_fall():
    points = points_of(lambda n: 0.9 - 0.0 * n, seeds=3, spread=0.03, noise=4)
    means = [np.mean(list(by_seed.values())) for by_seed in points.values()]
    assert min(np.diff(means)) < -0.02
    assert curve_fit.fit_curve(points, np.random.default_rng(0), draws=2) is not None


# ---------------------------------------------------------------- uncertainty


def test_one_seed_has_no_interval():
    found = fit(power, seeds=1)
    assert found.draws is None
    assert label_curves.labels_for(found, 0.9).interval is None
    assert label_curves.gain_from_doubling(found).interval is None
    assert label_curves.crossing(found, fit(flatter_power)).interval is None


def test_drawn_means_range_over_the_t_interval():
    # mean 0.7, standard deviation 0.1, three seeds: 0.7 -+ 4.302653 * 0.1 / sqrt(3)
    points = {float(n): {0: 0.6, 1: 0.7, 2: 0.8} for n in BUDGETS}
    means = curve_fit.draw_means(
        points, np.array(BUDGETS, float), np.full(8, 0.7), np.random.default_rng(0), 40_000
    )
    low, high = np.quantile(means[:, 3], [0.025, 0.975])
    assert (low, high) == pytest.approx((0.7 - 0.24841, 0.7 + 0.24841), abs=0.01)


def test_a_seed_moves_all_its_budgets_together():
    points = {float(n): {0: 0.6, 1: 0.7, 2: 0.8} for n in BUDGETS}
    means = curve_fit.draw_means(
        points, np.array(BUDGETS, float), np.full(8, 0.7), np.random.default_rng(0), 50
    )
    assert np.ptp(means, axis=1).max() < 1e-12
    assert np.ptp(means[:, 0]) > 0.1


def test_a_budget_with_one_seed_takes_the_trend_of_the_others():
    spreads = {n: 0.02 * (n / 100) ** -0.25 for n in BUDGETS}
    points = {float(n): {0: power(n) - spread, 1: power(n) + spread} for n, spread in spreads.items()}
    points[1000.0] = {0: power(1000)}
    errors = curve_fit.standard_errors(points, np.array(BUDGETS, float))
    expected = [np.sqrt(2) * spreads[n] / np.sqrt(len(points[float(n)])) for n in BUDGETS]
    assert errors == pytest.approx(expected, rel=1e-6)


def test_spread_that_rises_with_the_labels_is_taken_as_level():
    points = {float(n): {0: 0.5 - n / 1e4, 1: 0.5 + n / 1e4} for n in BUDGETS}
    points[1.0] = {0: 0.4}
    errors = curve_fit.standard_errors(points, np.array(sorted(points)))
    pooled = np.sqrt(np.mean([2 * (n / 1e4) ** 2 for n in BUDGETS]))
    assert errors[0] == pytest.approx(pooled)


def test_budgets_weigh_by_what_is_known_of_them():
    """One precise trial at all labels counts for more than five loose ones at five labels a class."""
    points = points_of(power, seeds=5, spread=0.0)
    rng = np.random.default_rng(0)
    for n in (5.0, 10.0, 25.0):
        points[n] = {seed: power(n) + 0.05 + rng.normal(0, 0.05) for seed in range(5)}
    for n in (250.0, 500.0, 1000.0):
        points[n] = {seed: power(n) + rng.normal(0, 0.0005) for seed in range(2)}
    found = curve_fit.fit_curve(points, np.random.default_rng(0), draws=10)
    assert np.abs(found.predict([250, 500, 1000]) - power(np.array([250, 500, 1000.0]))).max() < 0.003


def test_a_curve_whose_limit_lies_below_what_was_measured_is_refused():
    points = points_of(lambda n: 0.8 - 0.6 * n**-0.8, seeds=3, spread=0.001)
    points[4500.0] = {0: 0.83, 1: 0.831, 2: 0.829}
    assert curve_fit.fit_curve(points, np.random.default_rng(0), draws=10) is None


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("form", coverage_runs.FORMS)
def test_intervals_hold_the_known_answers_of_forms_that_are_fitted_and_not(form, seeds):
    """16 noisy studies; intervals are nominal 95 %, and at least 90 % of those stated hold the truth.
    docs/reference/coverage.md has 2,000."""
    stated = coverage_runs.synthetic_curves(form, seeds, curves=16, draws=100)
    held = [is_held for name in coverage_runs.SENTENCES for is_held in stated.held[name]]
    assert len(held) >= 4
    assert sum(held) >= 0.9 * len(held) - 1


def test_same_generator_same_curve():
    first, second = fit(power, spread=0.01), fit(power, spread=0.01)
    assert np.array_equal(first.draws, second.draws)


# ---------------------------------------------------------------- answers


def test_labels_for_a_target_invert_the_curve():
    assert label_curves.labels_for(fit(power), 0.9).value == pytest.approx(324, rel=1e-3)
    # 0.5 exp(-0.004 n) = 0.05: n = ln(10) / 0.004
    assert label_curves.labels_for(fit(exponential), 0.85).value == pytest.approx(575.646, rel=1e-3)


@pytest.mark.parametrize(
    "target",
    [
        0.96,  # above the curve's limit
        0.94,  # at 8,100 labels, more than 4 x 1,000
        -0.3,  # at 0.5 labels, less than 5 / 4
    ],
)
def test_targets_far_from_what_was_measured_have_no_answer(target):
    assert label_curves.labels_for(fit(power), target) is None


def test_a_target_whose_interval_leaves_the_range_has_no_answer():
    noisy = fit(power, seeds=3, spread=0.03)
    assert noisy is not None
    assert label_curves.labels_for(noisy, 0.93) is None  # 2,025 labels in truth, too uncertain to say


def test_gain_from_doubling_is_the_difference_along_the_curve():
    found = fit(power)
    assert label_curves.gain_from_doubling(found).value == pytest.approx(
        0.9 * (1000**-0.5 - 2000**-0.5), rel=1e-3
    )
    assert label_curves.gain_from_doubling(found, 100).value == pytest.approx(
        0.09 - 0.9 * 200**-0.5, rel=1e-3
    )
    assert label_curves.gain_from_doubling(found, 2100) is None


def test_crossing_is_where_the_curves_meet():
    steep, flat = fit(power), fit(flatter_power)
    assert label_curves.crossing(steep, flat).value == pytest.approx(30.25, rel=1e-3)
    assert label_curves.crossing(flat, steep).value == pytest.approx(30.25, rel=1e-3)


def test_curves_that_do_not_meet_where_measured_have_no_crossing():
    assert label_curves.crossing(fit(power), fit(lambda n: power(n) - 0.05)) is None
    # They meet at 30.25, more than 4 times beyond the last budget that both have.
    assert label_curves.crossing(fit(power), fit(flatter_power, budgets=(1, 2, 5, 7))) is None


def test_curves_whose_order_is_noise_have_no_crossing():
    first = fit(power, seeds=3, spread=0.02, noise=1)
    second = fit(lambda n: power(n) + 0.001, seeds=3, spread=0.02, noise=2)
    assert label_curves.crossing(first, second) is None


def test_predictions_stop_at_four_times_the_budgets():
    found, rng = fit(power), np.random.default_rng(0)
    assert label_curves.predict_with_interval(found, 4000, rng).value == pytest.approx(
        0.95 - 0.9 * 4000**-0.5, abs=1e-5
    )
    assert label_curves.predict_with_interval(found, 4001, rng) is None
    assert label_curves.predict_with_interval(found, 1, rng) is None


def test_the_hidden_budget_is_inside_its_interval():
    inside = [
        label_curves.check_hidden_budget(
            points_of(power, seeds=3, spread=0.01, noise=noise), np.random.default_rng(noise)
        ).inside
        for noise in range(20)
    ]
    assert sum(inside) >= 17  # nominal 19 of 20


def test_a_hidden_budget_off_the_curve_is_outside():
    points = points_of(power, spread=0.005)
    points[1000.0] = {seed: 0.99 for seed in range(5)}  # the curve says 0.9215
    found = label_curves.check_hidden_budget(points, np.random.default_rng(0))
    assert found.inside is False
    assert (found.labels, found.observed) == (1000.0, pytest.approx(0.99))


def test_a_hidden_budget_too_far_from_the_others_is_not_predicted():
    assert (
        label_curves.check_hidden_budget(
            points_of(power, budgets=(5, 10, 25, 50, 1000)), np.random.default_rng(0)
        )
        is None
    )


# ---------------------------------------------------------------- from trials


def result_of(budget, seed, accuracy, train_images, arm="cnn"):
    result = Result(
        key=f"{arm}{budget}{seed}",
        study="s",
        metrics={"test_accuracy": accuracy},
        train_images=train_images,
        history=(),
        trial={
            "arm": {"name": arm, "method": "scratch"},
            "labels_per_class": budget,
            "seed": seed,
            "phase": "select",
        },
        cost=Cost(seconds={}, spent_seconds=0, examples=0, flops=0, peak_memory_bytes=0),
    )
    return FinishedTrial(folder=Path(result.key), result=result)


def test_points_count_all_labels_by_the_images_of_a_class():
    trials = [
        result_of(10, 0, 0.5, 100),
        result_of(10, 1, 0.6, 100),
        result_of(None, 0, 0.9, 45_000),
        result_of(10, 0, 0.1, 100, arm="other"),
    ]
    assert label_curves.points_from_trials(trials, "cnn") == {10.0: {0: 0.5, 1: 0.6}, 4500.0: {0: 0.9}}
