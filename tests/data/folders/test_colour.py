"""Transparency, colour profiles and CMYK become the colours that a viewer shows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from tests.support.deep_images import encoded, png16
from tests.support.profiles import wide_gamut_profile

from headstart.data.folders import decode_image
from headstart.data.folders.decode import decode


def _drawn(colour, ground=(0, 0, 0, 0)) -> Image.Image:
    image = Image.new("RGBA", (16, 16), ground)
    ImageDraw.Draw(image).rectangle((4, 4, 11, 11), fill=(*colour, 255))
    return image


def _found(image: Image.Image) -> tuple[list[int], list[int], tuple[str, ...]]:
    """The corner's and the middle's colour, and the notes."""
    decoded = decode(encoded(image, "PNG"))
    pixels = np.asarray(decoded.image)
    return pixels[0, 0].tolist(), pixels[8, 8].tolist(), decoded.notes


def test_a_drawing_on_nothing_is_seen_whatever_its_colour():
    assert _found(_drawn((10, 20, 30))) == ([255] * 3, [10, 20, 30], ("transparency on white",))
    note = "transparency on black, as on white nothing is seen"
    assert _found(_drawn((255, 255, 255))) == ([0] * 3, [255] * 3, (note,))
    assert _found(_drawn((254, 253, 255))) == ([0] * 3, [254, 253, 255], (note,))
    assert _found(_drawn((245, 248, 244))) == ([0] * 3, [245, 248, 244], (note,))  # as good as nothing


def test_where_transparency_hides_everything_the_stored_colours_are_used():
    image = Image.new("RGB", (16, 16), (200, 10, 10)).convert("RGBA")
    image.putalpha(0)
    note = "stored colours, as transparency hides everything"
    assert _found(image) == ([200, 10, 10], [200, 10, 10], (note,))


def test_an_alpha_channel_that_hides_nothing_is_no_note():
    assert _found(_drawn((9, 9, 9), (50, 60, 70, 255))) == ([50, 60, 70], [9, 9, 9], ())


@pytest.mark.parametrize("mode", ["LA", "P", "RGBA 16"])
def test_a_white_drawing_is_seen_in_other_modes(mode):
    if mode == "RGBA 16":
        content = png16(np.asarray(_drawn((255, 255, 255))).astype(np.uint16) * 257)
    else:
        image = _drawn((255, 255, 255))
        content = encoded(image.convert("LA") if mode == "LA" else image.quantize(4), "PNG")
    pixels = decode_image(content)
    assert pixels[0, 0].tolist() == [0] * 3 and pixels[8, 8].min() >= 250


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_a_wide_gamut_profile_is_brought_to_srgb(format):
    profile = wide_gamut_profile()
    wide = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    way = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), wide, "RGB", "RGB")
    image = Image.new("RGB", (8, 8), (230, 40, 30))
    options = {"lossless": True} if format == "WEBP" else {}
    content = encoded(ImageCms.applyTransform(image, way), format, icc_profile=profile, **options)
    decoded = decode(content)
    assert np.abs(np.asarray(decoded.image).astype(int) - (230, 40, 30)).max() <= 3
    assert decoded.notes == ("colour profile Wide (made for a test) to sRGB",)


def test_srgb_itself_and_damaged_profiles_change_nothing():
    image = Image.new("RGB", (8, 8), (230, 40, 30))
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (own, b"no profile", wide_gamut_profile()[:100]):
        decoded = decode(encoded(image, "PNG", icc_profile=profile))
        assert np.asarray(decoded.image)[0, 0].tolist() == [230, 40, 30] and decoded.notes == ()


def test_the_profile_of_another_mode_is_passed_over():
    grey = Image.new("L", (8, 8), 100)
    assert decode_image(encoded(grey, "PNG", icc_profile=wide_gamut_profile()))[0, 0].tolist() == [100] * 3
