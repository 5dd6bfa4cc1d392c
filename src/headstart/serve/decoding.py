"""A child process that decodes images: `python -m headstart.serve.decoding`, called through Children."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from headstart.data.folders.cache import reading_from
from headstart.data.folders.decode import Limits, decode, quiet_pillow, square
from headstart.data.folders.walk import real_below
from headstart.serve.child import Values, answer_calls

_MEMORY_BYTES = 4 * 10**9  # of address space: an image of the most pixels, in floats, and the libraries


def _decoded(values: Values, content: bytes) -> Any:
    limits = Limits(**values["limits"])
    source: Any = content
    if path := values.get("path"):
        source = real_below(path, values["root"])
    return decode(source, limits, reading=reading_from(values.get("reading", {}))).image


def pixels(values: Values, content: bytes) -> tuple[Values, bytes]:
    """Upright RGB pixels: uint8 (H, W, 3)."""
    image = np.array(_decoded(values, content))
    return {"shape": image.shape}, image.tobytes()


def squares(values: Values, content: bytes) -> tuple[Values, bytes]:
    """The image as a model takes it: uint8 (S, S, 3)."""
    image = square(_decoded(values, content), values["image_pixels"], values["reading"]["fit"])
    return {"shape": image.shape}, image.tobytes()


def thumbnail(values: Values, content: bytes) -> tuple[Values, bytes]:
    """The whole image in a JPEG whose longer side has at most `side` pixels; small ones are not enlarged."""
    image = _decoded(values, content)
    image.thumbnail((values["side"], values["side"]), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=85)
    return {"width": image.width, "height": image.height}, out.getvalue()


if __name__ == "__main__":
    with quiet_pillow():
        answer_calls({"pixels": pixels, "squares": squares, "thumbnail": thumbnail}, _MEMORY_BYTES)
