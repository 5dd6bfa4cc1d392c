"""What corruptions share: pixels as shares of white and back, zooming, and blurring along a line."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_NEGLIGIBLE = 1e-6  # of a kernel's sum: 255 times this changes no pixel


def shares(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels as shares of white, 0..1."""
    return images.astype(np.float32) / np.float32(255)


def to_pixels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Shares of white as pixels; clipped, and cut off to whole numbers as in the published images."""
    pixels: NDArray[np.uint8] = (np.clip(values, 0, 1) * 255 + 1e-3).astype(np.uint8)
    return pixels  # 1e-3: float32 must not lose what is whole


@lru_cache(maxsize=128)
def zoom_matrix(size: int, factor: float) -> NDArray[np.float32]:
    """Linear zoom into the middle by `factor` as a matrix, float32 (size, size); rows sum to 1.

    As scipy.ndimage.zoom with order 1: the ends of the part that is cut out fall on the ends of what it
    becomes."""
    part = int(np.ceil(size / factor))
    first = (size - part) // 2
    zoomed = round(part * factor)
    kept = (zoomed - size) // 2 + np.arange(size)
    place = kept * (part - 1) / max(zoomed - 1, 1)
    below = np.minimum(np.floor(place).astype(int), part - 1)
    above = np.minimum(below + 1, part - 1)
    matrix = np.zeros((size, size), np.float32)
    np.add.at(matrix, (np.arange(size), first + below), 1 - (place - below))
    np.add.at(matrix, (np.arange(size), first + above), place - below)
    return matrix


def blur_along_lines(
    values: NDArray[np.float32], radius: int, sigma: float, degrees: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Each image (of N, H, W, C) blurred along its own angle: half a Gaussian that trails from each pixel,
    borders repeated.

    degrees: (N,), clockwise from the right, for y points down. Source: ImageMagick's MotionBlurImage: 2
    radius + 1 taps at the whole pixels nearest to the line."""
    count, height, width, _ = values.shape
    steps = np.arange(2 * radius + 1)
    kernel = np.exp(-(steps**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    angle = np.deg2rad(degrees)[:, None]
    down, right = (np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(angle), np.cos(angle)))
    image = np.arange(count)[:, None, None]
    blurred = np.zeros_like(values)
    for step in steps[kernel > _NEGLIGIBLE]:
        rows = np.clip(np.arange(height) + down[:, step, None], 0, height - 1)
        columns = np.clip(np.arange(width) + right[:, step, None], 0, width - 1)
        blurred += np.float32(kernel[step]) * values[image, rows[:, :, None], columns[:, None, :]]
    return blurred
