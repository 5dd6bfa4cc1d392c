"""A difference of two arms whose seeds all read the same test images: intervals over seeds and images.

Seeds and images are crossed random effects: every seed reads every image. The t interval over seeds answers
for these images alone; for images of the same kind that nobody has read it is too narrow, since all seeds
share the luck of one test set. Here both variances are estimated from the outcomes of single images, and the
interval covers new seeds and new images. What it covers in simulation stands in docs/concepts.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its submodules load when they are first used
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.results.stats import Interval, t_quantile

_SMALLEST_P = 1e-12  # below this p is 0: the interval at such a level has no use


@dataclass(frozen=True, kw_only=True)
class CrossedDifference:
    """A mean difference over S seeds and N images, with what is known of that mean's variance.

    effect: in the metric's own unit. seed_variance: MS_S / (S N), of S - 1 degrees of freedom; what the
    seeds' means show. residual_variance: MS_E / (S N), the part of it that chance at single images alone
    would leave. image_variance: max(MS_I - MS_E, 0) / (S N), what the choice of N images adds."""

    effect: float
    seed_variance: float
    residual_variance: float
    image_variance: float
    seeds: int
    images: int

    @property
    def standard_error(self) -> float:
        """Standard error of the effect over new seeds and new images."""
        return math.sqrt(max(self.seed_variance, self.residual_variance) + self.image_variance)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of seed_variance + image_variance."""
        a, b = self.seed_variance, self.image_variance
        if a + b == 0:
            return float(self.seeds - 1)
        return (a + b) ** 2 / (a**2 / (self.seeds - 1) + b**2 / (self.images - 1))

    def parts(self, confidence: float = 0.95) -> tuple[float, float]:
        """Half-widths that seeds alone, and images alone, would give."""
        tail = (1 + confidence) / 2
        return (
            t_quantile(tail, self.seeds - 1) * math.sqrt(self.seed_variance),
            t_quantile(tail, self.images - 1) * math.sqrt(self.image_variance),
        )

    def half_width(self, confidence: float = 0.95) -> float:
        """Half the width of the interval over seeds and images.

        Two ways to it. *Full*: of its square two parts are t with Satterthwaite's degrees of freedom (alone
        too narrow with 3 seeds, 92 % covered), one part is both half-widths in quadrature (alone too wide, 98
        %). *Least*: images and residual alone, where the seeds' means scatter no more than chance at single
        images explains; few seeds measure that badly, thousands of images well. Least counts where
        seed_variance is below half of residual_variance, full where it is above, with a straight passage; at
        higher confidence the passage lies lower, by the chance that so few seeds scatter so little. Never
        narrower than least."""
        tail = (1 + confidence) / 2
        least = t_quantile(tail, self.images - 1) ** 2
        least *= self.residual_variance + self.image_variance
        together = t_quantile(tail, self.freedom) ** 2
        together *= self.seed_variance + self.image_variance
        full = (2 * together + math.hypot(*self.parts(confidence)) ** 2) / 3
        lower = min(1.0, (1 - confidence) / 0.05) ** (2 / (self.seeds - 1))
        passage = lower * self.residual_variance
        share = min(max(2 * self.seed_variance / passage - 1, 0.0), 1.0) if passage > 0 else 1.0
        return math.sqrt(max(least, (1 - share) * least + share * full))

    def interval(self, confidence: float = 0.95) -> Interval:
        """Interval for the difference over new seeds and new images of the same kind."""
        half = self.half_width(confidence)
        return self.effect - half, self.effect + half

    def p_value(self, margin: float = 0.0) -> float:
        """Two-sided p of "the true difference equals the margin": 1 less the confidence at which the interval
        just reaches the margin, so that p and intervals never disagree."""
        distance = abs(self.effect - margin)
        if distance <= 1e-15 + 1e-12 * abs(margin):
            return 1.0
        if self.half_width(1 - _SMALLEST_P) < distance:
            return 0.0

        def surplus(log_p: float) -> float:
            return self.half_width(1 - math.exp(log_p)) - distance

        return math.exp(scipy.optimize.brentq(surplus, math.log(_SMALLEST_P), -1e-12, xtol=1e-10))

    def minimum_detectable_difference(self, power: float = 0.8, alpha: float = 0.05) -> float:
        """The true difference that these seeds and images would tell from 0 with this power."""
        if self.standard_error == 0:
            return 0.0
        critical = (self.half_width(1 - alpha) / self.standard_error) ** 2

        def shortfall(noncentrality: float) -> float:
            return 1.0 - float(scipy.special.ncfdtr(1, self.freedom, noncentrality**2, critical)) - power

        high = 2.0
        while shortfall(high) < 0:
            high *= 2
        return float(scipy.optimize.brentq(shortfall, 1e-6, high)) * self.standard_error


def crossed_difference(
    outcomes: Sequence[NDArray[np.float64]],
    effect: float,
    seed_values: Sequence[float],
    resolution: float = 0.0,
) -> CrossedDifference | None:
    """Variance components of a difference; None for one seed.

    outcomes: float64 (N,) a seed, the difference a - b at each of the same N test images. effect,
    seed_values: the metric's difference, its mean and seed by seed, as the trials state them (they need not
    be the outcomes' means: a metric may hold more than the test images, as the training accuracy in a
    generalization gap). resolution: the step in which seed_values are measured, as in `stats.t_interval`.
    Raises: DataError where seeds have different numbers of images, or fewer than two.
    Source: Searle, Casella and McCulloch (1992), Variance components, chapter 4; Satterthwaite (1946)."""
    if len(outcomes) < 2:
        return None
    sizes = {len(each) for each in outcomes}
    if len(sizes) > 1 or min(sizes) < 2 or len(outcomes) != len(seed_values):
        raise DataError(
            f"outcomes of {sorted(sizes)} images for {len(seed_values)} seeds do not cross; expected "
            "the same images, at least two, for each seed"
        )
    seeds, images = len(outcomes), sizes.pop()
    by_seed = np.array([float(each.mean()) for each in outcomes])
    by_image = np.mean(outcomes, axis=0)
    mean = float(by_seed.mean())
    total = math.fsum(float(((each - mean) ** 2).sum()) for each in outcomes)
    of_seeds = images * float(((by_seed - mean) ** 2).sum())
    of_images = seeds * float(((by_image - mean) ** 2).sum())
    left = max(total - of_seeds - of_images, 0.0) / ((seeds - 1) * (images - 1))
    spread = max(float(np.var(np.asarray(seed_values, dtype=np.float64), ddof=1)), resolution**2 / 12)
    return CrossedDifference(
        effect=effect,
        seed_variance=spread / seeds,
        residual_variance=left / (seeds * images),
        image_variance=max(of_images / (images - 1) - left, 0.0) / (seeds * images),
        seeds=seeds,
        images=images,
    )
