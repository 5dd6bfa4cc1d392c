"""Variance components by hand, what intervals cover in simulation, and p-values in line with them."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.errors import DataError
from headstart.results import stats
from headstart.results.crossed import CrossedDifference, crossed_difference

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
coverage_runs = importlib.import_module("coverage_runs")

Rows = list[np.ndarray]


def difference(rows: Rows) -> CrossedDifference:
    found = crossed_difference(rows, float(np.mean(rows)), [float(row.mean()) for row in rows])
    assert found is not None
    return found


def test_components_are_those_of_a_two_way_table() -> None:
    # 2 seeds, 3 images: means 2, 4; by image 1, 3, 5; no residual: MS_S = 3 * 2 = 6, MS_I = 2 * 8 / 2 = 8.
    found = difference([np.array([0.0, 2, 4]), np.array([2.0, 4, 6])])
    assert found.effect == 3
    assert found.seed_variance == pytest.approx(6 / 6)
    assert found.residual_variance == pytest.approx(0, abs=1e-15)
    assert found.image_variance == pytest.approx(8 / 6)
    assert found.freedom == pytest.approx((1 + 8 / 6) ** 2 / (1 / 1 + (8 / 6) ** 2 / 2))


def test_without_images_to_choose_from_it_is_the_t_interval() -> None:
    rows = [np.full(1000, value) for value in (0.01, 0.03, 0.02)]
    assert difference(rows).interval() == pytest.approx(stats.t_interval([0.01, 0.03, 0.02]))


def test_equal_seeds_leave_the_images() -> None:
    outcomes = np.random.default_rng(0).integers(-1, 2, 4000).astype(float)
    low, high = difference([outcomes] * 3).interval()
    spread = outcomes.std(ddof=1) / np.sqrt(len(outcomes))
    assert (high - low) / 2 == pytest.approx(1.9606 * spread, rel=1e-3)


def test_one_seed_has_no_interval_and_unequal_sets_are_refused() -> None:
    assert crossed_difference([np.zeros(5)], 0.0, [0.0]) is None
    with pytest.raises(DataError, match="do not cross"):
        crossed_difference([np.zeros(5), np.zeros(6)], 0.0, [0.0, 0.0])


@pytest.mark.parametrize("margin", [0.0, 0.004, -0.02])
def test_p_is_where_the_interval_reaches_the_margin(margin: float) -> None:
    rng = np.random.default_rng(1)
    found = difference([rng.normal(0.01, 0.4, 2000) + shift for shift in rng.normal(0, 0.004, 3)])
    p_value = found.p_value(margin)
    low, high = found.interval(1 - p_value)
    assert min(abs(low - margin), abs(high - margin)) < 1e-9
    for level in (0.5, 0.9, 0.95, 0.99):
        low, high = found.interval(level)
        assert (low < margin < high) == (p_value > 1 - level)


def test_the_margin_itself_and_one_far_away() -> None:
    found = CrossedDifference(
        effect=0.5, seed_variance=0.0, residual_variance=0.0, image_variance=1e-8, seeds=3, images=10_000
    )
    assert found.p_value(0.5) == 1.0
    assert found.p_value(-0.5) == 0.0


def test_a_detectable_difference_is_detected_as_often_as_stated() -> None:
    found = CrossedDifference(
        effect=0.0, seed_variance=4e-6, residual_variance=1e-6, image_variance=9e-6, seeds=5, images=10_000
    )
    half, smallest = found.half_width(), found.minimum_detectable_difference()
    draws = np.random.default_rng(2).normal(smallest, found.standard_error, 20_000)
    assert (np.abs(draws) > half).mean() == pytest.approx(
        0.8, abs=0.04
    )  # the interval's own width varies too


# ---------------------------------------------------------------- simulation


def simulate(
    rng: np.random.Generator, seeds: int, of_seeds: float, of_images: float, images: int = 400
) -> CrossedDifference:
    """Truth 0, total variance 1: shares of it are the seeds' and the images', the rest is chance."""
    rows = rng.normal(0, np.sqrt((1 - of_seeds - of_images) * seeds * images), (seeds, images))
    rows += rng.normal(0, np.sqrt(of_images * images), images)
    rows += rng.normal(0, np.sqrt(of_seeds * seeds), (seeds, 1))
    return difference(list(rows))


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(
    "shares", [(0.1, 0.6), (0.2, 0.4), (0.4, 0.4), (0.6, 0.2), (0.2, 0.7), (0.9, 0.05), (0.05, 0.9)]
)
def test_intervals_cover_new_seeds_and_new_images(seeds: int, shares: tuple[float, float]) -> None:
    rng = np.random.default_rng(seeds)
    covered = [
        low <= 0 <= high for low, high in (simulate(rng, seeds, *shares).interval() for _ in range(600))
    ]
    assert 0.93 - 0.02 <= np.mean(covered) <= 0.97 + 0.014  # two standard errors of the simulation


@pytest.mark.parametrize("seeds", [3, 5])
def test_equal_arms_seldom_have_a_winner(seeds: int) -> None:
    """300 studies; docs/reference/coverage.md has 1,000 of 10,000 images each."""
    winners, over_seeds = coverage_runs.equal_arms(seeds, runs=300, images=1500)
    assert winners <= 0.064 + 0.014
    assert over_seeds > 0.15  # seeds alone take the luck of one test set for a difference
