"""Names in any script: fonts that have their letters, else escapes instead of boxes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

from headstart.runtime.progress import say_once

_OWN = "DejaVu Sans"
# It tells on standard error that a family lacks a weight, for every family that is tried.
logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


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


def legible(text: str) -> str:
    """The text for a picture or for paper: letters that no installed font has are escapes, as is said once.

    A page and an SVG keep every letter: their readers have fonts of their own."""
    rare = "".join(sorted({letter for letter in text if letter.isprintable() and not _has(_OWN, letter)}))
    if not rare:
        return text
    families = families_for([rare])
    escapes = {letter: drawable(letter, families) for letter in rare}
    if lacking := [letter for letter, shown in escapes.items() if shown != letter]:
        say_once(
            f"no installed font has {len(lacking)} of the letters in images and PDF files, such as "
            f"{_escape(lacking[0])}: they are shown as codes; install one, such as fonts-noto-cjk on Debian"
        )
    return text.translate({ord(letter): shown for letter, shown in escapes.items()})


def give_families(figure: Figure, *, picture: bool = False) -> None:
    """Lets each text of a figure whose letters the figures' own font lacks be drawn by installed fonts.

    picture: the figure becomes pixels; letters that no font has are spelled out."""
    for text in figure.findobj(Text):
        words = text.get_text()
        if picture and words != (spelled := legible(words)):
            text.set_text(words := spelled)
        if not words.isascii() and len(families := families_for([words])) > 1:
            text.set_fontfamily(families)


@contextmanager
def missing_letters_pass() -> Iterator[None]:
    """Without matplotlib's warning of a letter that no font has: whoever shows the text has other fonts."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
        yield


def _escape(letter: str) -> str:
    return letter.encode("ascii", "backslashreplace").decode()


@cache
def _font(family: str) -> FT2Font | None:
    try:
        return font_manager.get_font(font_manager.findfont(family, fallback_to_default=False))
    except (ValueError, RuntimeError, OSError):
        return None


@cache
def _has(family: str, letter: str) -> bool:
    font = _font(family)
    return font is not None and font.get_char_index(ord(letter)) != 0
