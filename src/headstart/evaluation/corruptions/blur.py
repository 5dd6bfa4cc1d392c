"""Blur: focus, frosted glass, camera motion, zoom."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from headstart.evaluation.corruptions.pixels import blur_along_lines, shares, to_pixels, zoom_matrix

Images = NDArray[np.uint8]


def defocus(images: Images, constant: tuple[float, float], rng: np.random.Generator) -> Images:
    """Each point becomes a disk of this radius, whose edge a small Gaussian smooths."""
    kernel = disk(*constant)
    values = shares(images)
    reach = len(kernel) // 2
    padded = np.pad(values, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    height, width = images.shape[1:3]
    blurred = np.zeros_like(values)
    for (down, right), weight in np.ndenumerate(kernel):
        if weight > 0:
            blurred += np.float32(weight) * padded[:, down : down + height, right : right + width]
    return to_pixels(blurred)


@lru_cache
def disk(radius: float, smoothing: float) -> NDArray[np.float64]:
    """A disk's kernel, float64 (2 r + 3, 2 r + 3) with r whole pixels in the radius; sums to 1.

    smoothing: standard deviation of the 3 x 3 Gaussian that softens its edge."""
    reach = int(radius) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    flat = (x**2 + y**2 <= radius**2).astype(np.float64)
    side = np.exp(-1 / (2 * smoothing**2))
    line = np.array([side, 1, side]) / (1 + 2 * side)
    return np.asarray(ndimage.correlate(flat / flat.sum(), np.outer(line, line), mode="constant"))


def glass(images: Images, constant: tuple[float, int], rng: np.random.Generator) -> Images:
    """Frosted glass: blurred, each pixel taken from itself or a neighbour above or left, some times over,
    blurred again.

    The first two rows and columns stay where they are. The published images come from a loop that means to
    swap neighbours but, because it assigns through views, copies one onto the other; so does this."""
    sigma, times = constant
    count, height, width, _ = images.shape
    pixels = _smooth(images, sigma)
    rows, columns = np.arange(2, height), np.arange(2, width)
    for _ in range(times):
        up, left = rng.integers(-1, 1, (2, count, len(rows), len(columns)))
        moved = pixels[np.arange(count)[:, None, None], rows[:, None] + up, columns + left]
        pixels = pixels.copy()
        pixels[:, 2:, 2:] = moved
    return _smooth(pixels, sigma)


def _smooth(images: Images, sigma: float) -> Images:
    blurred = ndimage.gaussian_filter(shares(images), (0, sigma, sigma, 0), mode="nearest", truncate=4.0)
    return to_pixels(blurred)


def motion(images: Images, constant: tuple[int, float], rng: np.random.Generator) -> Images:
    """Blurred along a line, in each image at its own angle within 45 degrees of the horizontal."""
    blurred = blur_along_lines(images.astype(np.float32), *constant, rng.uniform(-45, 45, len(images)))
    return np.rint(np.clip(blurred, 0, 255)).astype(np.uint8)  # ImageMagick rounds


def zoom(images: Images, end: float, rng: np.random.Generator) -> Images:
    """The mean of the image and of ever closer zooms into its middle: a camera that moves towards the
    scene."""
    values = shares(images)
    height, width = images.shape[1:3]
    factors = np.arange(1, end, 0.01)
    total = values.copy()
    for factor in factors:
        down, across = zoom_matrix(height, float(factor)), zoom_matrix(width, float(factor))
        rows = np.einsum("th,nhwc->ntwc", down, values, optimize=True)
        total += np.einsum("sw,ntwc->ntsc", across, rows, optimize=True)
    return to_pixels(total / np.float32(len(factors) + 1))
