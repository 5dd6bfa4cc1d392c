"""Noise: what a sensor adds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.evaluation.corruptions.pixels import shares, to_pixels

Images = NDArray[np.uint8]


def gaussian(images: Images, deviation: float, rng: np.random.Generator) -> Images:
    """Normal noise of this standard deviation (as a share of white) on every value: low light."""
    return to_pixels(
        shares(images) + np.float32(deviation) * rng.standard_normal(images.shape, dtype=np.float32)
    )


def shot(images: Images, photons: float, rng: np.random.Generator) -> Images:
    """Poisson noise, as if white were so many photons: light comes in grains."""
    return to_pixels(rng.poisson(shares(images) * photons) / photons)


def impulse(images: Images, amount: float, rng: np.random.Generator) -> Images:
    """This share of the values becomes 0 or 255, evenly: bit errors, in colour for each channel is hit on its
    own."""
    hit, white = rng.random(images.shape) < amount, rng.random(images.shape) < 0.5
    return np.where(hit, np.where(white, np.uint8(255), np.uint8(0)), images)
