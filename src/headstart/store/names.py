"""Names that become paths: checked where they come in, so that nothing is written outside its folder."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from headstart.errors import StoreError

_KEY = re.compile("[0-9a-f]{64}")
_LONGEST_CHARACTERS, _LONGEST_BYTES = 100, 200
NAME_RULE = (
    "1 to 100 printable characters without / and \\, no dot or space first or last: it becomes part of file "
    "names"
)
# Line ends, tabs; spaces and joiners of people's scripts.
_HARMLESS = "\n\t\u00a0\u202f\u2009\u200b\u200d\ufe0f"
TEXT_RULE = "text without control characters"


def is_key(text: object) -> bool:
    """Whether this can be a trial's key: 64 hexadecimal digits."""
    return isinstance(text, str) and _KEY.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """Whether a name may become part of a file's name (NAME_RULE)."""
    return (
        0 < len(text) <= _LONGEST_CHARACTERS
        and text.isprintable()
        and len(text.encode()) <= _LONGEST_BYTES
        and not set(text) & {"/", "\\"}
        and text[0] not in ". "
        and text[-1] not in ". "
    )


def is_text(text: str) -> bool:
    """Whether a text has no control characters: nothing that moves a cursor, ends a file's text or cannot
    stand in XML. Line ends and tabs are text."""
    return all(character.isprintable() or character in _HARMLESS for character in text)


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"a name must be {NAME_RULE}")
    return text


def _text(text: str) -> str:
    if not is_text(text):
        raise ValueError(f"expected {TEXT_RULE}")
    return text


Name = Annotated[str, AfterValidator(_name)]
Text = Annotated[str, StringConstraints(max_length=20_000), AfterValidator(_text)]


def inside(folder: Path, name: str | PurePath) -> Path:
    """The path of a file below a folder, where no link on the way leads out of it.

    Raises: StoreError for an absolute name, one with "..", or where a part of it is a symbolic link."""
    parts = PurePath(name).parts
    if PurePath(name).is_absolute() or ".." in parts or not parts:
        raise StoreError(f"{str(name)!r} lies outside {folder}; nothing is read or written there")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise StoreError(
                f"{path} is a symbolic link, and links inside {folder} are not followed; put the file itself "
                "there"
            )
    return path
