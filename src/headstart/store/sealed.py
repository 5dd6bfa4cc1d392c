"""JSON objects that carry their own SHA-256, for files that no manifest names.

The digest is of the value, not of the bytes: a file that is only written in another layout is as it was.
Files that were written before have none and are read as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headstart.store.durable import write_bytes
from headstart.store.files import json_bytes

SEAL = "content_sha256"


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its digest as the last entry."""
    content = {name: each for name, each in value.items() if name != SEAL}
    return content | {SEAL: _digest(content)}


def unsealed(value: dict[str, Any]) -> dict[str, Any]:
    """The object without its digest. Raises: ValueError where it is not the one that was written."""
    if SEAL not in value:
        return value
    content = {name: each for name, each in value.items() if name != SEAL}
    if value[SEAL] != _digest(content):
        raise ValueError("its SHA-256 is not that of what was written")
    return content


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Writes an object with its digest as readable JSON, whole or not at all. Raises: StoreError."""
    write_bytes(path, json_bytes(sealed(value)))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json_bytes(content)).hexdigest()
