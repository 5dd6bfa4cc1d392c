"""Which pictures there are, and their labels: from a folder of classes, from train/val/test folders of such,
or from a table."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.data.folders.tables import TABLE_SUFFIXES, read_table
from headstart.errors import ConfigError, DataError

Split = Literal["train", "val", "test"]
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".gif",
    ".webp",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".hif",
    ".avif",
    ".jp2",
    ".j2k",
    ".ppm",
    ".pgm",
    ".pnm",
    ".mpo",
)
_JUNK = {
    "thumbs.db",
    "desktop.ini",
    "__macosx",
    "@eadir",
    "ehthumbs.db",
    "$recycle.bin",
    "system volume information",
}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One picture to read. name: its path below the folder (or as the table has it), unique, printable.

    split: where the picture's place says so, else None. group: what the user says belongs together, else
    None."""

    path: Path
    name: str
    label: str
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class MixedNames:
    """Class names that look like one: spellings -> pictures. merged: read as one class (same letters in other
    Unicode forms or with spaces around); else kept apart and only reported (upper and lower case, space for
    underscore)."""

    spellings: tuple[tuple[str, int], ...]
    merged: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """The pictures of a folder or table, sorted by name, and what was left out on the way.

    ignored: reason in words -> files. class_names: sorted; classes without a picture included.
    """

    root: Path
    form: Literal["folder", "split folders", "table"]
    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    ignored: dict[str, int]
    mixed_names: tuple[MixedNames, ...]

    @property
    def has_splits(self) -> bool:
        return any(entry.split for entry in self.entries)


def find_entries(path: Path, *, group_column: str | None = None, group_regex: str | None = None) -> Source:
    """The pictures below a folder or in a CSV, TSV or Parquet table with columns path and label (optional:
    split).

    group_column: a table's column, group_regex: searched for in each name; its group "group", else its first
    group, else the whole match says what a picture belongs to. Hidden and junk files are left out and
    counted, links that lead back into themselves are left alone.
    Raises: ConfigError for a path, column or expression that makes no sense; DataError where there are fewer
    than two classes or no pictures.
    """
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        rows = read_table(path, group_column=group_column)
        found = [
            Entry(
                path=row.path,
                name=row.name,
                label=row.label,
                split=_split_of(row.split, path),
                group=row.group,
            )
            for row in rows
        ]
        form: Literal["folder", "split folders", "table"] = "table"
        labels, ignored = [entry.label for entry in found], Counter[str]()
        if any(entry.split for entry in found) and not all(entry.split for entry in found):
            missing = next(entry.name for entry in found if not entry.split)
            raise DataError(
                f"{path}: {missing} has no split while others have; fill the column split for all, or drop it"
            )
    elif path.is_dir():
        if group_column:
            raise ConfigError(
                f"--group-column {group_column} needs a table; for the folder {path} use --group-regex"
            )
        form, found, labels, ignored = _walk_root(path)
    else:
        raise ConfigError(
            f"{path} is neither a folder nor a CSV or Parquet table; give a folder with one sub-folder a "
            "class, "
            "or a table with columns path and label"
        )
    found, mixed = _name_classes(found)
    if group_regex:
        found = _grouped(found, group_regex)
    names = tuple(sorted({canonical(label) for label in labels}))
    if len(names) < 2:
        hint = _inner_hint(path) if form == "folder" else ""
        what = "labels" if form == "table" else "sub-folders"
        raise DataError(
            f"{path} has {len(names)} {what}; a dataset needs one for each class, two at least{hint}"
        )
    if not found:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in ignored.items()) or "no file at all"
        raise DataError(
            f"{path} holds no pictures ({left_out}); put PNG, JPEG, WebP, HEIC, ... files into the class "
            "folders"
        )
    return Source(
        root=path,
        form=form,
        entries=tuple(sorted(found, key=lambda entry: entry.name)),
        class_names=names,
        ignored=dict(ignored),
        mixed_names=mixed,
    )


def canonical(name: str) -> str:
    """A class name in Unicode's composed form, without spaces around and with single ones inside."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def printable(name: str) -> str:
    """A path as text that any terminal and JSON can show: undecodable bytes become replacement characters."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _walk_root(root: Path) -> tuple[Literal["folder", "split folders"], list[Entry], list[str], Counter[str]]:
    ignored: Counter[str] = Counter()
    homes = _sub_folders(root, ignored)
    kinds = {SPLIT_NAMES.get(home.name.lower()) for home in homes}
    split_form = len(homes) >= 2 and None not in kinds and "train" in kinds
    if split_form and len(kinds) < len(homes):
        raise DataError(
            f"{root} has two folders for the same split among {', '.join(h.name for h in homes)}; join them"
        )
    found: list[Entry] = []
    labels: list[str] = []
    for home in homes:
        for class_folder in _sub_folders(home, ignored) if split_form else [home]:
            labels.append(printable(class_folder.name))
            split = SPLIT_NAMES[home.name.lower()] if split_form else None
            found += [
                Entry(
                    path=path,
                    name=printable(path.relative_to(root).as_posix()),
                    label=labels[-1],
                    split=split,
                )
                for path in _pictures(class_folder, root, ignored)
            ]
    return ("split folders" if split_form else "folder"), found, labels, ignored


def _sub_folders(folder: Path, ignored: Counter[str]) -> list[Path]:
    """The folders in a folder, sorted; its files are counted as ignored."""
    homes = []
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error.strerror}); change its permissions") from error
    for child in children:
        if _is_junk(child.name):
            ignored["hidden or junk"] += (
                _count_files(child) if child.is_dir() and not child.is_symlink() else 1
            )
        elif child.is_dir():
            homes.append(child)
        else:
            ignored["outside the class folders"] += 1
    return homes


def _pictures(class_folder: Path, root: Path, ignored: Counter[str]) -> list[Path]:
    """The files of one class, however deep; a real folder is entered once, one that contains the root
    never."""
    entered = {_identity(place) for place in (root.resolve(), *root.resolve().parents)}
    found = []
    waiting = [class_folder]
    while waiting:
        folder = waiting.pop()
        try:
            identity = _identity(folder)
            if identity in entered:
                ignored["links back into a folder that is read already"] += 1
                continue
            entered.add(identity)
            children = list(os.scandir(folder))
        except OSError:
            ignored["in folders that cannot be read"] += 1
            continue
        for child in children:
            path = folder / child.name
            if _is_junk(child.name):
                ignored["hidden or junk"] += _count_files(path) if child.is_dir(follow_symlinks=False) else 1
            elif _is_folder(child):
                waiting.append(path)
            elif path.suffix.lower() not in IMAGE_SUFFIXES:
                ignored["not pictures by their names"] += 1
            else:
                found.append(path)
    return found


def _is_folder(child: os.DirEntry[str]) -> bool:
    try:
        return child.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: Path) -> tuple[int, int] | str:
    facts = folder.stat()
    assert stat.S_ISDIR(facts.st_mode)
    return (facts.st_dev, facts.st_ino) if facts.st_ino else str(folder.resolve())


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in _JUNK


def _count_files(folder: Path) -> int:
    return max(1, sum(len(files) for _, _, files in os.walk(folder)))


def _split_of(given: str | None, table: Path) -> Split | None:
    if given is None:
        return None
    split = SPLIT_NAMES.get(given.strip().lower())
    if split is None:
        raise DataError(f"{table}: unknown split {given!r}; use train, val or test")
    return split


def _name_classes(entries: list[Entry]) -> tuple[list[Entry], tuple[MixedNames, ...]]:
    """Entries under their canonical class names, and the names that were or should have been one."""
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
    ignored: Counter[str] = Counter()
    homes = _sub_folders(path, ignored)
    inner = _sub_folders(homes[0], ignored) if len(homes) == 1 else []
    return f"; did you mean {homes[0]}?" if len(inner) >= 2 else ""
