"""List images and their labels: a folder of classes, train/val/test folders of classes, a zip of such, or a
table."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.data.folders.archive import unpacked
from headstart.data.folders.layout import SPLIT_NAMES, Arranged, Layout, Note, Split, arrange
from headstart.data.folders.tables import TABLE_SUFFIXES, read_table
from headstart.data.folders.walk import ARCHIVE_SUFFIXES, IMAGE_SUFFIXES, LeftOut, sub_folders, walk_images
from headstart.errors import ConfigError, DataError
from headstart.runtime.show import printable, shown

Form = Literal["folder", "split folders", "table"]
_FEWEST_CLASSES = 2
_DEEPEST = 12  # folders in one another that are looked into for class folders


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image to read.

    name: its path below the folder (or as the table has it), unique, printable. split: where the folders or
    the table name one, else None. group: what the user says belongs together, else None."""

    path: Path
    name: str
    label: str
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class MixedNames:
    """Class names that look alike, each with its number of images.

    merged: they are read as one class (same letters in other Unicode forms or with spaces around); else they
    are kept apart and only reported (upper and lower case, space for underscore)."""

    spellings: tuple[tuple[str, int], ...]
    merged: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """The images of a folder or table, sorted by name, and what was left out.

    ignored: number of files by reason; left_out: the first names of each. class_names: sorted; classes
    without an image included. notes: what is to be said of the layout or the table. part: names a sample;
    empty: these are all of the images.
    """

    root: Path
    form: Form
    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    ignored: dict[str, int]
    mixed_names: tuple[MixedNames, ...]
    left_out: dict[str, tuple[str, ...]]
    notes: tuple[Note, ...] = ()
    part: str = ""

    @property
    def has_splits(self) -> bool:
        """Whether the folders or the table divide the images into train, val and test."""
        return any(entry.split for entry in self.entries)


@dataclass(frozen=True, kw_only=True)
class _Listing:
    """The files of a folder or table before class names are joined. labels: with those of empty classes."""

    form: Form
    entries: list[Entry]
    labels: list[str]
    left_out: LeftOut
    notes: list[Note]


def find_entries(
    path: Path,
    *,
    group_column: str | None = None,
    group_regex: str | None = None,
    layout: Layout = "auto",
) -> Source:
    """List the images below a folder, in a zip, or in a CSV, TSV or Parquet table (path, label, split).

    group_column: a table's column. group_regex: searched for in each name; its group "group", else its first
    group, else the whole match names what an image belongs to. layout: what a folder's sub-folders are;
    "auto" tells by their structure and names. Hidden and junk files are left out and counted, links that lead
    back into themselves are not followed.
    Raises: ConfigError for a path, column or expression that makes no sense; DataError where there are fewer
    than two classes or no images, or where the layout is a guess.
    """
    if path.is_file() and path.suffix.lower() == ".zip":
        folder = unpacked(path)
        try:
            return find_entries(folder, group_column=group_column, group_regex=group_regex, layout=layout)
        except DataError as error:  # about the archive, not about the place that it was unpacked to
            text = str(error).replace(str(folder), str(path))
            raise DataError(text + (f" (unpack {path} first)" if f"{path}/" in text else "")) from error
    listing = _list_files(path, group_column, layout)
    entries, mixed_names = _name_classes(listing.entries)
    if group_regex:
        entries = _grouped(entries, group_regex)
    class_names = tuple(sorted({canonical(label) for label in listing.labels}))
    if len(class_names) < _FEWEST_CLASSES:
        raise DataError(_too_few_classes(path, listing, class_names) + _table_hint(path))
    if not entries:
        raise DataError(
            f"{path} holds no images ({listing.left_out.words() or 'no file at all'})"
            + (listing.left_out.advice() or "; put PNG, JPEG, WebP, HEIC, ... files into the class folders")
        )
    _require_two_filled(path, listing, class_names)
    notes = listing.notes
    if count := listing.left_out.by_content:
        message = f"{count:,} files without an image's suffix are read as their content says"
        notes = [*notes, Note(severity="note", code="by-content", message=message)]
    return Source(
        root=path,
        form=listing.form,
        entries=tuple(sorted(entries, key=lambda entry: entry.name)),
        class_names=class_names,
        ignored=dict(listing.left_out.counts),
        mixed_names=mixed_names,
        left_out={reason: tuple(names) for reason, names in listing.left_out.names.items()},
        notes=tuple(notes),
    )


def _require_two_filled(path: Path, listing: _Listing, class_names: tuple[str, ...]) -> None:
    filled = sorted({canonical(entry.label) for entry in listing.entries})
    if len(filled) == 1:
        empty = ", ".join(shown(name) for name in class_names if name != filled[0])
        left_out = f" ({words})" if (words := listing.left_out.words()) else ""
        raise DataError(
            f"{path} has images of one class only, {shown(filled[0])} ({len(listing.entries):,}), and none "
            f"of {empty}{left_out}; put images into the folder of a second class{listing.left_out.advice()}"
        )


_OTHER_FILES = (
    dict.fromkeys(IMAGE_SUFFIXES, "is one image")
    | dict.fromkeys(
        (each for each in ARCHIVE_SUFFIXES if each != ".zip"), "is an archive that is not read; unpack it"
    )
    | dict.fromkeys((".txt", ".json", ".jsonl", ".xml", ".yaml"), "is no table that is read; save it as CSV")
    | dict.fromkeys((".xlsx", ".xls", ".ods"), "is a spreadsheet; save it as CSV")
)


def _list_files(path: Path, group_column: str | None, layout: Layout) -> _Listing:
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return _list_table(path, group_column)
    if not path.is_dir():
        what = _OTHER_FILES.get(path.suffix.lower(), "is neither a folder nor a table")
        raise ConfigError(
            f"{path} {what if path.exists() else 'is neither a folder nor a CSV or Parquet table'}; give a "
            "folder with one sub-folder a class, a zip of one, or a table with columns path and "
            f"label{_seen_from(path)}"
        )
    if group_column:
        raise ConfigError(
            f"--group-column {group_column} needs a table; for the folder {path} use --group-regex"
        )
    return _list_folder(path, layout)


def _seen_from(path: Path) -> str:
    if path.is_absolute() or path.exists():
        return ""
    return f" (the path is seen from {Path.cwd()})"


def _list_table(table: Path, group_column: str | None) -> _Listing:
    read = read_table(table, group_column=group_column)
    entries = [
        Entry(
            path=row.path,
            name=row.name,
            label=row.label,
            split=_split_named(row.split, table),
            group=row.group,
        )
        for row in read.rows
    ]
    without_split = [entry.name for entry in entries if not entry.split]
    if 0 < len(without_split) < len(entries):
        raise DataError(
            f"{table}: {without_split[0]} has no split while others have; fill the column split for all, or "
            "drop it"
        )
    labels = [entry.label for entry in entries]
    return _Listing(form="table", entries=entries, labels=labels, left_out=LeftOut(), notes=list(read.notes))


def canonical(name: str) -> str:
    """Bring a class name to Unicode's composed form, without spaces around it and with single ones inside."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _list_folder(root: Path, layout: Layout) -> _Listing:
    left_out = LeftOut()
    arranged: Arranged = arrange(root, left_out, layout)
    entries = [
        Entry(
            path=file.path,
            name=printable(file.path.relative_to(root).as_posix()),
            label=printable(file.label),
            split=file.split,
            group=file.group,
        )
        for file in arranged.files
    ]
    form: Form = "split folders" if arranged.in_splits else "folder"
    labels = [printable(label) for label in arranged.labels]
    return _Listing(form=form, entries=entries, labels=labels, left_out=left_out, notes=arranged.notes)


def _too_few_classes(path: Path, listing: _Listing, class_names: tuple[str, ...]) -> str:
    """What is wrong with a source of fewer than two classes, and what to do."""
    if listing.form == "table":
        only = f", {shown(class_names[0])!r}" if class_names else ""
        return f"{path} has {len(class_names)} labels{only}; a dataset needs one for each class, two at least"
    loose = [p for p in walk_images(path, path, LeftOut()) if p.parent == path]
    if loose and not listing.entries:
        rows = "; ".join(f"{shown(p.name)},{shown(_guessed_class(p.name))}" for p in loose[:2])
        return (
            f"{path} holds {len(loose):,} images and no class folders; sort them into one folder a class, or "
            f"write a table beside them, e.g. labels.csv with the lines path,label; {rows}"
        )
    if class_names and listing.entries and not _inner_hint(path):
        return (
            f"{path} has one class, {shown(class_names[0])} ({len(listing.entries):,} images); a dataset "
            "needs a "
            "second class to tell it from: add a folder of other images"
        )
    left_out = f" ({words})" if not listing.entries and (words := listing.left_out.words()) else ""
    return (
        f"{path} has {len(class_names)} sub-folder{'' if len(class_names) == 1 else 's'}{left_out}; "
        "a dataset needs one for each class, two at least"
        f"{listing.left_out.advice() if left_out else ''}{_inner_hint(path)}"
    )


def _table_hint(path: Path) -> str:
    """Name a table that may hold the labels, in the folder or in its only sub-folder."""
    if not path.is_dir():
        return ""
    inner = sub_folders(path, LeftOut())
    homes = [path, *(inner if len(inner) == 1 else [])]
    tables = sorted(each for home in homes for each in home.iterdir() if each.suffix in TABLE_SUFFIXES)
    return f"; where {shown(str(tables[0]))} holds the labels, give that" if tables else ""


def _guessed_class(name: str) -> str:
    word = re.match(r"[^\W\d_]+", name)
    return word[0] if word else "CLASS"


def _split_named(name: str | None, table: Path) -> Split | None:
    if name is None:
        return None
    split = SPLIT_NAMES.get(name.strip().lower())
    if split is None:
        raise DataError(f"{table}: unknown split {name!r}; use train, val or test")
    return split


def _name_classes(entries: list[Entry]) -> tuple[list[Entry], tuple[MixedNames, ...]]:
    """Bring the entries' labels to canonical class names; list the names that look alike."""
    spellings = Counter(entry.label for entry in entries)
    merged: dict[str, list[str]] = {}
    alike: dict[str, list[str]] = {}
    for name in sorted(spellings):
        merged.setdefault(canonical(name), []).append(name)
    for name in sorted(merged):
        alike.setdefault(re.sub(r"[\s_-]+", " ", unicodedata.normalize("NFKC", name).casefold()), []).append(
            name
        )
    mixed = [
        MixedNames(spellings=tuple((name, spellings[name]) for name in names), merged=True)
        for names in merged.values()
        if len(names) > 1
    ]
    mixed += [
        MixedNames(
            spellings=tuple((name, sum(spellings[n] for n in merged[name])) for name in names), merged=False
        )
        for names in alike.values()
        if len(names) > 1
    ]
    return [replace(entry, label=canonical(entry.label)) for entry in entries], tuple(mixed)


def _grouped(entries: list[Entry], expression: str) -> list[Entry]:
    """Set each entry's group to what the expression matches in its name."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise ConfigError(f"--group-regex {expression!r} is no regular expression ({error})") from error
    grouped = []
    for entry in entries:
        match = pattern.search(entry.name)
        group = entry.group
        if match:
            group = (
                match["group"] if "group" in pattern.groupindex else match[1] if pattern.groups else match[0]
            )
        grouped.append(replace(entry, group=group))
    if not any(entry.group for entry in grouped):
        example = entries[0].name if entries else "no file"
        raise ConfigError(
            f"--group-regex {expression!r} matches none of {len(entries):,} paths, e.g. {example}"
        )
    return grouped


def _inner_hint(path: Path) -> str:
    """Name the folder further down that holds the class folders, or the images that lie loose."""
    here = path
    for _ in range(_DEEPEST):
        inner = sub_folders(here, LeftOut())
        if len(inner) != 1:
            break
        here = inner[0]
        if len(sub_folders(here, LeftOut())) >= _FEWEST_CLASSES:
            return f"; did you mean {here}?"
    return ""
