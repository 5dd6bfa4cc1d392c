"""TOML files as they come from people: bounded, so that none fills the memory or takes minutes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from headstart.errors import ConfigError, StoreError
from headstart.store.reading import read_bytes

_MOST_BYTES = 1_000_000  # the largest file of ours has 60 KB
_DEEPEST = 32
_LARGEST = 2**63  # TOML's own integers
_STRINGS = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
# Each part of a dotted key is a table. No start inside a word, nothing taken twice: the search is linear.
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_DEEPEST}}}")


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises: ValueError where it is not valid, or nested or long beyond
    reason."""
    if len(text) > _MOST_BYTES:
        raise ValueError(f"{len(text):,} characters, more than {_MOST_BYTES:,}")
    if _LONG_KEY.search(_STRINGS.sub("q", text)):
        raise ValueError(f"a key with more than {_DEEPEST} parts")
    try:
        tables = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    _require_bounded(tables, 0)
    return tables


def _require_bounded(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise ValueError("a whole number beyond 64 bits")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_bounded(part, depth + 1)


def read_toml(path: Path, kind: str) -> tuple[str, dict[str, Any]]:
    """The text and the tables of a TOML file. kind: what it is, for the message. Raises: ConfigError."""
    try:
        text = read_bytes(path, _MOST_BYTES).decode("utf-8")
    except (StoreError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {kind} {path}: {error}") from error
    try:
        return text, parse_toml(text.replace("\r\n", "\n"))
    except ValueError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; mend that line") from error
