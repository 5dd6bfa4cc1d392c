"""Image files of more than 8 bits a channel, written without the decoder under test."""

from __future__ import annotations

import io
import struct
import zlib as compression

import numpy as np
from PIL import Image

_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> PNG's colour type
_SAMPLE_FORMATS = {"u": 1, "i": 2, "f": 3}


def encoded(image: Image.Image, format: str, **options) -> bytes:
    """An image of Pillow's as a file."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def png16(values: np.ndarray) -> bytes:
    """uint16 (H, W) or (H, W, C) as a PNG of 16 bits a channel."""
    values = values if values.ndim == 3 else values[..., None]
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = compression.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[channels], 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", compression.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def ppm16(values: np.ndarray) -> bytes:
    """uint16 (H, W, 3) as a binary PPM."""
    return f"P6 {values.shape[1]} {values.shape[0]} 65535\n".encode() + values.astype(">u2").tobytes()


def tiff(
    values: np.ndarray,
    *,
    byteorder: str = "<",
    zlib: bool = False,
    photometric: int | None = None,
    planar: bool = False,
    orientation: int | None = None,
) -> bytes:
    """(H, W), (H, W, C) or, planar, (C, H, W) values of any type as a TIFF of one strip (a strip a plane)."""
    if planar:
        channels, height, width = values.shape
        strips = [plane for plane in values]
    else:
        height, width = values.shape[:2]
        channels = 1 if values.ndim == 2 else values.shape[2]
        strips = [values]
    packed = [strip.astype(values.dtype.newbyteorder(byteorder)).tobytes() for strip in strips]
    packed = [compression.compress(strip) if zlib else strip for strip in packed]
    short, long = 3, 4
    meaning = photometric if photometric is not None else (1 if channels == 1 else 2)
    bits = [values.dtype.itemsize * 8] * channels
    entries: list[tuple[int, int, list[int]]] = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, bits),
        (259, short, [8 if zlib else 1]),
        (262, short, [meaning]),
        (273, long, []),  # offsets of the strips, filled in below
        *([(274, short, [orientation])] if orientation else []),
        (277, short, [channels]),
        (278, long, [height]),
        (279, long, [len(strip) for strip in packed]),
        (284, short, [2 if planar else 1]),
        *([(338, short, [2])] if channels in (2, 4) else []),
        (339, short, [_SAMPLE_FORMATS[values.dtype.kind]] * channels),
    ]
    letter = {short: "H", long: "I"}
    start = 8 + 2 + 12 * len(entries) + 4
    offsets, place = [], start
    for strip in packed:
        offsets.append(place)
        place += len(strip) + len(strip) % 2
    rows, tail = b"", b""
    for tag, kind, given in entries:
        numbers = offsets if tag == 273 else given
        content = struct.pack(f"{byteorder}{len(numbers)}{letter[kind]}", *numbers)
        if len(content) > 4:
            field = struct.pack(f"{byteorder}I", place + len(tail))
            tail += content
        else:
            field = content.ljust(4, b"\0")
        rows += struct.pack(f"{byteorder}HHI", tag, kind, len(numbers)) + field
    mark = b"II*\0" if byteorder == "<" else b"MM\0*"
    head = mark + struct.pack(f"{byteorder}IH", 8, len(entries)) + rows + b"\0\0\0\0"
    return head + b"".join(strip + b"\0" * (len(strip) % 2) for strip in packed) + tail
