"""Names of files and classes as text that can be shown: they are data, whatever letters they hold."""

from __future__ import annotations

import re
import unicodedata

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\x1b"}
_DIRECTIONS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # turn the reading of a line around


def printable(name: str) -> str:
    r"""Text for JSON, CSV and messages: bytes that are no text become \xe9 and the like, so that two names
    stay two."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(name: str) -> str:
    r"""Text for one line of a terminal: control characters as escapes such as \n and \x1b."""
    text = printable(name)
    return "".join(_escaped(letter) if _controls(letter) else letter for letter in text)


def without_markup(text: str) -> str:
    """Text for Markdown: its marks and those of HTML stand as text."""
    text = re.sub(r"([\\*_`\[\]~$])", r"\\\1", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def without_controls(text: str) -> str:
    """Text of several lines for a terminal: control characters but line breaks as escapes."""
    return "\n".join(map(shown, text.split("\n")))


def _controls(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp") or letter in _DIRECTIONS


def _escaped(letter: str) -> str:
    code = ord(letter)
    return _ESCAPES.get(letter, f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
