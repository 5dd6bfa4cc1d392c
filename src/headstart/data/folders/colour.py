"""Bring any image of Pillow's to RGB: grounds for transparency, colour profiles, palettes and CMYK."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.runtime.show import printable

if TYPE_CHECKING:
    from PIL.Image import Image

_BLANK_SPAN = 3  # grey levels between the darkest and the brightest pixel of an image that shows nothing
_FAINT_SPAN, _CLEARER = 16, 3  # hardly anything is seen; another ground shows this many times more
_SAME_LEVELS = 3  # a profile that moves no colour by more is sRGB
_PROFILED = ("RGB", "L", "CMYK")
_SHADES = 9  # a side of the cube of colours that a profile is tried on


def to_rgb(image: Image, notes: list[str]) -> Image:
    """The loaded image in mode RGB; what was done to it is added to the notes."""
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        alpha = layered.getchannel("A")
        return on_ground(_profiled(layered.convert("RGB"), profile, notes), alpha, notes)
    converted = _profiled(image, profile, notes)
    if converted.mode in ("CMYK", "YCCK", "LAB", "P", "PA"):
        notes.append("palette" if converted.mode.startswith("P") else f"{converted.mode} to RGB")
    return converted if converted.mode == "RGB" else converted.convert("RGB")


def on_ground(colours: Image, alpha: Image, notes: list[str]) -> Image:
    """A transparent image on white; on black where white leaves nothing to see.

    Where alpha is 0 everywhere, the stored colours: no image is meant to be invisible."""
    from PIL import Image as pillow

    least, most = _extrema(alpha)
    if least == 255:
        return colours
    if most == 0:
        notes.append("stored colours, as transparency hides everything")
        return colours
    white = pillow.new("RGB", colours.size, "white")
    white.paste(colours, mask=alpha)
    on_white = _span(white)
    if on_white <= _FAINT_SPAN:
        black = pillow.new("RGB", colours.size, "black")
        black.paste(colours, mask=alpha)
        if _span(black) > max(_BLANK_SPAN, _CLEARER * on_white):
            notes.append("transparency on black, as on white nothing is seen")
            return black
    notes.append("transparency on white")
    return white


def _extrema(channel: Image) -> tuple[int, int]:
    low, high = channel.getextrema()
    assert isinstance(low, int) and isinstance(high, int)
    return low, high


def _span(image: Image) -> int:
    """Grey levels between the darkest and the brightest value of the channel that has most."""
    return max(high - low for low, high in map(_extrema, image.split()))


def _profiled(image: Image, profile: object, notes: list[str]) -> Image:
    """The image in sRGB where its own profile is another one; else, or where that is damaged, as it is."""
    if not isinstance(profile, bytes) or not profile or image.mode not in _PROFILED:
        return image
    to_srgb = _transform(profile, image.mode)
    if to_srgb is None:
        return image
    name, transform = to_srgb
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    if converted is None:
        return image
    notes.append(f"colour profile {name} to sRGB")
    return converted


@lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> tuple[str, Any] | None:
    """The profile's name and its way to sRGB; None where that changes nothing or cannot be had."""
    from PIL import Image as pillow
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = printable(ImageCms.getProfileDescription(own).strip())[:40] or "without a name"
        transform = ImageCms.buildTransform(own, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return name, transform
        steps = np.linspace(0, 255, _SHADES).round().astype(np.uint8)
        if mode == "L":
            cube = pillow.fromarray(steps[None])
        else:
            grid = np.meshgrid(steps, steps, steps)
            cube = pillow.fromarray(np.stack([axis.reshape(1, -1) for axis in grid], axis=-1))
        moved = ImageCms.applyTransform(cube, transform)
        if moved is None:
            return None
        before, after = np.asarray(cube.convert("RGB")).astype(int), np.asarray(moved).astype(int)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return (name, transform) if np.abs(before - after).max() > _SAME_LEVELS else None
