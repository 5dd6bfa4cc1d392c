"""List images and their labels: a folder of classes, train/val/test folders of classes, or a table."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from headstart.data.folders.show import printable
from headstart.data.folders.tables import TABLE_SUFFIXES, read_table
from headstart.errors import ConfigError, DataError

Split = Literal["train", "val", "test"]
Form = Literal["folder", "split folders", "table"]
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

    ignored: number of files by reason. class_names: sorted; classes without an image included.
    """

    root: Path
    form: Form
    entries: tuple[Entry, ...]
    class_names: tuple[str, ...]
    ignored: dict[str, int]
    mixed_names: tuple[MixedNames, ...]

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
    ignored: Counter[str]


def find_entries(path: Path, *, group_column: str | None = None, group_regex: str | None = None) -> Source:
    """List the images below a folder or in a CSV, TSV or Parquet table (path, label, optional split).

    group_column: a table's column. group_regex: searched for in each name; its group "group", else its first
    group, else the whole match names what an image belongs to. Hidden and junk files are left out and
    counted, links that lead back into themselves are not followed.
    Raises: ConfigError for a path, column or expression that makes no sense; DataError where there are fewer
    than two classes or no images.
    """
    listing = _list_files(path, group_column)
    entries, mixed_names = _name_classes(listing.entries)
    if group_regex:
        entries = _grouped(entries, group_regex)
    class_names = tuple(sorted({canonical(label) for label in listing.labels}))
    if len(class_names) < 2:
        hint = _inner_hint(path) if listing.form == "folder" else ""
        what = "labels" if listing.form == "table" else "sub-folders"
        raise DataError(
            f"{path} has {len(class_names)} {what}; a dataset needs one for each class, two at least{hint}"
        )
    if not entries:
        left_out = ", ".join(f"{count:,} {reason}" for reason, count in listing.ignored.items())
        raise DataError(
            f"{path} holds no pictures ({left_out or 'no file at all'}); put PNG, JPEG, WebP, HEIC, ... "
            "files "
            "into the class folders"
        )
    return Source(
        root=path,
        form=listing.form,
        entries=tuple(sorted(entries, key=lambda entry: entry.name)),
        class_names=class_names,
        ignored=dict(listing.ignored),
        mixed_names=mixed_names,
    )


def _list_files(path: Path, group_column: str | None) -> _Listing:
    if path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
        return _list_table(path, group_column)
    if not path.is_dir():
        raise ConfigError(
            f"{path} is neither a folder nor a CSV or Parquet table; give a folder with one sub-folder a "
            "class, or a table with columns path and label"
        )
    if group_column:
        raise ConfigError(
            f"--group-column {group_column} needs a table; for the folder {path} use --group-regex"
        )
    return _list_folder(path)


def _list_table(table: Path, group_column: str | None) -> _Listing:
    entries = [
        Entry(
            path=row.path,
            name=row.name,
            label=row.label,
            split=_split_named(row.split, table),
            group=row.group,
        )
        for row in read_table(table, group_column=group_column)
    ]
    without_split = [entry.name for entry in entries if not entry.split]
    if 0 < len(without_split) < len(entries):
        raise DataError(
            f"{table}: {without_split[0]} has no split while others have; fill the column split for all, or "
            "drop it"
        )
    labels = [entry.label for entry in entries]
    return _Listing(form="table", entries=entries, labels=labels, ignored=Counter())


def canonical(name: str) -> str:
    """Bring a class name to Unicode's composed form, without spaces around it and with single ones inside."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _list_folder(root: Path) -> _Listing:
    ignored: Counter[str] = Counter()
    homes = _sub_folders(root, ignored)
    splits = {SPLIT_NAMES.get(home.name.lower()) for home in homes}
    in_splits = len(homes) >= 2 and None not in splits and "train" in splits
    if in_splits and len(splits) < len(homes):
        raise DataError(
            f"{root} has two folders for the same split among {', '.join(h.name for h in homes)}; join them"
        )
    entries: list[Entry] = []
    labels: list[str] = []
    for home in homes:
        split = SPLIT_NAMES[home.name.lower()] if in_splits else None
        for class_folder in _sub_folders(home, ignored) if in_splits else [home]:
            labels.append(printable(class_folder.name))
            entries += [
                Entry(
                    path=path,
                    name=printable(path.relative_to(root).as_posix()),
                    label=labels[-1],
                    split=split,
                )
                for path in _image_files(class_folder, root, ignored)
            ]
    form: Form = "split folders" if in_splits else "folder"
    return _Listing(form=form, entries=entries, labels=labels, ignored=ignored)


def _sub_folders(folder: Path, ignored: Counter[str]) -> list[Path]:
    """List the folders in a folder, sorted; count its files as ignored."""
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


def _image_files(class_folder: Path, root: Path, ignored: Counter[str]) -> list[Path]:
    """List the image files of one class, however deep.

    A real folder is entered once, one that contains the root never."""
    entered = {_identity(place) for place in (root.resolve(), *root.resolve().parents)}
    files = []
    pending = [class_folder]
    while pending:
        folder = pending.pop()
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
                pending.append(path)
            elif path.suffix.lower() not in IMAGE_SUFFIXES:
                ignored["not pictures by their names"] += 1
            else:
                files.append(path)
    return files


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
    """Name the only sub-folder where the class folders are inside it."""
    ignored: Counter[str] = Counter()
    homes = _sub_folders(path, ignored)
    inner = _sub_folders(homes[0], ignored) if len(homes) == 1 else []
    return f"; did you mean {homes[0]}?" if len(inner) >= 2 else ""
