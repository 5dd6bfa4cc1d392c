"""Values of more than 8 bits come out as they look, whatever container holds them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tests.support.deep_images import encoded, png16, ppm16, tiff

from headstart.data.folders import UnreadableError, decode_image, decode_source, find_entries
from headstart.data.folders.decode import decode
from headstart.data.folders.values import common_ranges
from headstart.types import Reading

GREY = np.array([[0, 64, 128], [192, 255, 17]], np.uint8)
COLOURS = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3) * 4  # up to 236
COLOURS[0, 0] = 255


def _grey(content: bytes, **reading) -> list[list[int]]:
    levels = decode_image(content, reading=Reading(**reading))
    assert (levels[..., :1] == levels).all()
    return levels[..., 0].tolist()


@pytest.mark.parametrize("bits", [8, 9, 10, 11, 12, 13, 14, 15, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF", "big-endian TIFF", "zlib TIFF"])
def test_whole_numbers_are_scaled_by_the_bits_that_they_use(bits, form):
    white = 2**bits - 1
    deep = np.round(GREY / 255 * white).astype(np.uint16)
    if form == "PNG":
        content = encoded(Image.fromarray(deep), "PNG")
    else:
        content = tiff(deep, byteorder=">" if "big" in form else "<", zlib="zlib" in form)
    assert np.abs(np.array(_grey(content)) - GREY).max() <= 1


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize(
    "form", ["PNG", "PNG with alpha", "TIFF", "big-endian TIFF", "zlib TIFF", "TIFF with alpha", "PPM"]
)
def test_colours_of_16_bits_keep_the_bits_that_pillow_drops(bits, form):
    deep = np.round(COLOURS / 255 * (2**bits - 1)).astype(np.uint16)
    opaque = np.full((*deep.shape[:2], 1), 65535, np.uint16)
    if form == "PPM":
        content = ppm16(deep)
    elif form.startswith("PNG"):
        content = png16(np.concatenate([deep, opaque], axis=2) if "alpha" in form else deep)
    else:
        stored = np.concatenate([deep, opaque], axis=2) if "alpha" in form else deep
        content = tiff(stored, byteorder=">" if "big" in form else "<", zlib="zlib" in form)
    assert np.abs(decode_image(content).astype(int) - COLOURS).max() <= 1


def test_grey_with_alpha_of_16_bits_lies_on_white():
    grey = np.array([[0, 4095], [2048, 4095]], np.uint16)
    alpha = np.array([[65535, 65535], [65535, 0]], np.uint16)
    assert _grey(png16(np.stack([grey, alpha], axis=2))) == [[0, 255], [128, 255]]
    assert _grey(png16(np.stack([255 - grey // 16, alpha], axis=2))) == [[255, 0], [127, 255]]


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (np.array([[0, 128], [255, 64]], np.int32), [[0, 128], [255, 64]]),
        (np.array([[0, 2048], [4095, 1024]], np.uint32), [[0, 128], [255, 64]]),
        (np.array([[-1000, 0], [1000, 500]], np.int16), [[0, 128], [255, 191]]),
        (np.array([[0, 0.5], [1, 0.25]], np.float32), [[0, 128], [255, 64]]),
        (np.array([[0, 128], [255, 64]], np.float32), [[0, 128], [255, 64]]),
        (np.array([[-1, 0], [1, 0.5]], np.float32), [[0, 128], [255, 191]]),
        (np.array([[0, 0.05], [0.1, 0.025]], np.float32), [[0, 128], [255, 64]]),
        (np.array([[np.nan, 0.5], [1, 0.25]], np.float32), [[0, 128], [255, 64]]),
    ],
)
def test_numbers_of_32_bits_signed_ones_and_fractions_are_read(values, levels):
    found = np.array(_grey(tiff(values)))
    assert np.abs(found - np.array(levels)).max() <= 1


def test_small_values_are_bright_where_the_file_says_so():
    assert _grey(tiff(np.array([[0, 65535]] * 2, np.uint16), photometric=0)) == [[255, 0]] * 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(np.zeros((4, 4), np.float64)), "a TIFF whose grey levels are fractions of 64 bits"),
        (tiff(np.full((4, 4), np.nan, np.float32)), "none of its values is a number"),
        (tiff(np.zeros((4, 4), np.int8)), "signed 8-bit numbers"),
        (tiff(np.zeros((3, 4, 4), np.uint16), planar=True), "16 bits in a form that is not read"),
    ],
)
def test_what_cannot_be_read_as_it_is_meant_is_refused_with_the_way_out(content, reason):
    with pytest.raises(UnreadableError, match=reason) as error:
        decode_image(content)
    assert "\n" not in str(error.value)


def test_ranges_are_those_of_all_images_without_their_outermost_values():
    assert common_ranges([("integers", 0, 900), ("integers", 3, 4000)]) == {"integers": (0, 4095)}
    assert common_ranges([("integers", 0, 3)]) == {"integers": (0, 3)}
    assert common_ranges([("integers", 30000, 31000), ("integers", 30500, 32000)]) == {
        "integers": (30000, 32000)
    }
    assert common_ranges([("floats", 0.0, 0.9), ("floats", 0.1, 1.0)]) == {"floats": (0, 1)}
    assert common_ranges([]) == {}


def test_one_hot_pixel_does_not_darken_an_image():
    deep = np.tile(np.arange(64, dtype=np.uint16) * 65, (64, 1))  # up to 4,095
    deep[5, 5] = 65535
    levels = decode_image(encoded(Image.fromarray(deep), "PNG"))[..., 0]
    assert levels[0, 63] == 255 and levels[5, 5] == 255


def test_all_images_of_a_folder_are_scaled_alike(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for name, brightest in (("dark/a", 1000), ("dark/b", 900), ("light/a", 4000), ("light/b", 3900)):
        path = tmp_path / "photos" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.array([[0, brightest]] * 2, np.uint16)).save(path)
    found = decode_source(find_entries(tmp_path / "photos"), 2)
    assert found.reading.integer_range == (0, 4095) and found.reading.float_range is None
    assert [int(image.max()) for image in found.images] == [62, 56, 249, 243]
    assert decode_source(find_entries(tmp_path / "photos"), 2).decoded_now == 0
    Image.fromarray(np.array([[0, 60000]] * 2, np.uint16)).save(tmp_path / "photos" / "light" / "c.png")
    more = decode_source(find_entries(tmp_path / "photos"), 2)
    assert more.reading.integer_range == (0, 65535)
    assert [int(image.max()) for image in more.images] == [4, 4, 16, 15, 233]
    kept = decode_source(find_entries(tmp_path / "photos"), 2, reading=Reading(integer_range=(0, 4095)))
    assert [int(image.max()) for image in kept.images] == [62, 56, 249, 243, 255]


def test_a_damaged_deep_file_is_a_reason_and_no_crash():
    content = png16(np.zeros((40, 40, 3), np.uint16))
    with pytest.raises(UnreadableError):
        decode_image(content[: len(content) // 2])
    assert decode(png16(np.zeros((4, 4, 3), np.uint16))).values == ("integers", 0.0, 0.0)
    assert io.BytesIO(content).read() == content
