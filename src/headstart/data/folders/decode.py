"""Decode one file to RGB pixels, under limits: any file gives pixels or a reason, never a crash.

Training, evaluation, prediction and export share this decoder: `decode_image`, then `square` for the size
that is needed. Colour profiles are not applied. Large JPEGs are decoded at a half, a quarter or an eighth of
their size, which their format offers nearly for free, as long as both sides keep ENOUGH_PIXELS (a
12-megapixel
image: at a half).
"""

from __future__ import annotations

import io
import os
import stat
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.find import printable
from headstart.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

ENOUGH_PIXELS = 1024  # a side that no reduced decoding goes below
# Formats that hold images and nothing else: no EPS, which would start Ghostscript, no PDF, no video.
FORMATS = ("PNG", "JPEG", "MPO", "JPEG2000", "GIF", "WEBP", "AVIF", "HEIF", "BMP", "DIB", "TIFF", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_TRANSPOSES = {  # EXIF orientation -> what brings the pixels upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_UNKNOWN_FORMAT = "not an image of a known format, or its start is damaged"
_SWAPS_SIDES = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")
_ORIENTATION = 0x0112  # the EXIF tag


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits on one file; part of the key of the decoder's cache.

    max_pixels: width x height, checked before anything is decoded (Pillow's own limit is the same).
    max_seconds: processor time of decoding, checked whenever the decoder asks for more bytes."""

    max_pixels: int = 89_478_485
    max_bytes: int = 200_000_000
    max_seconds: float = 30.0
    min_side_pixels: int = 2


DEFAULT_LIMITS = Limits()


class UnreadableError(DataError):
    """A file that gives no image; `reason` says why in a few words."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be read as an image ({reason}); mend or remove it")
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """An upright RGB image and how it was stored.

    image: a Pillow image in mode RGB, upright. width, height: pixels, upright, before any reduced decoding.
    format, mode: as stored.
    notes: what was done to it beyond decoding ("turned upright", "transparency on white", ...).
    """

    image: Image
    width: int
    height: int
    format: str
    mode: str
    notes: tuple[str, ...]


def decode_image(source: str | Path | bytes, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Decode a file, or the bytes of one, to RGB pixels: uint8 (H, W, 3), writable.

    Raises: UnreadableError (a DataError, one line) for anything that is not a whole image within the limits.
    """
    with quiet_pillow():
        return np.array(decode(source, limits).image)


def square(image: Image | NDArray[np.uint8], image_pixels: int) -> NDArray[np.uint8]:
    """Resize the shorter side to image_pixels and cut out the middle square: uint8 (S, S, 3).

    Pillow's bicubic filter, antialiased."""
    from PIL import Image, ImageOps

    whole = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    return np.array(ImageOps.fit(whole, (image_pixels, image_pixels), Image.Resampling.BICUBIC))


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hide Pillow's warnings (odd metadata, large images): what matters comes as notes and reasons.

    Truncated files are refused, whatever another package has set in Pillow. This changes the process's
    warning
    filters: enter it once around threads, not in them."""
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def decode(
    source: str | Path | bytes,
    limits: Limits = DEFAULT_LIMITS,
    reserve: Callable[[int], None] = lambda pixels: None,
) -> DecodedImage:
    """Decode a file as decode_image does, with its size, format and notes; call it inside quiet_pillow.

    reserve: called with the number of pixels before they are decoded; may wait, so that many threads share
    one limit on memory.
    Raises: UnreadableError."""
    name = "the image" if isinstance(source, bytes) else printable(str(source))
    try:
        with _opened(source, limits) as file:
            return _decode(file, name, limits, reserve)
    except UnreadableError:
        raise
    except MemoryError:
        raise UnreadableError(name, "not enough memory to decode it") from None
    except (
        Exception
    ) as error:  # decoders of damaged files raise nearly anything: struct.error, IndexError, zlib.error, ...
        raise UnreadableError(name, _reason(error)) from error


def _decode(file: IO[bytes], name: str, limits: Limits, reserve: Callable[[int], None]) -> DecodedImage:
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    head = file.read(512)
    file.seek(0)
    if not head:
        raise UnreadableError(name, "the file is empty")
    try:
        opened = pillow.open(file, formats=available_formats())
    except UnidentifiedImageError:
        raise UnreadableError(name, _described(head)) from None
    except pillow.DecompressionBombError as error:  # above twice Pillow's own limit it does not even open
        raise UnreadableError(
            name, f"{_pixels_in(str(error))} pixels; at most {limits.max_pixels:,} are decoded"
        ) from None
    width, height = opened.size
    mode, kind = opened.mode, opened.format or "?"
    if width * height > limits.max_pixels:
        raise UnreadableError(
            name, f"{width:,} x {height:,} pixels; at most {limits.max_pixels:,} are decoded"
        )
    if min(width, height) < limits.min_side_pixels:
        raise UnreadableError(name, f"{width} x {height} pixels: too small to show anything")
    notes = ["first of several frames"] if _is_animated(opened) else []
    transpose = _TRANSPOSES.get(_orientation(opened))
    if kind in ("JPEG", "MPO"):
        opened.draft(None, (ENOUGH_PIXELS, ENOUGH_PIXELS))
    reserve(opened.size[0] * opened.size[1])
    opened.load()
    image: Image = _as_rgb(opened, name, notes)
    if transpose:
        image = image.transpose(pillow.Transpose[transpose])
        notes.append("turned upright")
    upright = (height, width) if transpose in _SWAPS_SIDES else (width, height)
    return DecodedImage(
        image=image, width=upright[0], height=upright[1], format=kind, mode=mode, notes=tuple(notes)
    )


def _as_rgb(image: Image, name: str, notes: list[str]) -> Image:
    from PIL import Image as pillow

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        values = np.asarray(image)
        if image.mode == "F" or values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise UnreadableError(
                name, "its values are 32-bit numbers, not grey levels; save it with 8 or 16 bits"
            )
        notes.append("16 bits brought to 8")
        # A table, not arithmetic: that would take 12 bytes a pixel on the way.
        to_eight = ((np.arange(65536) + 128) // 257).astype(np.uint8)
        return pillow.fromarray(to_eight[values]).convert("RGB")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        white = pillow.new("RGB", image.size, "white")
        white.paste(layered, mask=layered.getchannel("A"))
        notes.append("transparency on white")
        return white
    if image.mode in ("CMYK", "YCCK", "LAB", "P", "PA"):
        notes.append("palette" if image.mode.startswith("P") else f"{image.mode} to RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_animated(image: Image) -> bool:
    if image.format not in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        return False  # a phone's MPO and HEIF files keep previews and depth maps as further images
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # damaged after its first frame, which is all that is wanted
        return True


def _orientation(image: Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata does not make the pixels unreadable
        return 1


@contextmanager
def _opened(source: str | Path | bytes, limits: Limits) -> Iterator[IO[bytes]]:
    if isinstance(source, bytes):
        _check_bytes("the image", len(source), limits)
        yield _TimedBytes(source, limits.max_seconds)
        return
    # Never blocks, also where the path is a named pipe without a writer.
    handle = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode):
        os.close(handle)
        raise UnreadableError(printable(str(source)), "not a file")
    with _TimedFile(io.FileIO(handle), limits.max_seconds) as file:
        _check_bytes(printable(str(source)), facts.st_size, limits)
        yield file


def _check_bytes(name: str, size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        raise UnreadableError(name, f"{size:,} bytes; at most {limits.max_bytes:,} are read")


class _Timed:
    """Stop a decoder that computes for too long; works in any thread, where a signal would not.

    The thread's own processor time counts, so a busy machine or a slow disk makes no file unreadable."""

    _deadline: float
    _seconds: float

    def _start(self, seconds: float) -> None:
        self._seconds, self._deadline = seconds, time.thread_time() + seconds

    def _check(self) -> None:
        if time.thread_time() > self._deadline:
            raise TimeoutError(f"takes longer than {self._seconds:g} seconds to decode")


class _TimedFile(io.BufferedReader, _Timed):
    def __init__(self, raw: io.FileIO, seconds: float) -> None:
        super().__init__(raw)
        self._start(seconds)

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return super().read(size)


class _TimedBytes(io.BytesIO, _Timed):
    def __init__(self, content: bytes, seconds: float) -> None:
        super().__init__(content)
        self._start(seconds)

    def read(self, size: int | None = -1, /) -> bytes:
        self._check()
        return super().read(size)


@cache
def available_formats() -> list[str]:
    """List the FORMATS that this Pillow can read; HEIC through pillow-heif where it is installed."""
    from PIL import Image

    try:
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    except ImportError:
        pass
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _described(head: bytes) -> str:
    """Say what kind of file starts with these bytes, given that no decoder takes it."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        if "HEIF" in available_formats():
            return "a damaged HEIC photo"
        return 'a HEIC photo; to read those: pip install "headstart[heic]"'
    if head[:5] == b"%PDF-":
        return "a PDF, not an image"
    lowered = head.lstrip().lower()
    if lowered.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image"
    if lowered.startswith((b"<svg", b"<?xml")):
        return "XML or SVG, not an image of pixels"
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a letter cut in two where the head ends
            return _UNKNOWN_FORMAT
    return _UNKNOWN_FORMAT if set(head) & set(range(9)) else "text, not an image"


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) or (type(error) is OSError and error.errno is None):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        return {"No such file or directory": "there is no such file"}.get(
            error.strerror, error.strerror.lower()
        )
    else:
        text = f"damaged: {error or type(error).__name__}"
    if "truncated" in text or "unexpected end" in text.lower():
        return "truncated: the end of the file is missing"
    return " ".join(text.split())[:200]


def _pixels_in(message: str) -> str:
    number = next((word for word in message.replace("(", " ").split() if word.isdigit()), "too many")
    return f"{int(number):,}" if number.isdigit() else number
