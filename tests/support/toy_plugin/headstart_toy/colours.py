"""Squares of three colours under noise: 90 training and 30 test images of 16 x 16 pixels."""

import numpy as np

from headstart.data.arrays import dataset, image_set
from headstart.types import Dataset, ImageSet

_CLASSES = ("red", "green", "blue")


def load_colours() -> Dataset:
    """The same images every time: drawn with fixed seeds."""
    return dataset("colours", "Colours", "drawn by headstart-toy", _draw(90, seed=1), _draw(30, seed=2))


def _draw(count: int, seed: int) -> ImageSet:
    labels = np.arange(count, dtype=np.int64) % len(_CLASSES)
    images = np.random.default_rng(seed).integers(0, 160, (count, 16, 16, 3))
    images[np.arange(count), :, :, labels] += 60
    return image_set(images.astype(np.uint8), labels, _CLASSES)
