"""Whatever a file holds, there come upright RGB pixels or a reason."""

from __future__ import annotations

import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from headstart.data import load_dataset
from headstart.data.folders import Limits, UnreadableError, decode_image, square
from headstart.data.folders.decode import decode, quiet_pillow
from headstart.errors import DataError


@pytest.fixture(scope="module")
def photo():
    """A real 32 x 24 picture, uint8."""
    return np.ascontiguousarray(load_dataset("cifar10").train.images[11][:24])


def _bytes(image, format="PNG", **options) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_their_pixels(photo, format):
    assert np.array_equal(decode_image(_bytes(photo, format)), photo)


@pytest.mark.parametrize(("format", "tolerance"), [("JPEG", 5), ("WEBP", 6), ("AVIF", 6), ("JPEG2000", 1)])
def test_lossy_formats_come_near(photo, format, tolerance):
    found = decode_image(_bytes(photo, format, **({"quality": 95} if format != "JPEG2000" else {})))
    assert found.shape == photo.shape and np.abs(found.astype(int) - photo).mean() < tolerance


def test_a_phones_heic_is_read(photo):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    found = decode_image(_bytes(photo, "HEIF", quality=95))
    assert found.shape == photo.shape and np.abs(found.astype(int) - photo).mean() < 6


def test_a_path_and_its_bytes_give_the_same_writable_pixels(photo, tmp_path):
    (tmp_path / "a.png").write_bytes(_bytes(photo))
    found = decode_image(tmp_path / "a.png")
    assert np.array_equal(found, decode_image(str(tmp_path / "a.png"))) and np.array_equal(found, photo)
    found[0, 0] = 0
    assert found.dtype == np.uint8


STORED = {
    1: None,
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_90",
    7: "TRANSVERSE",
    8: "ROTATE_270",
}


@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_comes_upright(photo, orientation):
    stored = Image.fromarray(photo)
    if STORED[orientation]:
        stored = stored.transpose(Image.Transpose[STORED[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = _bytes(stored, exif=exif)
    assert np.array_equal(decode_image(content), photo)
    decoded = decode(content)
    assert (decoded.width, decoded.height) == (32, 24)
    assert decoded.notes == (("turned upright",) if orientation > 1 else ())


def test_broken_metadata_does_not_matter(photo):
    assert np.array_equal(decode_image(_bytes(photo, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")), photo)


def test_half_transparent_is_composed_on_white():
    image = np.full((4, 4, 4), (100, 50, 0, 255), np.uint8)
    image[0, 0, 3], image[0, 1, 3] = 0, 102  # 102 / 255 = 0.4
    found = decode_image(_bytes(image))
    assert found[0, 0].tolist() == [255, 255, 255]
    assert found[0, 1].tolist() == [193, 173, 153]  # 0.4 * colour + 0.6 * 255
    assert found[1, 1].tolist() == [100, 50, 0]


def test_grey_with_alpha_and_palette_with_alpha_are_composed_on_white():
    grey = Image.new("LA", (2, 2), (0, 0))
    grey.putpixel((0, 0), (7, 255))
    assert decode_image(_bytes(grey))[..., 0].tolist() == [[7, 255], [255, 255]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8).repeat(2, 0)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    assert decode_image(_bytes(palette, transparency=0)).tolist() == [[[255] * 3, [40, 50, 60]]] * 2


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(format):
    deep = np.array([[0, 257 * 7], [65535, 257 * 200 + 128]], np.uint16)
    assert decode_image(_bytes(deep, format))[..., 0].tolist() == [[0, 7], [255, 200]]


def test_sixteen_bit_colour_becomes_eight():
    rows = b"".join(b"\0" + np.array([[10 * 257, 20 * 257, 30 * 257]] * 2, ">u2").tobytes() for _ in range(2))

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert decode_image(png).tolist() == [[[10, 20, 30]] * 2] * 2


def test_numbers_of_32_bits_are_no_grey_levels():
    with pytest.raises(UnreadableError, match="32-bit numbers, not grey levels"):
        decode_image(_bytes(np.ones((4, 4), np.float32), "TIFF"))


def test_cmyk_comes_near_what_was_printed(photo):
    cmyk = _bytes(Image.fromarray(photo).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(decode_image(cmyk).astype(int) - photo).mean() < 5
    assert decode(cmyk).notes == ("CMYK to RGB",)


@pytest.mark.parametrize(("mode", "expected"), [("1", [0, 255]), ("L", [0, 200])])
def test_grey_and_black_and_white_become_rgb(mode, expected):
    image = Image.fromarray(np.array([[0, 200]] * 2, np.uint8)).convert(mode)
    assert decode_image(_bytes(image)).tolist() == [[[v] * 3 for v in expected]] * 2


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_used_and_said(format):
    frames = [Image.new("RGB", (16, 16), color) for color in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = decode(_bytes(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert np.asarray(decoded.image)[3, 3].tolist() == [250, 0, 0]
    assert "first of several frames" in decoded.notes


def test_a_large_jpeg_is_decoded_at_a_fraction_but_its_size_is_told():
    large = Image.effect_noise((4200, 2100), 50).convert("RGB")
    decoded = decode(_bytes(large, "JPEG", quality=50))
    assert (decoded.width, decoded.height) == (4200, 2100)
    assert decoded.image.size == (2100, 1050)


def _truncated(photo, format, **options):
    content = _bytes(np.tile(photo, (6, 6, 1)), format, **options)
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"just words\n" * 99, "text, not an image"),
        ("naïve café ".encode() * 99, "text, not an image"),
        (b"<!DOCTYPE html><html>", "a web page, not an image"),
        (b"<svg xmlns=''>", "XML or SVG, not an image of pixels"),
        (b"%PDF-1.7\n", "a PDF, not an image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 600, "a damaged HEIC photo"),
        (bytes(4000), "not an image of a known format, or its start is damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "text, not an image"),
        (_bytes(np.zeros((1, 1, 3), np.uint8)), "1 x 1 pixels: too small to show anything"),
        (_bytes(np.zeros((1, 9, 3), np.uint8)), "9 x 1 pixels: too small to show anything"),
    ],
)
def test_what_is_no_image_is_named(content, reason):
    with pytest.raises(UnreadableError) as error:
        decode_image(content)
    assert error.value.reason == reason
    assert str(error.value) == f"the image cannot be read as an image ({reason}); mend or remove it"
    assert isinstance(error.value, DataError) and error.value.exit_code == 3


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_half_a_file_is_no_image(photo, format):
    with pytest.raises(UnreadableError) as error:
        decode_image(_truncated(photo, format))
    if format in ("PNG", "JPEG", "BMP"):
        assert error.value.reason == "truncated: the end of the file is missing"


def test_a_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = (
        struct.pack(">I", 13)
        + b"IHDR"
        + header
        + struct.pack(">I", zlib.crc32(b"IHDR" + header))
        + b"\0\0\0\x09IDAT"
    )
    with pytest.raises(UnreadableError, match=r"\(900,000,000 pixels; at most 89,478,485 are decoded\)"):
        decode_image(b"\x89PNG\r\n\x1a\n" + chunk)


def test_limits_on_pixels_bytes_and_seconds(photo, tmp_path):
    content = _bytes(photo)
    (tmp_path / "a.png").write_bytes(content)
    for limits, reason in (
        (Limits(max_pixels=767), "32 x 24 pixels; at most 767 are decoded"),
        (Limits(max_bytes=100), f"{len(content):,} bytes; at most 100 are read"),
        (Limits(max_seconds=-1), "takes longer than -1 seconds to decode"),
    ):
        for source in (content, tmp_path / "a.png"):
            with pytest.raises(UnreadableError) as error:
                decode_image(source, limits)
            assert error.value.reason == reason
    assert np.array_equal(decode_image(content, Limits(max_pixels=768)), photo)


def test_what_is_not_a_file_never_blocks(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "self.png").symlink_to("self.png")
    for name, reason in (
        ("pipe.png", "not a file"),
        ("folder.png", "not a file"),
        ("gone.png", "there is no such file"),
        ("self.png", "too many levels of symbolic links"),
    ):
        with pytest.raises(UnreadableError) as error:
            decode_image(tmp_path / name)
        assert error.value.reason == reason


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_damaged_bytes_give_pixels_or_a_reason(photo, format):
    content = _bytes(photo, format)
    rng = random.Random(5)
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            with quiet_pillow():
                found = np.asarray(decode(bytes(damaged), Limits(max_pixels=10**6)).image)
            assert found.dtype == np.uint8 and found.shape[2] == 3
        except UnreadableError as error:
            assert error.reason and "\n" not in error.reason and len(error.reason) <= 200


def test_the_middle_is_kept_in_a_square():
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    assert square(wide, 8).tolist() == np.full((8, 8, 3), 200).tolist()
