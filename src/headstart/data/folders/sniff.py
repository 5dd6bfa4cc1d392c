"""What a file is, by its first bytes: its suffix may be wrong or missing."""

from __future__ import annotations

from functools import cache

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
_UNKNOWN_FORMAT = "not an image of a known format, or its start is damaged"


def is_image(head: bytes) -> bool:
    """Whether a file that starts so is an image of a format that is read here."""
    if head.startswith(_STARTS) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return True
    if head[4:8] == b"ftyp":
        return head[8:12] in _HEIF_BRANDS + _AVIF_BRANDS
    return head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"


def described(head: bytes) -> str:
    """Say what kind of file starts with these bytes, given that no decoder takes it."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        if "HEIF" in available_formats():
            return "a damaged HEIC image"
        return 'a HEIC image; to read those: pip install "headstart[heic]"'
    if head[:5] == b"%PDF-":
        return "a PDF, not an image"
    if head.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the image itself: fetch it with git lfs pull"
    if head.startswith(b"\0\x05\x16\x07"):
        return "macOS's notes on a file, not an image"
    if head.startswith(_TIFF_STARTS):
        return (
            "a TIFF of a kind that is not read (fractions of 16 or 64 bits, a rare compression); save it "
            "with 8 or 16 bits, or fractions with 32"
        )
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
