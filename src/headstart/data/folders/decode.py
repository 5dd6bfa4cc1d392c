"""Decode one file to RGB pixels, under limits: any file gives pixels or a reason, never a crash.

Training, evaluation, prediction and export share this decoder: `decode_image`, then `square` for the size
that is needed. Colours are brought to sRGB. Large JPEGs are decoded at a half, a quarter or an eighth of
their size, which their format offers nearly for free, as long as both sides keep ENOUGH_PIXELS (12
megapixels: at a half).
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
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.colour import on_ground, to_rgb
from headstart.data.folders.sniff import HEAD_BYTES, available_formats, described
from headstart.data.folders.values import Kind, Values, ValuesError, range_of, read_values
from headstart.errors import DataError
from headstart.runtime.show import printable
from headstart.types import DEFAULT_READING, Reading

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose

FIRST_OF_SEVERAL = "first of several frames"  # the note on a file with more than one image
LARGER_PAGE = "page 1 is "  # starts the note on a TIFF with a page that is larger than its first
_PAGES_LOOKED_AT = 16  # of a TIFF, for a larger one
NO_FILE = "there is no such file"
_GROUND = 128  # grey level beside an image that is brought to a square whole
ENOUGH_PIXELS = 1024  # a side that no reduced decoding goes below
_TRANSPOSES = {  # EXIF orientation -> what brings the pixels upright
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
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
    notes: what was done to it beyond decoding ("turned upright", "transparency on white", ...). values: where
    it holds more than 8 bits, the kind of its numbers, its smallest and its largest (values.Values.extent).
    """

    image: Image
    width: int
    height: int
    format: str
    mode: str
    notes: tuple[str, ...]
    values: tuple[Kind, float, float] | None = None


def decode_image(
    source: str | Path | bytes, limits: Limits = DEFAULT_LIMITS, reading: Reading = DEFAULT_READING
) -> NDArray[np.uint8]:
    """Decode a file, or the bytes of one, to RGB pixels: uint8 (H, W, 3), writable.

    reading: which values of more than 8 bits become black and white; None in it: as the file suggests.
    Raises: UnreadableError (a DataError, one line) for anything that is not a whole image within the limits.
    """
    with quiet_pillow():
        return np.array(decode(source, limits, reading=reading).image)


def square(image: Image | NDArray[np.uint8], image_pixels: int, fit: str = "crop") -> NDArray[np.uint8]:
    """Bring an image to a square: uint8 (S, S, 3), by Pillow's bicubic filter, antialiased.

    fit: "crop" resizes the shorter side and cuts out the middle; "pad" resizes the longer side and fills up
    with grey; "squash" resizes both sides."""
    from PIL import Image, ImageOps

    whole = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    size = (image_pixels, image_pixels)
    if fit == "squash":
        return np.array(whole.resize(size, Image.Resampling.BICUBIC))
    if fit == "pad":
        share = image_pixels / max(whole.size)
        sides = (max(1, round(whole.width * share)), max(1, round(whole.height * share)))
        inner = whole.resize(sides, Image.Resampling.BICUBIC)
        ground = Image.new("RGB", size, (_GROUND, _GROUND, _GROUND))
        ground.paste(inner, ((image_pixels - sides[0]) // 2, (image_pixels - sides[1]) // 2))
        return np.array(ground)
    return np.array(ImageOps.fit(whole, size, Image.Resampling.BICUBIC))


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Hide Pillow's warnings (odd metadata, large images): what matters comes as notes and reasons.

    Truncated files are refused, whatever another package has set in Pillow. This changes the process's
    warning
    filters: enter it once around threads, not in them."""
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked before anything is decoded
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decode(
    source: str | Path | bytes,
    limits: Limits = DEFAULT_LIMITS,
    reserve: Callable[[int], None] = lambda pixels: None,
    reading: Reading = DEFAULT_READING,
) -> DecodedImage:
    """Decode a file as decode_image does, with its size, format and notes; call it inside quiet_pillow.

    reserve: called with the number of pixels before they are decoded; may wait, so that many threads share
    one limit on memory.
    Raises: UnreadableError."""
    name = "the image" if isinstance(source, bytes) else printable(str(source))
    try:
        with _opened(source, limits) as file:
            return _decode(file, name, limits, reserve, reading)
    except UnreadableError:
        raise
    except MemoryError:
        raise UnreadableError(name, "not enough memory to decode it") from None
    except (
        Exception
    ) as error:  # decoders of damaged files raise nearly anything: struct.error, IndexError, zlib.error, ...
        raise UnreadableError(name, _reason(error)) from error


def _decode(
    file: IO[bytes],
    name: str,
    limits: Limits,
    reserve: Callable[[int], None],
    reading: Reading,
) -> DecodedImage:
    opened = _opened_image(file, name)
    width, height = opened.size
    mode, kind = opened.mode, opened.format or "?"
    notes = _frames(opened)
    if kind in ("JPEG", "MPO"):
        opened.draft(None, (ENOUGH_PIXELS, ENOUGH_PIXELS))
    # A progressive JPEG keeps the coefficients of all its pixels while it is decoded.
    held = (width, height) if opened.info.get("progressive") else opened.size
    _check_size((width, height), opened.size, name, limits)
    reserve(held[0] * held[1])
    # Loading takes the tag of a TIFF away; asked for that of a PNG, Pillow loads it.
    tagged = kind == "TIFF" and _orientation(opened) in _TRANSPOSES
    try:
        values = read_values(opened, file, available_formats())
    except ValuesError as error:
        raise UnreadableError(name, str(error)) from None
    opened.load()
    # Pillow turns TIFFs itself while it loads them: only what is still to be turned is turned here.
    transpose = _TRANSPOSES.get(_orientation(opened))
    measured = None
    if values is None:
        image = to_rgb(opened, notes)
    else:
        image, measured = _brought_to_eight(values, reading, name, notes)
    stored = image.size
    if transpose:
        image = image.transpose(_transpose_named(transpose))
    if tagged or transpose:
        notes.append("turned upright")
    reduced = opened.size != (width, height) and kind in ("JPEG", "MPO")
    full = (width, height) if reduced else stored
    upright = full[::-1] if transpose in _SWAPS_SIDES else full
    return DecodedImage(
        image=image,
        width=upright[0],
        height=upright[1],
        format=kind,
        mode=mode,
        notes=tuple(notes),
        values=measured,
    )


def _opened_image(file: IO[bytes], name: str) -> Image:
    from PIL import Image as pillow
    from PIL import UnidentifiedImageError

    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise UnreadableError(name, "the file is empty")
    try:
        return pillow.open(file, formats=available_formats())
    except UnidentifiedImageError:
        raise UnreadableError(name, described(file)) from None


def _check_size(full: tuple[int, int], decoded: tuple[int, int], name: str, limits: Limits) -> None:
    """Refuse too many or too few pixels; full: as stored, decoded: after a JPEG's reduction."""
    if decoded[0] * decoded[1] > limits.max_pixels:
        raise UnreadableError(
            name,
            f"{full[0]:,} x {full[1]:,} pixels; at most {limits.max_pixels:,} are decoded, so save it "
            "smaller",
        )
    if min(full) < limits.min_side_pixels:
        raise UnreadableError(name, f"{full[0]} x {full[1]} pixels: too small to show anything")


def _transpose_named(name: str) -> Transpose:
    from PIL.Image import Transpose

    return Transpose[name]


def _brought_to_eight(
    values: Values, reading: Reading, name: str, notes: list[str]
) -> tuple[Image, tuple[Kind, float, float]]:
    from PIL import Image as pillow

    try:
        extent = values.extent()
    except ValuesError as error:
        raise UnreadableError(name, str(error)) from None
    levels, alpha = values.to_eight(*range_of(values.kind, extent, reading))
    notes.append(
        "more than 8 bits brought to 8" if values.kind == "integers" else "fractions brought to 8 bits"
    )
    image = pillow.fromarray(levels).convert("RGB")
    if alpha is not None:
        image = on_ground(image, pillow.fromarray(alpha), notes)
    return image, (values.kind, *extent)


def _frames(image: Image) -> list[str]:
    """A note where a file holds several images; for TIFFs, with the sizes where a later one is larger."""
    if not _is_animated(image):
        return []
    if image.format == "TIFF":
        try:
            sizes = []
            for page in range(min(image.n_frames, _PAGES_LOOKED_AT)):  # type: ignore[attr-defined]
                image.seek(page)
                sizes.append(image.size)
            image.seek(0)
        except Exception:  # damaged after its first page
            return [FIRST_OF_SEVERAL]
        largest = max(range(len(sizes)), key=lambda page: sizes[page][0] * sizes[page][1])
        if largest:
            (width, height), (more_width, more_height) = sizes[0], sizes[largest]
            return [
                FIRST_OF_SEVERAL,
                f"{LARGER_PAGE}{width} x {height}, page {largest + 1} is {more_width} x {more_height}",
            ]
    return [FIRST_OF_SEVERAL]


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
        what = "a folder, not a file" if stat.S_ISDIR(facts.st_mode) else "not a file"
        raise UnreadableError(printable(str(source)), what)
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


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        return {"No such file or directory": NO_FILE}.get(error.strerror, error.strerror.lower())
    else:
        text = f"damaged: {error or type(error).__name__}"
    if "truncated" in text.lower() or "unexpected end" in text.lower():
        return "truncated: the end of the file is missing"
    return " ".join(text.split())[:200]
