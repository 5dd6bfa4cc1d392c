"""The 15 common corruptions of CIFAR-10-C at five severities: uint8 images in, uint8 images out, seeded,
without torch.

Constants are those that the benchmark's authors used for 32 x 32 pixels; they are taken as they are for
images of another size, where a blur of two pixels is milder. Written anew for whole batches. What was kept
although it may surprise, because the published images have it: pixels are cut off to whole numbers, not
rounded; glass blur copies neighbouring pixels where its description says that it swaps them; frost takes the
first five of its six textures. What differs: random numbers, so single pixels are others than in the
published files, and sub-pixel arithmetic of OpenCV's warp (fixed point there, floating point here).

Source: Hendrycks and Dietterich (2019), Benchmarking neural network robustness to common corruptions and
perturbations, section 3 and appendix B; constants: the authors' script for CIFAR-10-C (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import ConfigError, unknown_name
from headstart.evaluation.corruptions import blur, digital, noise, weather

SEVERITIES = (1, 2, 3, 4, 5)
VERSION = 1  # raised when the same seed would give other pixels

Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """A corruption for people and for the program.

    constants: one for each severity, mildest first. apply(images, constant, rng): the corrupted images."""

    title: str
    family: str  # "noise", "blur", "weather" or "digital"
    constants: tuple[Any, ...]
    apply: Callable[[Images, Any, np.random.Generator], Images]


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(
        title="Gaussian noise", family="noise", apply=noise.gaussian, constants=(0.04, 0.06, 0.08, 0.09, 0.10)
    ),
    "shot_noise": Corruption(
        title="Shot noise", family="noise", apply=noise.shot, constants=(500, 250, 100, 75, 50)
    ),
    "impulse_noise": Corruption(
        title="Impulse noise", family="noise", apply=noise.impulse, constants=(0.01, 0.02, 0.03, 0.05, 0.07)
    ),
    "defocus_blur": Corruption(  # radius, width of the kernel's own antialiasing
        title="Defocus blur",
        family="blur",
        apply=blur.defocus,
        constants=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)),
    ),
    "glass_blur": Corruption(  # sigma, times that pixels move by at most one
        title="Glass blur",
        family="blur",
        apply=blur.glass,
        constants=((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2)),
    ),
    "motion_blur": Corruption(  # radius, sigma
        title="Motion blur",
        family="blur",
        apply=blur.motion,
        constants=((6, 1.0), (6, 1.5), (6, 2.0), (8, 2.0), (9, 2.5)),
    ),
    "zoom_blur": Corruption(  # the zoom ends before this, in steps of 0.01
        title="Zoom blur", family="blur", apply=blur.zoom, constants=(1.06, 1.11, 1.16, 1.21, 1.26)
    ),
    # mean, deviation, zoom of the flakes, threshold, radius and sigma of their motion, share kept
    "snow": Corruption(
        title="Snow",
        family="weather",
        apply=weather.snow,
        constants=(
            (0.1, 0.2, 1.0, 0.6, 8, 3.0, 0.95),
            (0.1, 0.2, 1.0, 0.5, 10, 4.0, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4.0, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6.0, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12.0, 0.8),
        ),
    ),
    "frost": Corruption(  # shares of the image and of the texture
        title="Frost",
        family="weather",
        apply=weather.frost,
        constants=((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
    ),
    "fog": Corruption(  # thickness, decay of its roughness from one scale to the next
        title="Fog",
        family="weather",
        apply=weather.fog,
        constants=((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)),
    ),
    "brightness": Corruption(
        title="Brightness", family="weather", apply=weather.brightness, constants=(0.05, 0.1, 0.15, 0.2, 0.3)
    ),
    "contrast": Corruption(
        title="Contrast", family="digital", apply=digital.contrast, constants=(0.75, 0.5, 0.4, 0.3, 0.15)
    ),
    # shift, its smoothness and the corners' jitter, as shares of the image's side
    "elastic_transform": Corruption(
        title="Elastic",
        family="digital",
        apply=digital.elastic,
        constants=(
            (0.0, 0.0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
    ),
    "pixelate": Corruption(
        title="Pixelate", family="digital", apply=digital.pixelate, constants=(0.95, 0.9, 0.85, 0.75, 0.65)
    ),
    "jpeg_compression": Corruption(
        title="JPEG", family="digital", apply=digital.jpeg, constants=(80, 65, 58, 50, 40)
    ),
}


def corrupt(images: Images, name: str, severity: int, rng: np.random.Generator) -> Images:
    """The images corrupted, uint8 (N, H, W, 3) as they came; the same generator state gives the same pixels.

    name: a key of CORRUPTIONS. severity: 1 to 5. Each image gets its own random numbers.
    Raises: ConfigError for an unknown name or severity; ValueError for images of another shape or type; of
    frost also DownloadError and StoreError where its textures cannot be had (see weather.frost_textures)."""
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if severity not in SEVERITIES:
        raise ConfigError(f"severity {severity!r} is not one of {', '.join(map(str, SEVERITIES))}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images must be uint8 (N, H, W, 3), got {images.dtype} {images.shape}")
    if not len(images):
        return images.copy()
    corruption = CORRUPTIONS[name]
    return corruption.apply(np.ascontiguousarray(images), corruption.constants[severity - 1], rng)
