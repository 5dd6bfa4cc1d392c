"""The cells of a CSV, TSV or Parquet file as text, however they are separated, quoted and encoded."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart import store
from headstart.data.folders.layout import Note
from headstart.errors import ConfigError, DataError, StoreError

if TYPE_CHECKING:
    import pandas as pd

_MOST_BYTES = 1_000_000_000  # ten million rows and more
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_TOLD = re.compile(r'"?sep=([,;|\t])"?,*', re.IGNORECASE)  # a line above the header, for spreadsheets
_HEADER_WITHIN = 10  # lines below the first that are looked through for the header


@dataclass(kw_only=True)
class Cells:
    """A table's cells as text, stripped; columns by their names as written."""

    file: Path
    columns: list[str]
    rows: list[list[str]]
    notes: list[Note]

    def named(self, *names: str) -> int | None:
        """The place of the first column that is called so, whatever its letter case."""
        lowered = [column.strip().lower() for column in self.columns]
        return next((lowered.index(name) for name in names if name in lowered), None)

    def column(self, place: int) -> list[str]:
        return [row[place] for row in self.rows]

    def note(self, code: str, message: str, advice: str = "", *, warning: bool = False) -> None:
        severity = "warning" if warning else "note"
        self.notes.append(Note(severity=severity, code=code, message=message, advice=advice))  # type: ignore[arg-type]


def read_cells(table: Path) -> Cells:
    """Read a table's header and rows; lines above the header and below it that are empty are passed over.

    Raises: ConfigError where what reads Parquet is not installed; DataError for a file that is no table."""
    cells = _read_parquet(table) if table.suffix.lower() == ".parquet" else _read_text(table)
    for name in ("path", "label", "split"):
        places = [place for place, column in enumerate(cells.columns) if column.strip().lower() == name]
        if any(cells.column(place) != cells.column(places[0]) for place in places[1:]):
            raise DataError(f"{table} has {len(places)} different columns {name}; rename all but one")
    return cells


def _read_text(table: Path) -> Cells:
    try:
        content = store.read_bytes(table, _MOST_BYTES, "split the table")
    except StoreError as error:
        raise DataError(f"{table} cannot be read as a table ({error})") from error
    notes: list[Note] = []
    text = _decoded(content, notes).lstrip("\r\n")
    if "\n" not in text:  # old Macs end lines so
        text = text.replace("\r", "\n")
    while text.startswith("#"):  # a comment above the header
        text = text.partition("\n")[2]
    first, _, rest = text.partition("\n")
    if told := _TOLD.fullmatch(first.strip()):
        text, first = rest, rest.split("\n", 1)[0]
    separator = told[1] if told else _separator(table, first)
    lines = _lines(table, text, separator)
    if not lines:
        raise DataError(f"{table} cannot be read as a table (it is empty); its first line is path,label")
    above = _lines_above_header(lines)
    columns = lines[above]
    rows = []
    for number, line in enumerate(lines[above + 1 :], start=1):
        if any(line[len(columns) :]):
            raise DataError(
                f"{table}: row {number} has {len(line)} cells, the header {len(columns)}; put quotes "
                f"around cells with a {separator!r} in them"
            )
        rows.append(line[: len(columns)] + [""] * (len(columns) - len(line)))
    cells = Cells(file=table, columns=columns, rows=rows, notes=notes)
    if separator != ("\t" if table.suffix.lower() == ".tsv" else ","):
        cells.note("separator", f"the cells of {table.name} are separated by {_SEPARATORS[separator]}")
    if above:
        cells.note("above-header", f"above the line {','.join(columns[:4])} {above} others are passed over")
    return cells


def _lines(table: Path, text: str, separator: str) -> list[list[str]]:
    """The lines that are not empty, as stripped cells."""
    quote = "'" if text.startswith("'") else '"'
    reader = csv.reader(io.StringIO(text), delimiter=separator, quotechar=quote, strict=True)
    try:
        return [[cell.strip() for cell in row] for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{table} cannot be read as a table ({error})") from error


def _lines_above_header(lines: list[list[str]]) -> int:
    """How many lines stand above the first with path and label: titles; 0 where there is none."""
    named = [{cell.lower() for cell in line} for line in lines[: _HEADER_WITHIN + 1]]
    return next((place for place, names in enumerate(named) if {"path", "label"} <= names), 0)


def _decoded(content: bytes, notes: list[Note]) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:200]:
        return content.decode("utf-16-le" if content[1:2] == b"\0" else "utf-16-be", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        text = content.decode("cp1252", "replace")
        at = len(content[: error.start].decode("cp1252", "replace"))
        word = re.search(r"\w+$", text[:at])
        example = re.match(r"\w+", text[at - len(word[0]) if word else at :])
        shown_word = f", e.g. {example[0]!r}" if example else ""
        notes.append(
            Note(
                severity="warning",
                code="encoding",
                message=f"the table is not UTF-8; its letters are read as Windows-1252{shown_word}",
                advice="save it as UTF-8 where these letters are wrong",
            )
        )
        return text


def _separator(table: Path, header: str) -> str:
    usual = "\t" if table.suffix.lower() == ".tsv" else ","
    if usual in header:
        return usual
    return next((mark for mark in _SEPARATORS if mark in header), usual)


def _read_parquet(table: Path) -> Cells:
    import pandas as pd

    try:
        frame = pd.read_parquet(table)
    except ImportError as error:
        raise ConfigError(
            f'{table} is a Parquet table, which needs pyarrow: pip install "headstart[parquet]"'
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{table} cannot be read as a table ({' '.join(str(error).split())[:150]})"
        ) from error
    if any(name is not None for name in frame.index.names):  # set_index("path") before it was written
        frame = frame.reset_index()
    _require_text(table, frame)
    rows = [[_text(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return Cells(file=table, columns=[str(column) for column in frame.columns], rows=rows, notes=[])


def _text(value: object) -> str:
    import pandas as pd

    if isinstance(value, np.ndarray):  # a list of labels
        return str(value.tolist())
    return "" if value is None or value is pd.NA or value != value else str(value).strip()


def _require_text(table: Path, frame: pd.DataFrame) -> None:
    """Raises: DataError where a column holds images themselves, as bytes or as a record with bytes."""
    for column in frame.columns:
        value = next(iter(frame[column].dropna()), None)
        if isinstance(value, dict):
            value = value.get("bytes")
        if isinstance(value, bytes):
            raise DataError(
                f"{table}: column {column} holds the images themselves, not their paths; write each into a "
                "file, and the files' paths into a column path"
            )
