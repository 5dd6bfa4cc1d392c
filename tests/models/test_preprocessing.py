"""Preprocessing: pixels by hand, Pillow as the reference, the same bits for any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.models.preprocessing import preprocess, resize, resize_by_products
from headstart.models.resnet_models import KERAS_PREPROCESSING, TORCHVISION_PREPROCESSING
from headstart.types import Preprocessing

PLAIN = Preprocessing(size_pixels=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=1.0)
PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


SIZES = [
    (96, 32, 32),
    (128, 32, 32),
    (224, 32, 32),
    (24, 32, 32),
    (50, 37, 61),
]  # to a square of, from height, width


def random_images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def resized_by_pillow(images: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((size, size), PILLOW[interpolation])) for image in images]
    )


def one_pixel(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((1, 224, 224, 3), (red, green, blue), np.uint8)


def test_keras_weights_see_bgr_less_the_mean() -> None:
    x = preprocess(one_pixel(10, 20, 30), KERAS_PREPROCESSING)
    # 30 - 103.939, 20 - 116.779, 10 - 123.68
    np.testing.assert_allclose(x[0, :, 100, 7].numpy(), [-73.939, -96.779, -113.68], rtol=1e-6)


def test_torchvision_weights_see_rgb_in_units_of_deviation() -> None:
    x = preprocess(one_pixel(255, 0, 51), TORCHVISION_PREPROCESSING)
    # (1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225
    np.testing.assert_allclose(x[0, :, 0, 223].numpy(), [2.2489083, -2.0357143, -0.9155556], rtol=1e-6)


def test_positions_stay_where_they_are() -> None:
    images = random_images(3, 5, 4)
    x = preprocess(images, PLAIN)
    assert x.shape == (3, 3, 5, 4)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x[2, 1, 4, 3] == images[2, 4, 3, 1]
    np.testing.assert_array_equal(x.permute(0, 2, 3, 1).numpy(), images)


@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_bilinear_resizing_is_pillows_but_for_one_level_in_a_fiftieth_of_the_values(
    size: int, height: int, width: int
) -> None:
    images = random_images(8, height, width)
    difference = np.abs(
        resize(torch.from_numpy(images), size, "bilinear").numpy().astype(int)
        - resized_by_pillow(images, size, "bilinear")
    )
    assert difference.max() <= 1
    assert (difference > 0).mean() < 2e-2


@pytest.mark.parametrize(("size", "height", "width"), SIZES)
def test_bicubic_resizing_is_pillows_but_for_a_hundredth_of_the_values(
    size: int, height: int, width: int
) -> None:
    images = random_images(8, height, width)
    difference = np.abs(
        resize(torch.from_numpy(images), size, "bicubic").numpy().astype(int)
        - resized_by_pillow(images, size, "bicubic")
    )
    assert difference.max() <= 2
    assert (difference > 0).mean() < 1e-2
    assert (difference > 1).mean() < 1e-4


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("size", "height", "width"), [*SIZES, (50, 61, 37), (32, 32, 20), (7, 300, 200)])
def test_both_ways_of_resizing_give_the_same_bits(
    interpolation: str, size: int, height: int, width: int
) -> None:
    images = torch.from_numpy(random_images(4, height, width))
    assert torch.equal(resize(images, size, interpolation), resize_by_products(images, size, interpolation))


def test_an_image_is_the_same_bits_alone_and_in_any_batch() -> None:
    images = random_images(7, 32, 32)
    for preprocessing in (KERAS_PREPROCESSING, TORCHVISION_PREPROCESSING):
        together = preprocess(images, preprocessing)
        for start, stop in ((0, 1), (3, 4), (4, 7)):
            assert torch.equal(preprocess(images[start:stop], preprocessing), together[start:stop])


def test_arrays_and_tensors_give_the_same_and_are_left_alone() -> None:
    images = random_images(2, 32, 32)
    before = images.copy()
    assert torch.equal(
        preprocess(images, TORCHVISION_PREPROCESSING),
        preprocess(torch.from_numpy(images), TORCHVISION_PREPROCESSING),
    )
    preprocess(images, PLAIN).add_(1)
    np.testing.assert_array_equal(images, before)


def test_a_read_only_memory_map_is_taken_without_a_warning(tmp_path: Path) -> None:
    images = random_images(2, 32, 32)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert torch.equal(preprocess(mapped, PLAIN), preprocess(images, PLAIN))


def test_no_images_give_an_empty_input() -> None:
    assert preprocess(random_images(0, 32, 32), KERAS_PREPROCESSING).shape == (0, 3, 224, 224)


@pytest.mark.parametrize(
    "images",
    [np.zeros((2, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 1), np.uint8)],
)
def test_anything_but_uint8_rgb_images_is_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, H, W, 3\), got"):
        preprocess(images, PLAIN)


def test_an_unknown_interpolation_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"interpolation must be one of \['bicubic', 'bilinear'\], got 'nearest'"
    ):
        resize(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), 16, "nearest")
