"""Digital corruptions: contrast, elastic deformation, pixelation, JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from headstart.evaluation.corruptions.pixels import shares, to_pixels

Images = NDArray[np.uint8]


def contrast(images: Images, kept: float, rng: np.random.Generator) -> Images:
    """Each channel moved towards its mean over the image, so that this share of its contrast is left."""
    values = shares(images)
    means = values.mean(axis=(1, 2), keepdims=True)
    return to_pixels((values - means) * np.float32(kept) + means)


def elastic(images: Images, constant: tuple[float, float, float], rng: np.random.Generator) -> Images:
    """Sheared and stretched by an affine map with jittered corners, then pulled about by a smooth random
    field."""
    count, height, width, _ = images.shape
    shift, smoothness, jitter = (share * min(height, width) for share in constant)
    values = _sample(shares(images), *_affine(count, height, width, jitter, rng), mode="mirror")
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    field = rng.uniform(-1, 1, (2, count, height, width)).astype(np.float32)
    right, down = ndimage.gaussian_filter(
        field, (0, 0, smoothness, smoothness), mode="reflect", truncate=3
    ) * np.float32(shift)
    return to_pixels(_sample(values, y + down, x + right, mode="reflect"))


def _affine(
    count: int, height: int, width: int, jitter: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel comes from, (y, x), each float32 (N, H, W), under the affine map that moves three
    points by up to `jitter`."""
    middle, arm = np.array([height // 2, width // 2], np.float64), min(height, width) // 3
    points = middle + arm * np.array([[1, 1], [1, -1], [-1, -1]])  # x, y
    moved = points + rng.uniform(-jitter, jitter, (count, 3, 2))
    # An output point (x, y, 1) times this is its source; the three moved points come from where they were.
    back = np.linalg.solve(
        np.concatenate([moved, np.ones((count, 3, 1))], axis=2), np.broadcast_to(points, (count, 3, 2))
    )
    y, x = np.mgrid[0:height, 0:width]
    source = np.stack([x, y, np.ones_like(x)], axis=-1) @ back[:, None]
    return source[..., 1].astype(np.float32), source[..., 0].astype(np.float32)


def _sample(
    values: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32], mode: str
) -> NDArray[np.float32]:
    """Values float32 (N, H, W, C) at the places (y, x), each (N, H, W), linear between pixels."""
    image = np.broadcast_to(np.arange(len(values), dtype=np.float32)[:, None, None], x.shape)
    places = np.stack([image, np.broadcast_to(y, x.shape), x])
    return np.stack(
        [
            ndimage.map_coordinates(values[..., channel], places, order=1, mode=mode)
            for channel in range(values.shape[3])
        ],
        axis=-1,
    )


def pixelate(images: Images, kept: float, rng: np.random.Generator) -> Images:
    """Shrunk to this share of the side and back, each step by box averages."""
    height, width = images.shape[1:3]
    small = (max(1, int(width * kept)), max(1, int(height * kept)))

    def one(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        shrunk = Image.fromarray(image).resize(small, Image.Resampling.BOX)
        return np.asarray(shrunk.resize((width, height), Image.Resampling.BOX))

    return np.stack([one(image) for image in images])


def jpeg(images: Images, quality: int, rng: np.random.Generator) -> Images:
    """Compressed as JPEG at this quality and read back."""

    def one(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer, formats=["JPEG"]))

    return np.stack([one(image) for image in images])
