"""The lines in a model card read every kind of photo as the program does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.support.deep_images import encoded, tiff
from tests.support.profiles import wide_gamut_profile

from headstart.data.folders import decode_image, square
from headstart.models.saved import SavedModel, TrainingImages
from headstart.predict.card_code import card_code
from headstart.types import Preprocessing, Reading


def _saved(**reading: Any) -> SavedModel:
    return SavedModel(
        architecture={"model": "cnn", "weights": "none"},
        class_names=("a", "b"),
        preprocessing=Preprocessing(size_pixels=None, mean=(0, 0, 0), std=(1, 1, 1)),
        image_pixels=24,
        method="scratch",
        weights_hash="",
        precision="fp32",
        feature_precision="fp32",
        dataset=TrainingImages(),
        reading=Reading(**reading),
    )


def _photo(size=(60, 40)) -> Image.Image:
    cells = np.random.default_rng(3).integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return Image.fromarray(cells).resize(size, Image.Resampling.BICUBIC)


def _clear(colour) -> Image.Image:
    image = Image.new("RGBA", (60, 40), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((8, 8, 40, 30), fill=(*colour, 255))
    return image


def _turned(format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(_photo(), format, exif=exif)


def _hidden() -> Image.Image:
    image = _photo().convert("RGBA")
    image.putalpha(0)
    return image


def _with_holes() -> np.ndarray:
    values = np.asarray(_photo().convert("L")).astype(np.float32) / 255
    values[:5], values[5:8] = np.nan, np.inf
    return values


KINDS = {
    "plain.png": lambda: encoded(_photo(), "PNG"),
    "turned.jpg": lambda: _turned("JPEG"),
    "turned.tif": lambda: _turned("TIFF"),
    "turned.webp": lambda: _turned("WEBP"),
    "large.jpg": lambda: encoded(_photo((2300, 2100)), "JPEG"),
    "clear.png": lambda: encoded(_clear((10, 90, 30)), "PNG"),
    "white on clear.png": lambda: encoded(_clear((255, 255, 255)), "PNG"),
    "palette clear.png": lambda: encoded(_clear((10, 90, 30)).quantize(4), "PNG"),
    "hidden.png": lambda: encoded(_hidden(), "PNG"),
    "grey.png": lambda: encoded(_photo().convert("L"), "PNG"),
    "grey alpha.png": lambda: encoded(_clear((99, 99, 99)).convert("LA"), "PNG"),
    "two colours.png": lambda: encoded(_photo().convert("1"), "PNG"),
    "cmyk.jpg": lambda: encoded(_photo().convert("CMYK"), "JPEG"),
    "wide gamut.png": lambda: encoded(_photo(), "PNG", icc_profile=wide_gamut_profile()),
    "animation.gif": lambda: encoded(
        _photo().quantize(16), "GIF", save_all=True, append_images=[_photo((60, 40)).quantize(8)]
    ),
    "twelve bits.png": lambda: encoded(
        Image.fromarray(np.asarray(_photo().convert("L")).astype(np.uint16) * 16), "PNG"
    ),
    "fractions.tif": lambda: tiff(np.asarray(_photo().convert("L")).astype(np.float32) / 255),
    "whole numbers.tif": lambda: tiff(np.asarray(_photo().convert("L")).astype(np.int32)),
    "faint on clear.png": lambda: encoded(_clear((245, 246, 247)), "PNG"),
    "negative fractions.tif": lambda: tiff(np.asarray(_photo().convert("L")).astype(np.float32) / 127.5 - 1),
    "degrees.tif": lambda: tiff(np.asarray(_photo().convert("L")).astype(np.float32) * 4 - 500),
    "holes.tif": lambda: tiff(_with_holes()),
    "one value.tif": lambda: tiff(np.full((40, 60), 7, np.uint16)),
    "white is 0.tif": lambda: tiff(np.asarray(_photo().convert("L")).astype(np.uint16) * 16, photometric=0),
    "tiny.png": lambda: encoded(_photo((7, 5)), "PNG"),
}
READINGS = (
    {},
    {"fit": "pad", "integer_range": (0.0, 4095.0)},
    {"fit": "squash", "float_range": (0.0, 0.5), "integer_range": (0.0, 65535.0)},
)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cards_lines_read_as_the_program_does(kind: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    path.write_bytes(KINDS[kind]())
    for reading in READINGS:
        saved = _saved(**reading)
        lines: dict[str, Any] = {}
        exec(card_code(saved, "onnx", "model.onnx").partition("\nimport onnxruntime")[0], lines)
        mine = lines["read_photo"](path)
        theirs = square(decode_image(path, reading=saved.reading), 24, saved.reading.fit)
        assert mine.dtype == np.uint8 and np.abs(mine.astype(int) - theirs).max() <= 1, reading
