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
from tests.support.deep_images import png16, tiff

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


MODES = ("RGB", "L", "1", "P", "RGBA", "LA", "I;16", "F", "CMYK")
FORMATS = ("PNG", "TIFF", "TIFF lzw", "TIFF pages", "WEBP", "JPEG", "MPO", "AVIF", "JPEG2000", "GIF")


def _in_mode(photo, mode):
    if mode == "I;16":
        return Image.fromarray(np.asarray(Image.fromarray(photo).convert("L")).astype(np.uint16) * 257)
    return Image.fromarray(photo).convert(mode)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mode", MODES)
def test_every_orientation_of_every_format_and_mode_comes_upright(photo, format, mode):
    """The stored file without the tag, turned by hand, is what the file with the tag must give."""
    upright, (kind, _, way) = _in_mode(photo, mode), format.partition(" ")
    for orientation, transpose in STORED.items():
        stored = upright.transpose(Image.Transpose[transpose]) if transpose else upright
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lzw": {"compression": "tiff_lzw"}, "pages": {"save_all": True, "append_images": [stored]}}
        options = options.get(way, {}) | ({"lossless": True} if kind == "WEBP" else {})
        try:
            plain = _bytes(stored, kind, **options)
            content = _bytes(stored, kind, exif=exif, **options)
        except (OSError, ValueError, KeyError, SystemError):
            pytest.skip(f"Pillow writes no {format} in mode {mode}")
        if kind in ("GIF", "JPEG2000"):
            continue  # these have no tag: nothing may be turned
        as_stored = Image.fromarray(decode_image(plain))
        back = {"ROTATE_90": "ROTATE_270", "ROTATE_270": "ROTATE_90"}.get(transpose, transpose)
        expected = as_stored.transpose(Image.Transpose[back]) if back else as_stored
        decoded = decode(content)
        assert np.array_equal(np.asarray(decoded.image), np.asarray(expected)), orientation
        assert (decoded.width, decoded.height) == (32, 24)
        assert ("turned upright" in decoded.notes) == (orientation > 1)


@pytest.mark.parametrize("orientation", STORED)
def test_every_exif_orientation_gives_the_pixels_themselves(photo, orientation):
    stored = Image.fromarray(photo)
    if STORED[orientation]:
        stored = stored.transpose(Image.Transpose[STORED[orientation]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for format in ("PNG", "TIFF"):
        assert np.array_equal(decode_image(_bytes(stored, format, exif=exif)), photo)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("channels", [1, 3])
def test_deep_tiffs_and_pngs_are_turned_once(photo, orientation, channels):
    deep = photo.astype(np.uint16) * 257
    deep = deep if channels == 3 else deep[..., 0]
    stored = {1: deep, 2: deep[:, ::-1], 3: deep[::-1, ::-1], 4: deep[::-1]}
    flipped = np.swapaxes(deep, 0, 1)
    stored |= {5: flipped, 6: flipped[::-1], 7: flipped[::-1, ::-1], 8: flipped[:, ::-1]}
    content = tiff(np.ascontiguousarray(stored[orientation]), orientation=orientation)
    expected = photo if channels == 3 else photo[..., :1].repeat(3, 2)
    assert np.abs(decode_image(content).astype(int) - expected).max() <= 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    if channels == 1:
        content = _bytes(Image.fromarray(np.ascontiguousarray(stored[orientation])), exif=exif)
        assert np.abs(decode_image(content).astype(int) - expected).max() <= 1


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
    deep = np.array([[[10, 20, 30], [0, 0, 255]]] * 2, np.uint16) * 257
    assert decode_image(png16(deep)).tolist() == [[[10, 20, 30], [0, 0, 255]]] * 2


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


def test_a_jpeg_over_the_limit_is_decoded_at_a_fraction_that_is_below(monkeypatch):
    monkeypatch.setattr("headstart.data.folders.decode.ENOUGH_PIXELS", 100)
    for options in ({}, {"progressive": True}):
        content = _bytes(Image.new("L", (1600, 1200), 90), "JPEG", quality=50, **options)
        waited: list[int] = []
        decoded = decode(content, Limits(max_pixels=100_000), waited.append)
        assert (decoded.width, decoded.height, decoded.image.size) == (1600, 1200, (200, 150))
        assert waited == [1600 * 1200 if options else 200 * 150]
    with pytest.raises(UnreadableError, match="1,600 x 1,200 pixels; at most 100,000 are decoded, so save"):
        decode_image(_bytes(Image.new("L", (1600, 1200), 90)), Limits(max_pixels=100_000))


def test_pillows_own_limit_stands_again_afterwards(photo):
    before = Image.MAX_IMAGE_PIXELS
    decode_image(_bytes(photo))
    assert before is not None and before == Image.MAX_IMAGE_PIXELS


def test_a_larger_second_page_is_said_with_its_size():
    small, large = Image.new("RGB", (8, 8)), Image.new("RGB", (32, 24), "red")
    decoded = decode(_bytes(small, "TIFF", save_all=True, append_images=[large]))
    assert decoded.notes == ("first of several frames", "page 1 is 8 x 8, page 2 is 32 x 24")
    assert decoded.image.size == (8, 8)


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
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "a pointer of Git LFS, not the image itself: fetch it with git lfs pull",
        ),
        (b"\0\x05\x16\x07\0\x02\0\0Mac OS X", "macOS's notes on a file, not an image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 600, "a damaged HEIC image"),
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
    with pytest.raises(UnreadableError, match=r"\(30,000 x 30,000 pixels; at most 89,478,485 are decoded"):
        decode_image(b"\x89PNG\r\n\x1a\n" + chunk)


def test_limits_on_pixels_bytes_and_seconds(photo, tmp_path):
    content = _bytes(photo)
    (tmp_path / "a.png").write_bytes(content)
    for limits, reason in (
        (Limits(max_pixels=767), "32 x 24 pixels; at most 767 are decoded, so save it smaller"),
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
        ("folder.png", "a folder, not a file"),
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


def test_a_square_is_the_middle_the_whole_on_grey_or_the_whole_squashed():
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    assert square(wide, 8).tolist() == np.full((8, 8, 3), 200).tolist()
    padded = square(wide, 24, "pad")[..., 0]
    assert (padded[:8] == 128).all() and (padded[16:] == 128).all()
    assert np.array_equal(padded[8:16], wide[..., 0])
    squashed = square(wide, 8, "squash")[..., 0]
    assert squashed[:, 0].max() < 30 and squashed[:, 4].min() > 170 and squashed[:, 7].max() < 30


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((20, 20, 5), np.uint8), "a TIFF of 5 channels"),
        (np.zeros((20, 20, 3), np.float32), "whose colours are fractions of 32 bits"),
        (np.zeros((20, 20)), "whose grey levels are fractions of 64 bits; .* with 32"),
    ],
)
def test_a_tiff_that_is_not_read_says_why(array, reason):
    with pytest.raises(UnreadableError, match=reason):
        decode_image(tiff(array))


@pytest.mark.parametrize(
    ("sides", "said"), [((8, 8, 30), "page 1 is 8 x 8, page 3 is 30 x 30"), ((8, 6, 8), None)]
)
def test_the_largest_page_of_a_tiff_is_told_wherever_it_stands(sides, said):
    pages = [Image.new("RGB", (side, side)) for side in sides]
    with quiet_pillow():
        decoded = decode(_bytes(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert decoded.image.size == (8, 8)
    assert decoded.notes == ("first of several frames", *([said] if said else []))


def test_a_zip_with_an_images_suffix_is_called_one(tmp_path):
    (tmp_path / "a.png").write_bytes(b"PK\3\4" + bytes(60))
    with pytest.raises(UnreadableError, match="a zip, not an image: unpack it"):
        decode_image(tmp_path / "a.png")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_half_a_file_is_called_truncated_or_damaged(photo, format):
    content = _bytes(photo, format)
    with pytest.raises(UnreadableError) as error:
        decode_image(content[: len(content) // 2])
    assert error.value.reason.startswith(("truncated: ", "damaged: "))


def test_a_jpeg_cut_within_its_header_is_called_truncated(photo):
    with pytest.raises(UnreadableError, match="truncated: the end of the file is missing"):
        decode_image(_bytes(photo, "JPEG")[:320])
