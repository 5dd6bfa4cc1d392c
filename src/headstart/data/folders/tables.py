"""Read a CSV, TSV or Parquet file with a row for each image: path, label, optional split and group."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart.data.folders.cells import Cells, read_cells
from headstart.data.folders.layout import SPLIT_NAMES, Note
from headstart.data.folders.table_paths import Resolver, looks_like_path
from headstart.errors import DataError, unknown_name
from headstart.runtime.show import shown

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
_MISSING_WORDS = ("nan", "null", "n/a", "#n/a", "<na>", "nil", "?", "-", "--")
_SEVERAL = re.compile(r"[\s,;|/+&]+")
_LISTED = re.compile(r"\s*[;|]\s*")  # one of them alone in another row says that these are several labels
_IN_BRACKETS = re.compile(r"[\[{](.*)[\]}]")  # as programs print a list of labels
_LIST_OF_ONE = re.compile(r"""\[\s*(?P<quote>["'])(?P<label>[^"']+)(?P=quote)\s*\]""")
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


def read_table(table: Path, *, group_column: str | None = None) -> Table:
    """Read the rows of a table; relative paths start at the table's own folder.

    Semicolons and tabs between cells, UTF-16 and Windows-1252, one column a class with a single 1 in each
    row, columns is_valid and is_test, and paths written for another machine are understood and noted.
    Raises: ConfigError for a group column that is not there; DataError for a table that cannot be read, lacks
    a column, has a row without path or label, or labels that are no classes."""
    cells = read_cells(table)
    if not cells.rows:
        raise DataError(f"{table} has no rows below its header; add a line path,label for each image")
    path_place = _path_column(cells)
    labels = _labels(cells, path_place)
    if group_column is not None and group_column not in cells.columns:
        raise unknown_name(f"column for --group-column in {table.name}", group_column, cells.columns)
    groups = None if group_column is None else cells.column(cells.columns.index(group_column))
    splits = _splits(cells)
    paths = cells.column(path_place)
    labels = _without_brackets(cells, labels)
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


def _path_column(cells: Cells) -> int:
    place = cells.named("path")
    if place is not None:
        return place
    table, columns = cells.file, ", ".join(map(shown, cells.columns))
    if any(looks_like_path(cell) for cell in cells.columns):
        header = ",".join(_names_for(cells.columns))
        raise DataError(f"{table} has no header: its first line is {columns}; put a line {header} above it")
    guess = cells.named(*_PATH_WORDS)
    if guess is None:
        guess = next((i for i in range(len(cells.columns)) if _are_paths(cells.column(i))), None)
    raise DataError(f"{table} has no column 'path', only {columns}; {_mended_header(cells, guess)}")


def _names_for(first_row: Sequence[str]) -> list[str]:
    """What the columns of a table without a header are to be called, by its first row."""
    if len(first_row) == 2:
        return ["path" if looks_like_path(cell) else "label" for cell in first_row]
    return ["path", "label"]


def _are_paths(values: Sequence[str]) -> bool:
    return sum(map(looks_like_path, values)) > 0.9 * len(values)


def _mended_header(cells: Cells, path_place: int | None) -> str:
    """The header's first line as it should be, where that can be told."""
    label_place = cells.named("label")
    if label_place is None:
        label_place = cells.named(*_LABEL_WORDS)
    if label_place is None and len(cells.columns) == 2 and path_place is not None:
        label_place = 1 - path_place
    if path_place is None:
        also = ", separated by commas" if len(cells.columns) == 1 else ""
        return f"a table of images has the columns path and label{also}"
    mended = list(cells.columns)
    mended[path_place] = "path"
    if label_place is not None:
        mended[label_place] = "label"
    if mended == cells.columns:
        return "add a column label with the class of each image"
    text = f"make its first line {','.join(map(shown, mended))}"
    values = cells.column(path_place)
    if values and not any(looks_like_path(value) for value in values):
        suffix = Resolver(cells.file).suffix_of(values[0])
        hint = f": did you mean {suffix}?" if suffix else ""
        text += f" (its values, such as {shown(values[0])}, lack a suffix{hint})"
    return text


def _labels(cells: Cells, path_place: int) -> list[str]:
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


def _without_brackets(cells: Cells, labels: list[str]) -> list[str]:
    """The labels; where each is a list of one, as a program prints it (['cat']), what the list holds."""
    inner = [_LIST_OF_ONE.fullmatch(label) for label in labels]
    if not labels or not all(inner):
        return labels
    cells.note(
        "brackets", f"labels are lists of one, such as {shown(labels[0])}: what they hold is the label"
    )
    return [match["label"] for match in inner if match]


def _is_flag(values: Sequence[str]) -> bool:
    return all(value.lower() in _TRUE + _FALSE for value in values) and any(
        v.lower() in _TRUE for v in values
    )


def _splits(cells: Cells) -> list[str] | None:
    place = cells.named("split")
    if place is not None:
        return cells.column(place)
    flag = cells.named(*_FLAGS)
    if flag is not None and _is_flag(cells.column(flag)):
        name = cells.columns[flag].strip().lower()
        cells.note(
            "flag", f"column {shown(cells.columns[flag])} is read as the split: true is {_FLAGS[name]}"
        )
        return [_FLAGS[name] if value.lower() in _TRUE else "train" for value in cells.column(flag)]
    place = next((i for i in range(len(cells.columns)) if _names_splits(cells, i)), None)
    if place is None:
        return None
    cells.note(
        "split-column", f"column {shown(cells.columns[place])} is read as the split: it holds nothing else"
    )
    return cells.column(place)


def _names_splits(cells: Cells, place: int) -> bool:
    """Whether a column, whatever it is called, holds train beside val or test, and nothing else."""
    values = {value.lower() for value in cells.column(place)}
    splits = {SPLIT_NAMES.get(value) for value in values}
    is_label = cells.columns[place].strip().lower() in ("path", "label")
    return not is_label and None not in splits and "train" in splits and len(splits) >= 2


def _require_filled(
    cells: Cells, paths: Sequence[str], labels: Sequence[str], splits: Sequence[str] | None
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


def _check_labels(cells: Cells, labels: Sequence[str]) -> None:
    counts = Counter(labels)
    if len(counts) >= _MANY_LABELS and len(counts) > _READ_AS_ROWS * len(labels):
        numbers = all(_is_number(label.replace(",", ".")) for label in counts)
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
        if word.lower() in _MISSING_WORDS:
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


def _note_conflicts(cells: Cells, paths: Sequence[str], labels: Sequence[str]) -> None:
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
