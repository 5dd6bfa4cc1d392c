"""What a file is, by its first bytes: its suffix may be wrong or missing."""

from __future__ import annotations

from functools import cache
from typing import IO

HEAD_BYTES = 512
# Formats that hold images and nothing else: no EPS, which would start Ghostscript, no PDF, no video.
FORMATS = ("PNG", "JPEG", "MPO", "JPEG2000", "GIF", "WEBP", "AVIF", "HEIF", "BMP", "DIB", "TIFF", "PPM")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_STARTS = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",
    b"MM\0*",
    b"II+\0",
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\xff\x4f\xff\x51",
)
_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SAMPLES, _BITS, _SAMPLE_FORMAT = 277, 258, 339  # tags of a TIFF
_UNKNOWN_FORMAT = "not an image of a known format, or its start is damaged"


def is_image(head: bytes) -> bool:
    """Whether a file that starts so is an image of a format that is read here."""
    if head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] in _HEIF_BRANDS + _AVIF_BRANDS
    return head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"


def described(file: IO[bytes]) -> str:
    """Say what kind of file this is, given that no decoder takes it."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        if "HEIF" in available_formats():
            return "a damaged HEIC image"
        return 'a HEIC image; to read those: pip install "headstart[heic]"'
    if head[:5] == b"%PDF-":
        return "a PDF, not an image"
    if head.startswith(b"PK\3\4"):
        return "a zip, not an image: unpack it"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the image itself: fetch it with git lfs pull"
    if head.startswith(b"\0\x05\x16\x07"):
        return "macOS's notes on a file, not an image"
    if head.startswith(_TIFF_STARTS):
        return _kind_of_tiff(file)
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


def _kind_of_tiff(file: IO[bytes]) -> str:
    """Why a TIFF is not read, by its tags."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        file.seek(0)
        header = file.read(8)
        if header[2:3] == b"+" or header[3:4] == b"+":  # 64-bit offsets
            header += file.read(8)
        tags = ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
        channels, bits = int(tags.get(_SAMPLES, 1)), int(tags.get(_BITS, (1,))[0])
        fractions = 3 in tuple(tags.get(_SAMPLE_FORMAT, (1,)))
    except Exception:  # whatever a damaged directory makes of Pillow
        return "a damaged TIFF"
    if channels > 4:
        return f"a TIFF of {channels} channels; save it with one (grey) or three (colours)"
    if fractions:
        what = "colours" if channels >= 3 else "grey levels"
        also = "" if channels >= 3 else ", or fractions with 32"
        return f"a TIFF whose {what} are fractions of {bits} bits; save it with 8 or 16 bits{also}"
    return f"a TIFF of a kind that is not read ({channels} x {bits} bits); save it as PNG, or with 8 bits"


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
