"""Mirror images: asked of a head whether they are still of their class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.advise.folds import FoldReader
from headstart.advise.mirrors import mirroring_hurts
from headstart.advise.rung import Rung
from headstart.data.arrays import dataset, image_set

PROBE = Rung(name="probe", label="a head", method="linear_probe", pixels=32)


def _reader(folder: Path, arrows: bool) -> FoldReader:
    """120 images of a bright bar: left or right of the middle, or above or below it, on a ground of noise."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 60, (120, 32, 32, 3), np.uint8)
    labels = np.arange(120) % 2
    for image, label in zip(images, labels, strict=True):
        place = slice(2, 12) if label == 0 else slice(20, 30)
        image[(slice(None), place) if arrows else (place, slice(None))] = 220
    train = image_set(images, labels.astype(np.int64), ("first", "second"))
    empty = image_set(images[:0], labels[:0].astype(np.int64), train.class_names)
    return FoldReader(dataset("bars", "bars", "made here", train, empty), "bars", folder)


@pytest.mark.parametrize("arrows", [True, False])
def test_left_and_right_are_told_from_above_and_below(tmp_path: Path, arrows: bool) -> None:
    assert mirroring_hurts(_reader(tmp_path, arrows), PROBE) is arrows


def test_a_network_without_mirror_images_learns_without_them() -> None:
    assert Rung(name="n", label="", method="partial", pixels=64).arm("x").recipe.flip == "random"
    assert Rung(name="n", label="", method="partial", pixels=64, flips=False).arm("x").recipe.flip == "none"
    assert Rung(name="n", label="", method="scratch", pixels=64, flips=False).arm("x").recipe.flip == "none"
