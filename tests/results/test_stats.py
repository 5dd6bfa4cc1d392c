"""Expected values by hand, from published tables, or by scipy; and simulations of what verdicts rest on."""

import math

import numpy as np
import pytest
from scipy import stats as reference

from headstart.errors import DataError
from headstart.results import stats

# ---------------------------------------------------------------- intervals


def test_t_interval_is_as_in_the_table():
    # mean 2, standard deviation 1, t(0.975, 2) = 4.302653: 2 -+ 4.302653 / sqrt(3)
    assert stats.t_interval([1, 2, 3]) == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-6)


def test_t_interval_agrees_with_scipy():
    values = [0.912, 0.918, 0.907, 0.921, 0.915]
    expected = reference.t.interval(0.99, 4, loc=np.mean(values), scale=reference.sem(values))
    assert stats.t_interval(values, 0.99) == pytest.approx(expected)


def test_interval_is_undefined_for_one_seed():
    assert stats.t_interval([0.9]) is None


def test_equal_rounded_values_keep_the_width_of_their_rounding():
    # 3 -+ 4.302653 * (1 / sqrt(12)) / sqrt(3)
    assert stats.t_interval([3, 3, 3], resolution=1.0) == pytest.approx(
        (3 - 0.717109, 3 + 0.717109), abs=1e-6
    )
    assert stats.t_interval([0.1 + 0.2, 0.3, 0.3]) == pytest.approx(
        (0.3, 0.3), abs=1e-15
    )  # no step: no width


def test_wilson_interval_is_as_in_the_formula():
    # 8 of 10, z = 1.959964: centre (8 + z^2/2) / (10 + z^2), half z sqrt(10 * 0.16 + z^2/4) / (10 + z^2)
    z = 1.959964
    centre, half = (8 + z * z / 2) / (10 + z * z), z * math.sqrt(1.6 + z * z / 4) / (10 + z * z)
    assert stats.wilson_interval(8, 10) == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_wilson_interval_stays_inside_at_the_ends():
    assert stats.wilson_interval(10, 10) == pytest.approx((0.722467, 1.0), abs=1e-6)
    assert stats.wilson_interval(0, 10)[0] == 0.0


@pytest.mark.parametrize(("right", "images"), [(0, 0), (5, 4), (-1, 4)])
def test_wilson_interval_refuses_what_is_no_proportion(right, images):
    with pytest.raises(DataError, match=f"{right} right of {images} images is no proportion"):
        stats.wilson_interval(right, images)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
    ],
)
def test_interval_of_a_difference_is_the_published_one(a, b, expected):
    # Newcombe (1998), table II, method 10
    assert stats.difference_interval(*a, *b) == pytest.approx(expected, abs=6e-5)
    mirrored = stats.difference_interval(*b, *a)
    assert mirrored == pytest.approx((-expected[1], -expected[0]), abs=6e-5)


# ---------------------------------------------------------------- paired comparisons


def test_paired_difference_agrees_with_scipy():
    a, b = [0.92, 0.93, 0.91, 0.94], [0.90, 0.92, 0.905, 0.91]
    found, expected = stats.paired_difference(a, b), reference.ttest_rel(a, b)
    assert found.effect == pytest.approx(0.01625)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.n == 4


def test_p_value_is_of_the_margin():
    a, b = [0.92, 0.93, 0.91, 0.94], [0.90, 0.92, 0.905, 0.91]
    expected = reference.ttest_1samp(np.subtract(a, b), 0.01).pvalue
    assert stats.paired_difference(a, b, margin=0.01).p_value == pytest.approx(expected)


def test_one_pair_has_an_effect_and_nothing_else():
    found = stats.paired_difference([0.9], [0.8])
    assert found.effect == pytest.approx(0.1)
    assert (found.interval, found.p_value, found.standard_deviation, found.n) == (None, None, None, 1)


@pytest.mark.parametrize(("a", "expected"), [([3.0, 4.0], 0.0), ([1.0, 2.0], 1.0)])
def test_differences_without_spread_are_on_the_margin_or_not(a, expected):
    assert stats.paired_difference(a, [1.0, 2.0]).p_value == expected


def test_pairs_must_match():
    with pytest.raises(DataError, match=r"values \(2,\) and \(3,\) do not pair up"):
        stats.paired_difference([1, 2], [1, 2, 3])


def test_mcnemar_is_the_exact_binomial_sum():
    # 1 against 9 of 10: 2 * (C(10,0) + C(10,1)) / 2^10 = 22 / 1024
    first = np.array([True] * 1 + [False] * 9 + [True] * 20 + [False] * 5)
    second = np.array([False] * 1 + [True] * 9 + [True] * 20 + [False] * 5)
    found = stats.mcnemar(first, second)
    assert (found.only_a, found.only_b) == (1, 9)
    assert found.p_value == pytest.approx(22 / 1024)


def test_mcnemar_of_models_that_agree_tells_nothing():
    assert stats.mcnemar(np.array([True, False]), np.array([True, False])).p_value == 1.0


def test_mcnemar_refuses_other_images():
    with pytest.raises(DataError, match="not of the same images"):
        stats.mcnemar(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


# ---------------------------------------------------------------- families


def test_holm_is_as_worked_out_by_hand():
    # sorted 0.005 * 4, 0.01 * 3, 0.03 * 2, 0.04 * 1, each at least its forerunner
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.9, 0.8]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_holm_confidences_follow_the_steps_and_stop_at_the_first_failure():
    # 0.005 <= 0.05/4, 0.01 <= 0.05/3, 0.03 > 0.05/2: stops there, for 0.04 too
    expected = [1 - 0.05 / 3, 0.975, 0.975, 1 - 0.05 / 4]
    assert stats.holm_confidences([0.01, 0.04, 0.03, 0.005]) == pytest.approx(expected)


def test_interval_at_the_holm_level_and_adjusted_p_never_disagree():
    rng = np.random.default_rng(3)
    decisions = set()
    for _ in range(60):
        differences = rng.normal(rng.uniform(0, 2, (6, 1)), 1.0, (6, 4))
        plain = [stats.paired_difference(row, np.zeros(4)) for row in differences]
        p_values = [each.p_value for each in plain]
        steps = stats.holm(p_values), stats.holm_confidences(p_values)
        for row, adjusted, level in zip(differences, *steps, strict=True):
            low, high = stats.t_interval(row, level)
            assert (low > 0 or high < 0) == (adjusted <= 0.05)
            decisions.add(adjusted <= 0.05)
    assert decisions == {True, False}


@pytest.mark.parametrize(
    ("interval", "margin", "direction", "expected"),
    [
        ((0.01, 0.03), 0.0, "higher", "supported"),
        ((0.01, 0.03), 0.02, "higher", "inconclusive"),
        ((0.01, 0.03), 0.05, "higher", "refuted"),
        ((-0.03, -0.01), 0.0, "higher", "refuted"),
        ((0.02, 0.03), 0.02, "higher", "inconclusive"),  # the margin itself is not beyond it
        ((-0.03, -0.01), 0.0, "lower", "supported"),
        ((-0.03, -0.01), 0.02, "lower", "inconclusive"),
        ((-0.03, -0.01), 0.05, "lower", "refuted"),
        ((0.01, 0.03), 0.0, "lower", "refuted"),
    ],
)
def test_verdict_needs_the_whole_interval(interval, margin, direction, expected):
    assert stats.verdict(interval, margin, direction) == expected


# ---------------------------------------------------------------- power


def test_detectable_difference_is_the_published_one():
    # Cohen's d for n = 10 pairs at 80 % power is 0.996 (G*Power 3.1); many pairs approach 2.8016 / sqrt(n)
    assert stats.minimum_detectable_difference(1.0, 10) == pytest.approx(0.996, abs=5e-4)
    assert stats.minimum_detectable_difference(0.01, 10_000) == pytest.approx(0.01 * 2.8016 / 100, rel=1e-3)
    assert stats.minimum_detectable_difference(1.0, 1) is None


@pytest.mark.parametrize("n", [2, 3, 5])
def test_detectable_difference_is_detected_in_four_of_five_simulated_studies(n):
    truth = stats.minimum_detectable_difference(1.0, n)
    draws = np.random.default_rng(n).normal(truth, 1.0, (40_000, n))
    found = np.abs(draws.mean(axis=1)) / (draws.std(axis=1, ddof=1) / math.sqrt(n)) > reference.t.ppf(
        0.975, n - 1
    )
    assert found.mean() == pytest.approx(0.8, abs=0.01)


# ---------------------------------------------------------------- simulations


def simulated_accuracies(rng, studies, seeds, truth=0.92, spread=0.004, images=10_000):
    """Test accuracies (studies, seeds): each seed's model has its own true accuracy, read on `images`
    images."""
    return rng.binomial(images, np.clip(rng.normal(truth, spread, (studies, seeds)), 0, 1)) / images


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_that_verdicts_use_cover_the_truth(seeds):
    rng = np.random.default_rng(seeds)
    a = simulated_accuracies(rng, 3000, seeds, truth=0.93)
    b = simulated_accuracies(rng, 3000, seeds, truth=0.92)
    intervals = [stats.paired_difference(*pair, resolution=1e-4).interval for pair in zip(a, b, strict=True)]
    coverage = np.mean([low <= 0.01 <= high for low, high in intervals])
    assert 0.93 <= coverage <= 0.97


def test_a_percentile_bootstrap_over_three_seeds_is_too_narrow():
    rng = np.random.default_rng(0)
    values = simulated_accuracies(rng, 2000, 3)
    low, high = reference.bootstrap(
        (values,), np.mean, n_resamples=500, axis=1, method="percentile", rng=rng
    ).confidence_interval
    assert np.mean((low <= 0.92) & (high >= 0.92)) < 0.9  # why verdicts take t intervals


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_identical_arms_rarely_get_a_winner(seeds):
    rng = np.random.default_rng(100 + seeds)
    a, b = simulated_accuracies(rng, 1000, seeds), simulated_accuracies(rng, 1000, seeds)
    verdicts = [
        stats.verdict(stats.paired_difference(*pair, resolution=1e-4).interval, 0.0)
        for pair in zip(a, b, strict=True)
    ]
    winners = sum(each != "inconclusive" for each in verdicts)
    assert 20 <= winners <= 64  # nominal 50; far fewer would mean that the rule never speaks


def test_a_family_of_identical_arms_rarely_gets_any_winner():
    rng = np.random.default_rng(9)
    families = 0
    for _ in range(1000):
        p_values = [
            stats.paired_difference(a, b, resolution=1e-4).p_value
            for a, b in zip(simulated_accuracies(rng, 4, 5), simulated_accuracies(rng, 4, 5), strict=True)
        ]
        families += min(stats.holm(p_values)) <= 0.05
    assert families <= 64
