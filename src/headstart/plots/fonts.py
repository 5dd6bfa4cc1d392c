"""Names in any script: fonts that have their letters, else escapes instead of boxes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

_OWN = "DejaVu Sans"


def families_for(texts: Iterable[str]) -> list[str]:
    """Font families, the figures' own first, that together have the letters of the texts as far as installed
    fonts do."""
    families = [_OWN]
    missing = {letter for text in texts for letter in text if not _has(_OWN, letter)}
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.name):
        if not missing:
            break
        covered = {letter for letter in missing if _has(entry.name, letter)}
        if covered:
            families.append(entry.name)
            missing -= covered
    return families


def drawable(text: str, families: Iterable[str]) -> str:
    r"""The text with letters that none of the families has as escapes: \u65e5."""
    in_use = list(families)
    return "".join(
        letter if letter == " " or any(_has(name, letter) for name in in_use) else _escape(letter)
        for letter in text
    )


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


@cache
def _font(family: str) -> FT2Font | None:
    try:
        return font_manager.get_font(font_manager.findfont(family, fallback_to_default=False))
    except (ValueError, RuntimeError, OSError):
        return None


def _has(family: str, letter: str) -> bool:
    font = _font(family)
    return font is not None and font.get_char_index(ord(letter)) != 0
