"""Read a CSV, TSV or Parquet file with a row for each image: path, label, optional split and group."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.data.folders.layout import Note
from headstart.data.folders.table_paths import Resolver, looks_like_path
from headstart.errors import ConfigError, DataError, StoreError, unknown_name
from headstart.runtime.show import shown

_MOST_BYTES = 1_000_000_000  # ten million rows and more
TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
_PATH_WORDS = (
    *("file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "images"),
    *("image_id", "id", "photo", "picture", "name"),
)
_LABEL_WORDS = (
    *("class", "class_name", "classname", "category", "target", "labels", "y", "text", "species", "breed"),
)
_FLAGS = {"is_valid": "val", "is_val": "val", "is_test": "test"}  # columns of true and false
_TRUE, _FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "")
_MISSING_WORDS = ("nan", "null", "n/a", "none", "na", "?", "unknown")
_SEVERAL = re.compile(r"[\s,;|/+&]+")
_LISTED = re.compile(r"\s*[;|]\s*")  # one of them alone in another row says that these are several labels
_IN_BRACKETS = re.compile(r"[\[{](.*)[\]}]")  # as programs print a list of labels
_MANY_LABELS = 20  # labels from which they are compared with the number of rows
_READ_AS_ROWS = 0.5  # labels for each row, from which they are no classes


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image of a table.

    path: where the file is. name: the path as the table has it, with the row's number where it is
    repeated."""

    path: Path
    name: str
    label: str
    split: str | None
    group: str | None


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a table, and what is to be said of them."""

    rows: tuple[Row, ...]
    notes: tuple[Note, ...]


@dataclass(kw_only=True)
class _Cells:
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


def read_table(table: Path, *, group_column: str | None = None) -> Table:
    """Read the rows of a table; relative paths start at the table's own folder.

    Semicolons and tabs between cells, UTF-16 and Windows-1252, one column a class with a single 1 in each
    row, columns is_valid and is_test, and paths written for another machine are understood and noted.
    Raises: ConfigError for a group column that is not there; DataError for a table that cannot be read, lacks
    a column, has a row without path or label, or labels that are no classes."""
    cells = _read(table)
    if not cells.rows:
        raise DataError(f"{table} has no rows below its header; add a line path,label for each image")
    path_place = _path_column(cells)
    labels = _labels(cells, path_place)
    if group_column is not None and group_column not in cells.columns:
        raise unknown_name(f"column for --group-column in {table.name}", group_column, cells.columns)
    groups = None if group_column is None else cells.column(cells.columns.index(group_column))
    splits = _splits(cells)
    paths = cells.column(path_place)
    _require_filled(cells, paths, labels, splits)
    _check_labels(cells, labels)
    resolver = Resolver(table)
    resolved = resolver.resolve(paths)
    for code, message in resolver.notes():
        cells.note(code, message, warning=True)
    rows = []
    seen: Counter[str] = Counter()
    for place, (path, label) in enumerate(zip(paths, labels, strict=True)):
        seen[path] += 1
        name = path if seen[path] == 1 else f"{path} (row {place + 1})"
        split = splits[place] if splits else None
        group = (groups[place] or None) if groups else None
        rows.append(Row(path=resolved[place], name=name, label=label, split=split or None, group=group))
    _note_conflicts(cells, paths, labels)
    return Table(rows=tuple(rows), notes=tuple(cells.notes))


def _read(table: Path) -> _Cells:
    if table.suffix.lower() == ".parquet":
        return _read_parquet(table)
    try:
        content = store.read_bytes(table, _MOST_BYTES, "split the table")
    except StoreError as error:
        raise DataError(f"{table} cannot be read as a table ({error})") from error
    notes: list[Note] = []
    text = _decoded(content, notes)
    if "\n" not in text:  # old Macs end lines so
        text = text.replace("\r", "\n")
    while text.startswith("#"):  # a comment above the header
        text = text.partition("\n")[2]
    first = text.lstrip("\r\n").split("\n", 1)[0]
    separator = _separator(table, first)
    try:
        lines = [
            row
            for row in csv.reader(io.StringIO(text), delimiter=separator, strict=True)
            if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise DataError(f"{table} cannot be read as a table ({error})") from error
    if not lines:
        raise DataError(f"{table} cannot be read as a table (it is empty); its first line is path,label")
    columns = [cell.strip() for cell in lines[0]]
    rows = []
    for number, line in enumerate(lines[1:], start=1):
        if len(line) > len(columns) and any(cell.strip() for cell in line[len(columns) :]):
            raise DataError(
                f"{table}: row {number} has {len(line)} cells, the header {len(columns)}; put quotes "
                "around cells "
                f"with a {separator!r} in them"
            )
        padded = line[: len(columns)] + [""] * (len(columns) - len(line))
        rows.append([cell.strip() for cell in padded])
    if separator != ("\t" if table.suffix.lower() == ".tsv" else ","):
        name = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}[separator]
        notes.append(
            Note(
                severity="note",
                code="separator",
                message=f"the cells of {table.name} are separated by {name}",
            )
        )
    return _Cells(file=table, columns=columns, rows=rows, notes=notes)


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
    return next((mark for mark in (";", "\t", "|", ",") if mark in header), usual)


def _read_parquet(table: Path) -> _Cells:
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
    rows = [
        ["" if value is None or value is pd.NA or value != value else str(value).strip() for value in row]
        for row in frame.itertuples(index=False, name=None)
    ]
    return _Cells(file=table, columns=[str(column) for column in frame.columns], rows=rows, notes=[])


def _path_column(cells: _Cells) -> int:
    place = cells.named("path")
    if place is not None:
        return place
    table, columns = cells.file, ", ".join(map(shown, cells.columns))
    if any(looks_like_path(cell) for cell in cells.columns):
        raise DataError(f"{table} has no header: its first line is {columns}; put a line path,label above it")
    guess = cells.named(*_PATH_WORDS)
    if guess is None:
        guess = next((i for i in range(len(cells.columns)) if _are_paths(cells.column(i))), None)
    raise DataError(f"{table} has no column 'path', only {columns}; {_mended_header(cells, guess)}")


def _are_paths(values: Sequence[str]) -> bool:
    return sum(map(looks_like_path, values)) > 0.9 * len(values)


def _mended_header(cells: _Cells, path_place: int | None) -> str:
    """The header's first line as it should be, where that can be told."""
    label_place = cells.named("label")
    if label_place is None:
        label_place = cells.named(*_LABEL_WORDS)
    if label_place is None and len(cells.columns) == 2 and path_place is not None:
        label_place = 1 - path_place
    if path_place is None:
        return "a table of images has the columns path and label"
    mended = list(cells.columns)
    mended[path_place] = "path"
    if label_place is not None:
        mended[label_place] = "label"
    text = f"make its first line {','.join(map(shown, mended))}"
    values = cells.column(path_place)
    if values and not any(looks_like_path(value) for value in values):
        suffix = Resolver(cells.file).suffix_of(values[0])
        hint = f": did you mean {suffix}?" if suffix else ""
        text += f" (its values, such as {shown(values[0])}, lack a suffix{hint})"
    return text


def _labels(cells: _Cells, path_place: int) -> list[str]:
    place = cells.named("label")
    if place is not None:
        return cells.column(place)
    table, columns = cells.file, ", ".join(map(shown, cells.columns))
    one_hot = [i for i in range(len(cells.columns)) if i != path_place and _is_flag(cells.column(i))]
    one_hot = [i for i in one_hot if cells.columns[i].strip().lower() not in (*_FLAGS, "split")]
    if len(one_hot) >= 2:
        marks = [[i for i in one_hot if row[i].lower() in _TRUE] for row in cells.rows]
        wrong = next((n for n, mark in enumerate(marks) if len(mark) != 1), None)
        if wrong is not None:
            raise DataError(
                f"{table} has a column for each of {len(one_hot)} classes, and row {wrong + 1} has "
                f"{len(marks[wrong])} of them set; one label an image: add a column label, or leave that "
                "row out"
            )
        names = ", ".join(shown(cells.columns[i]) for i in one_hot[:6])
        cells.note("one-hot", f"one column a class ({names}): the column with a 1 is read as the label")
        return [cells.columns[mark[0]] for mark in marks]
    raise DataError(f"{table} has no column 'label', only {columns}; {_mended_header(cells, path_place)}")


def _is_flag(values: Sequence[str]) -> bool:
    return all(value.lower() in _TRUE + _FALSE for value in values) and any(
        v.lower() in _TRUE for v in values
    )


def _splits(cells: _Cells) -> list[str] | None:
    place = cells.named("split")
    splits: list[str] | None = None
    if place is not None:
        splits = cells.column(place)
    else:
        flag = cells.named(*_FLAGS)
        if flag is not None and _is_flag(cells.column(flag)):
            name = cells.columns[flag].strip().lower()
            splits = [_FLAGS[name] if value.lower() in _TRUE else "train" for value in cells.column(flag)]
            cells.note(
                "flag", f"column {shown(cells.columns[flag])} is read as the split: true is {_FLAGS[name]}"
            )
    return splits


def _require_filled(
    cells: _Cells, paths: Sequence[str], labels: Sequence[str], splits: Sequence[str] | None
) -> None:
    without = [place for place, label in enumerate(labels) if not label]
    for place, path in enumerate(paths):
        if not path:
            raise DataError(f"{cells.file}: row {place + 1} has no path; fill it or remove the row")
    if not without:
        return
    where = f"row {without[0] + 1} has no label"
    if len(without) > 1:
        where = f"{len(without):,} rows have no label, the first is row {without[0] + 1}"
        if splits and len({splits[place] for place in without}) == 1:
            where += f", all of split {splits[without[0]]}"
    raise DataError(f"{cells.file}: {where}; fill it or remove the row")


def _check_labels(cells: _Cells, labels: Sequence[str]) -> None:
    counts = Counter(labels)
    if len(counts) >= _MANY_LABELS and len(counts) > _READ_AS_ROWS * len(labels):
        numbers = all(_is_number(label) for label in counts)
        examples = ", ".join(shown(label) for label in list(counts)[:3])
        what = "look like amounts, not classes" if numbers else "are nearly as many as the images"
        raise DataError(
            f"{cells.file}: the labels ({examples}, ...) {what}: {len(counts):,} different ones on "
            f"{len(labels):,} "
            "images; put a class's name into the column label, the same for all images of the class"
        )
    several = [label for label in counts if _is_several(label, counts)]
    if several:
        images = sum(counts[label] for label in several)
        raise DataError(
            f"{cells.file}: labels such as {shown(several[0])!r} look like several ({images:,} images); "
            "one label "
            "an image: keep one of them, or write them as one word"
        )
    same: dict[float, list[str]] = {}
    for label in counts:
        if _is_number(label):
            same.setdefault(float(label), []).append(label)
    for spellings in same.values():
        if len(spellings) > 1:
            names = ", ".join(f"{shown(name)} ({counts[name]:,})" for name in spellings)
            cells.note(
                "number-names",
                f"labels {names} are one number and are read as different classes",
                "write them alike where they are one class",
                warning=True,
            )
    for word in counts:
        if word.lower() in _MISSING_WORDS and word.lower() not in ("na", "none", "unknown"):
            cells.note(
                "missing-word",
                f"{counts[word]:,} images have the label {shown(word)!r}, which is read as a class",
                "fill the label or remove the rows where it means that there is none",
                warning=True,
            )


def _is_several(label: str, counts: Counter[str]) -> bool:
    if (bracketed := _IN_BRACKETS.fullmatch(label)) and "," in bracketed[1]:
        return True
    listed = [part for part in _LISTED.split(label) if part]
    if len(listed) > 1 and any(part in counts for part in listed):
        return True
    parts = [part for part in _SEVERAL.split(label) if part]
    return len(parts) > 1 and all(part in counts and part != label for part in parts)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+", text) is not None


def _note_conflicts(cells: _Cells, paths: Sequence[str], labels: Sequence[str]) -> None:
    given: dict[str, set[str]] = {}
    for path, label in zip(paths, labels, strict=True):
        given.setdefault(path, set()).add(label)
    twice = {path: names for path, names in given.items() if len(names) > 1}
    if twice:
        path, names = next(iter(twice.items()))
        cells.notes.append(
            Note(
                severity="error",
                code="two-labels",
                message=f"{len(twice):,} images stand in the table with different labels, e.g. "
                f"{shown(path)}: "
                f"{', '.join(map(shown, sorted(names)))}",
                advice="decide on one label for each",
            )
        )
    unused = [c for c in cells.columns if c.strip().lower() in _FLAGS and cells.named("split") is not None]
    if unused:
        cells.note("unused-column", f"column {shown(unused[0])} is not used, as there is a column split")
