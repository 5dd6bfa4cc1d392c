"""Values as files: JSON and arrays, written whole or not at all; and the digest that names a value."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.store.durable import write_bytes
from headstart.types import LabelBudget, Recipe

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet takes a cell that begins so for a formula


def as_stored(value: Any) -> Any:
    """A value of these types as dicts, lists, texts and numbers, under the names that JSON files use."""
    if isinstance(value, LabelBudget):
        return value.per_class
    if isinstance(value, Recipe):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        stored = {}
        for each in dataclasses.fields(value):
            part = getattr(value, each.name)
            if each.name == "gap_at" and part is not None:
                part = part.toml  # null says that there is none
            stored[_STORED_NAMES.get(each.name, each.name)] = as_stored(part)
        return stored
    if isinstance(value, Mapping):
        return {name: as_stored(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_stored(part) for part in value]
    return value


_STORED_NAMES = {"label_budget": "labels_per_class", "label_budgets": "labels_per_class"}


def digest(value: Any) -> str:
    """SHA-256 (hex) of a JSON-serialisable value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return as_stored(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def json_bytes(value: Any) -> bytes:
    """A value as readable JSON, UTF-8."""
    return (json.dumps(value, indent=1, ensure_ascii=False, default=_plain, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: Any) -> None:
    """Writes a value as readable JSON, whole or not at all."""
    write_bytes(path, json_bytes(value))


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Writes one JSON object a line, whole or not at all."""
    text = "".join(json.dumps(row, default=_plain, allow_nan=False) + "\n" for row in rows)
    write_bytes(path, text.encode())


def as_cell(text: str) -> str:
    """A text as a cell of a CSV file: one that a spreadsheet would run as a formula has ' before it, which a
    spreadsheet does not show."""
    return f"'{text}" if text[:1] in _FORMULA else text


def of_cell(text: str) -> str:
    """The text that `as_cell` made a cell of."""
    return text[1:] if text[:1] == "'" and text[1:2] in _FORMULA else text


def csv_line(cells: Iterable[Any]) -> str:
    """Cells as a line of a CSV file. A lone carriage return, which Python's reader takes for a line's end, is
    quoted, as its writer does only where it quotes all."""
    row, text = list(cells), io.StringIO()
    has_return = any(isinstance(cell, str) and "\r" in cell for cell in row)
    csv.writer(
        text, lineterminator="\n", quoting=csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    ).writerow(row)
    return text.getvalue()


def csv_bytes(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Rows as CSV, UTF-8, one below the names of the columns; texts as `as_cell`, None, NaN and what a row
    lacks as empty cells."""
    lines = [csv_line(map(as_cell, columns))]
    lines += [csv_line(_cell(row.get(column)) for column in columns) for row in rows]
    return "".join(lines).encode()


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return as_cell(value)
    return None if isinstance(value, float) and math.isnan(value) else value


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes plain arrays as one compressed .npz file, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # mypy takes a name for `allow_pickle`
    write_bytes(path, buffer.getvalue())
