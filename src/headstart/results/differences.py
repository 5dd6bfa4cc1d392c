"""Paired differences of two arms with both of their intervals: over seeds on these images, over seeds and
images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from headstart.results import stats
from headstart.results.crossed import CrossedDifference, crossed_difference
from headstart.results.pairing import Pairs, stored_test
from headstart.results.per_image import Values, per_image_values
from headstart.results.stats import Interval, PairedDifference
from headstart.store import FinishedTrial

Scope = Literal["seeds and images", "seeds"]
Shortfall = Literal["", "no difference", "too few seeds", "too few images"]
_UNKNOWN_STEP = 1e-4  # of an accuracy whose test images are not stored
COUNTED_ON_TEST = (
    "test_accuracy",
    "test_flip_accuracy",
    "test_top5_accuracy",
)  # measured in steps of one image


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference a - b, paired by seed.

    over_seeds: the t interval's side, which answers for these test images alone. crossed: that over seeds and
    images; None with one seed, or for a metric that test images do not give (seconds)."""

    over_seeds: PairedDifference
    crossed: CrossedDifference | None
    a: tuple[float, ...]
    b: tuple[float, ...]
    resolution: float = 0.0

    @property
    def effect(self) -> float:
        return self.over_seeds.effect

    @property
    def n(self) -> int:
        """Pairs of seeds."""
        return self.over_seeds.n

    @property
    def scope(self) -> Scope:
        """What `interval` and `p_value` are over."""
        return "seeds" if self.crossed is None else "seeds and images"

    def interval(self, confidence: float = 0.95) -> Interval | None:
        """Over seeds and images where the metric allows it, else over seeds; None for one pair."""
        return (
            self.interval_over_seeds(confidence)
            if self.crossed is None
            else self.crossed.interval(confidence)
        )

    def interval_over_seeds(self, confidence: float = 0.95) -> Interval | None:
        """The t interval over seeds, on these test images; None for one pair."""
        return stats.paired_difference(self.a, self.b, confidence, resolution=self.resolution).interval

    def p_value(self, margin: float = 0.0) -> float | None:
        """Two-sided, of "the true difference equals the margin"; in line with `interval`."""
        if self.crossed is not None:
            return self.crossed.p_value(margin)
        return stats.paired_difference(self.a, self.b, margin=margin, resolution=self.resolution).p_value

    def minimum_detectable(self, alpha: float = 0.05, power: float = 0.8) -> float | None:
        """The true difference that would be found with this power; None for one pair."""
        if self.crossed is not None:
            return self.crossed.minimum_detectable_difference(power, alpha)
        deviation = self.over_seeds.standard_deviation
        return (
            None
            if deviation is None
            else stats.minimum_detectable_difference(deviation, self.n, power, alpha)
        )

    def shortfall(self, confidence: float, margin: float, negligible: float) -> Shortfall:
        """Why an interval that crosses the margin decides nothing.

        "no difference": it lies within `negligible` of the margin, so more data would find nothing of
        interest. Else what it lacks most: seeds, or test images."""
        interval = self.interval(confidence)
        if interval is None:
            return "too few seeds"
        if margin - negligible < interval[0] and interval[1] < margin + negligible:
            return "no difference"
        if self.crossed is None:
            return "too few seeds"
        seeds, images = self.crossed.parts(confidence)
        return "too few seeds" if seeds >= images else "too few images"


@dataclass(frozen=True)
class TestOutcomes:
    """Metrics of stored test predictions image by image; each trial's file is read once a metric."""

    __test__ = False  # no test class, whatever its name begins with
    _read: dict[tuple[Path, str], Values | None] = field(default_factory=dict, repr=False)

    def of(self, trial: FinishedTrial, metric: str) -> Values | None:
        """The metric's value at each test image, float64 (N,); None where this copy of the trial has no
        predictions or the metric is not one of test images."""
        key = trial.folder, metric
        if key not in self._read:
            test = (
                stored_test(trial.folder)
                if metric.startswith("test_") or metric == "generalization_gap"
                else None
            )
            temperature = trial.metrics.get("temperature")
            self._read[key] = None if test is None else per_image_values(metric, test, temperature)
        return self._read[key]

    def paired(self, pairs: Pairs, metric: str) -> list[Values] | None:
        """a less b at each test image, float64 (N,) a seed; None where a side has none."""
        rows = []
        for one, other in zip(pairs.a, pairs.b, strict=True):
            first, second = self.of(one, metric), self.of(other, metric)
            if first is None or second is None:
                return None
            rows.append(first - second)
        return rows


def difference(
    compared: Sequence[Pairs],
    metric: str,
    sides: tuple[Sequence[float], Sequence[float]],
    outcomes: TestOutcomes,
    resolution: float = 0.0,
) -> Difference:
    """The mean of sides[0] - sides[1] with both intervals.

    compared: the pairs at one label budget; at two, sides are the differences at each and the pairs' seeds
    are the same. Raises: DataError where sides do not pair up."""
    over_seeds = stats.paired_difference(*sides, resolution=resolution)
    rows = [outcomes.paired(pairs, metric) for pairs in compared]
    crossed = None
    if over_seeds.n > 1 and all(row is not None for row in rows):
        first, *rest = [row for row in rows if row is not None]
        joined = [one - other for one, other in zip(first, rest[0], strict=True)] if rest else first
        by_seed = np.subtract(*(np.asarray(side, dtype=np.float64) for side in sides))
        crossed = crossed_difference(joined, over_seeds.effect, by_seed.tolist(), resolution)
    a, b = (tuple(float(value) for value in side) for side in sides)
    return Difference(over_seeds=over_seeds, crossed=crossed, a=a, b=b, resolution=resolution)


def accuracy_difference(pairs: Pairs, outcomes: TestOutcomes) -> Difference | None:
    """Test accuracy of a less b, paired by seed; None without a pair, or where a trial has no test
    accuracy."""
    sides = [[trial.metrics.get("test_accuracy") for trial in side] for side in (pairs.a, pairs.b)]
    a, b = ([value for value in side if value is not None] for side in sides)
    if not a or len(a) != len(pairs.a) or len(b) != len(pairs.b):
        return None
    read = outcomes.of(pairs.a[0], "test_accuracy")
    step = _UNKNOWN_STEP if read is None else 1 / len(read)
    return difference([pairs], "test_accuracy", (a, b), outcomes, step)
