"""Values of more than 8 bits: how they are read from a file, and which of them are black and white.

A file's container says little about its content: a sensor's 12 bits lie in files of 16, whole numbers from 0
to 255 in files of 32, fractions from 0 to 1 in others. The range is read off the values of all files together
(`common_ranges`), so that one image is not brightened against another.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.types import Reading

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["integers", "floats"]
_SAMPLED = 4_000_000  # values of an image that its range is read off
_TAIL = 0.1  # percent of the values at either end that do not count: hot and dead pixels
_LEAST_SHARE = 4  # where the values fill less of a usual range, the range is their own
_BITS = (8, 9, 10, 11, 12, 13, 14, 15, 16)
# Unpackers of Pillow's that keep the first or the last byte of each two. PNG and TIFF files of 16 bits a
# channel come as 8 bits with the one; read again with the other, nothing is lost.
_OTHER_BYTE = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBX;16B": "RGBX;16L",
    "RGBX;16L": "RGBX;16B",
}
_NATIVE = "L" if sys.byteorder == "little" else "B"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339  # tags of a TIFF


class ValuesError(Exception):
    """Values that cannot be read as grey levels or colours; the message says why in a few words."""


@dataclass(frozen=True, kw_only=True)
class Values:
    """The values of one image of more than 8 bits a channel.

    array: (H, W) or (H, W, 3), uint16, int64 or float32. alpha: (H, W) of the same kind, or None. inverted:
    small values are bright."""

    kind: Kind
    array: NDArray[Any]
    alpha: NDArray[Any] | None = None
    inverted: bool = False

    def extent(self) -> tuple[float, float]:
        """The smallest and the largest value, without the outermost 0.1 % at each end."""
        flat = self.array.reshape(-1)
        sample = flat[:: max(1, len(flat) // _SAMPLED)]
        if self.kind == "floats":
            sample = sample[np.isfinite(sample)]
            if not len(sample):
                raise ValuesError("none of its values is a number")
        low, high = np.percentile(sample, (_TAIL, 100 - _TAIL))
        return float(low), float(high)

    def to_eight(self, black: float, white: float) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Grey or colour levels, and the alpha channel or None, both uint8."""
        levels = _scaled(self.array, black, white)
        alpha = None
        if self.alpha is not None:
            _, opaque = common_ranges([(self.kind, 0.0, float(self.alpha.max(initial=0)))])[self.kind]
            alpha = _scaled(self.alpha, 0.0, opaque)
        return (255 - levels if self.inverted else levels), alpha


def _scaled(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    span = max(white - black, 1e-30)
    if values.dtype == np.uint16:  # a table: arithmetic would take 8 bytes a value on the way
        steps = np.arange(65536, dtype=np.float64)
        table = np.floor((np.clip(steps, black, white) - black) * (255 / span) + 0.5).astype(np.uint8)
        return np.asarray(table[values])
    finite = np.nan_to_num(values.astype(np.float64), nan=black, posinf=white, neginf=black)
    return np.floor((np.clip(finite, black, white) - black) * (255 / span) + 0.5).astype(np.uint8)


def common_ranges(extents: Iterable[tuple[Kind, float, float]]) -> dict[Kind, tuple[float, float]]:
    """The values that become black and white, for each kind of numbers, from the extents of all images.

    Integers: 0 and the largest number of the fewest bits, 8 to 16, that hold them (4,095 for 12 bits).
    Floats: 0 and 1, 0 and 255, or as integers. Values that are negative, larger than 65,535, or fill less
    than a quarter of such a range are scaled by their own extent."""
    ranges: dict[Kind, list[tuple[float, float]]] = {}
    for kind, low, high in extents:
        ranges.setdefault(kind, []).append((low, high))
    return {kind: _range(kind, pairs) for kind, pairs in ranges.items()}


def _range(kind: Kind, extents: list[tuple[float, float]]) -> tuple[float, float]:
    low, high = min(pair[0] for pair in extents), max(pair[1] for pair in extents)
    if low < 0:
        return (-1.0, 1.0) if kind == "floats" and low >= -1.01 and high <= 1.01 else (low, high)
    usual = ([1.0] if kind == "floats" else []) + [float(2**bits - 1) for bits in _BITS]
    white = next((bound for bound in usual if high <= bound * 1.0001), high)
    if high == low:
        return 0.0, max(white, 1.0)
    if high * _LEAST_SHARE < white:
        white = high
    if len(extents) > 1 and (high - low) * _LEAST_SHARE < white:  # all in a narrow band far from black
        return low, high
    return 0.0, white


def range_of(kind: Kind, extent: tuple[float, float], reading: Reading) -> tuple[float, float]:
    """The values that become black and white in one image: those of the reading, else its own."""
    given = reading.integer_range if kind == "integers" else reading.float_range
    return given or common_ranges([(kind, *extent)])[kind]


def read_values(image: Image, file: IO[bytes], formats: list[str]) -> Values | None:
    """The values of an opened image that is not loaded yet; None where 8 bits hold them.

    Loads the image; file: where it was opened from, read a second time for colours of 16 bits a channel.
    Raises: ValuesError for values in a form that is not read."""
    raw = _raw_mode(image)
    if image.format == "TIFF":
        _require_known_form(image, raw)
    inverted = image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0  # type: ignore[attr-defined]
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        image.load()
        return _single(image, raw, inverted)
    if image.format == "PNG" and raw == "LA;16B":
        return _grey_with_alpha(image)
    if image.format == "PPM" and image.mode == "RGB" and _largest_of_pixmap(image) > 255:
        return _portable_pixmap(image, file, formats)
    if raw.replace(";16N", f";16{_NATIVE}") in _OTHER_BYTE:
        return _colours(image, file, formats)
    return None


def _raw_mode(image: Image) -> str:
    """The name of the unpacker in Pillow that the file's pixels go through, empty where there is none."""
    if not getattr(image, "tile", None):
        return ""
    arguments = image.tile[0].args  # type: ignore[attr-defined]
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _require_known_form(image: Image, raw: str) -> None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_BITS_PER_SAMPLE, (1,))
    deepest = max(bits) if isinstance(bits, tuple) else int(bits)
    formats = tags.get(_SAMPLE_FORMAT, (1,))
    if deepest == 8 and 2 in (formats if isinstance(formats, tuple) else (formats,)):
        raise ValuesError("its values are signed 8-bit numbers; save it with unsigned ones")
    single = image.mode in ("I", "F") or image.mode.startswith("I;")
    if deepest > 8 and not single and (tags.get(_PLANAR, 1) == 2 or ";16" not in raw):
        raise ValuesError(
            f"its colours have {deepest} bits in a form that is not read; save it with 8 bits a channel"
        )


def _single(image: Image, raw: str, inverted: bool) -> Values:
    array = np.asarray(image)
    if image.mode == "F":
        return Values(kind="floats", array=array, inverted=inverted)
    if raw.startswith("I;32N"):
        array = array.view(np.uint32) if array.dtype == np.int32 else array
    if array.size and array.min() >= 0 and array.max() <= 65535:
        array = array.astype(np.uint16)
    else:
        array = array.astype(np.int64)
    clear = image.info.get("transparency")
    alpha = None
    if image.format == "PNG" and isinstance(clear, int):
        alpha = np.where(array == clear, 0, 65535).astype(np.uint16)
    return Values(kind="integers", array=array, alpha=alpha, inverted=inverted)


def _grey_with_alpha(image: Image) -> Values:
    """Grey and alpha of 16 bits each are the four bytes of a pixel."""
    image.tile = [tile._replace(args="RGBA") for tile in image.tile]  # type: ignore[attr-defined]
    image.load()
    pairs = np.asarray(image).view(">u2").astype(np.uint16)
    return Values(kind="integers", array=pairs[..., 0], alpha=pairs[..., 1])


def _colours(image: Image, file: IO[bytes], formats: list[str]) -> Values:
    image.load()
    high = np.asarray(image)
    other = _opened_again(file, formats)
    other.tile = [tile._replace(args=_with_other_byte(tile.args)) for tile in other.tile]
    other.load()
    return _two_bytes(high, np.asarray(other))


def _with_other_byte(arguments: Any) -> Any:
    if isinstance(arguments, tuple):
        return (_with_other_byte(arguments[0]), *arguments[1:])
    return _OTHER_BYTE[arguments.replace(";16N", f";16{_NATIVE}")]


def _largest_of_pixmap(image: Image) -> int:
    """The largest value that the header of a binary PPM allows; 0 where Pillow need not know it."""
    tile = image.tile[0]  # type: ignore[attr-defined]
    return int(tile.args[1]) if tile.codec_name == "ppm" else 0


def _portable_pixmap(image: Image, file: IO[bytes], formats: list[str]) -> Values:
    """Pillow scales a PPM's colours by the largest value that its header allows; here they are kept."""
    bytes_of = []
    for raw in ("RGB;16B", "RGB;16L"):
        opened = _opened_again(file, formats)
        opened.tile = [tile._replace(codec_name="raw", args=(raw, 0, 1)) for tile in opened.tile]
        opened.load()
        bytes_of.append(np.asarray(opened))
    return _two_bytes(*bytes_of)


def _opened_again(file: IO[bytes], formats: list[str]) -> Any:
    from PIL import Image as pillow

    file.seek(0)
    return pillow.open(file, formats=formats)


def _two_bytes(high: NDArray[np.uint8], low: NDArray[np.uint8]) -> Values:
    values = high.astype(np.uint16) * np.uint16(256) + low
    alpha = values[..., 3] if values.shape[-1] == 4 else None
    return Values(kind="integers", array=values[..., :3], alpha=alpha)
