"""Which folders are classes, which are splits: told by structure, names being one sign.

Folders that hold equally named sub-folders are the splits of one dataset (train, test), its folds, or classes
with sub-folders of their own (day, night). Names of splits, and how many images each holds, decide between
them; where both leave it open, the user is asked for `--layout`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from headstart.data.folders.walk import (
    LeftOut,
    is_junk,
    sub_folders,
    walk_images,
)
from headstart.errors import DataError
from headstart.runtime.show import shown

Split = Literal["train", "val", "test"]
Layout = Literal["auto", "classes", "splits", "folds"]
SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "validate": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluation": "test",
    "holdout": "test",
}
_FOLD = re.compile(r"(cv|fold|kfold|folds|part|split)[\W_]*\d+", re.IGNORECASE)
_LOOSE_SHARE = 0.05  # of a folder's images that may lie beside its sub-folders
_ALIKE = 0.6  # of the inner names of two folders that both have, from which they hold the same classes
_UNEVEN = 1.5  # largest over smallest: classes with sub-folders are of about one size, splits are not
ASK = "say which with --layout classes, splits or folds"


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image file with what its folders say of it."""

    path: Path
    label: str
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something about the source to be said. severity: "warning" or "note"; code: for programs."""

    severity: Literal["error", "warning", "note"]
    code: str
    message: str
    advice: str = ""


@dataclass(kw_only=True)
class Arranged:
    """The images of a folder. labels: with those of folders without an image."""

    in_splits: bool
    files: list[Found] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Home:
    """A folder directly below the root. base: where its images begin, below wrappers of a single folder.

    loose: images directly in base; inner: images of each of its sub-folders."""

    name: str
    path: Path
    base: Path
    files: list[Path]
    loose: int
    inner: dict[str, int]

    @property
    def images(self) -> int:
        return len(self.files)

    @property
    def is_nested(self) -> bool:
        """Whether its images lie in two or more sub-folders."""
        return (
            sum(count > 0 for count in self.inner.values()) >= 2 and self.loose <= _LOOSE_SHARE * self.images
        )

    @property
    def is_divided(self) -> bool:
        """Whether its images lie in sub-folders whose names speak of splits."""
        few_loose = self.loose <= _LOOSE_SHARE * self.images
        return few_loose and bool(self.inner) and all(split_of(name) for name in self.inner)

    @property
    def classes(self) -> set[str]:
        return {name.casefold() for name, count in self.inner.items() if count}

    @property
    def split(self) -> Split | None:
        return split_of(self.name)


def split_of(name: str) -> Split | None:
    """The split that a folder's name speaks of: training_set, seg_test, TRAIN; None where it does not."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    splits = {SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None


def arrange(root: Path, left_out: LeftOut, layout: Layout = "auto") -> Arranged:
    """The images below a folder with their classes and splits.

    Raises: DataError where the folder cannot be read, the layout is a guess, or two folders are one split."""
    homes = [_home(folder, root, left_out) for folder in sub_folders(root, left_out)]
    chosen = _chosen(root, homes) if layout == "auto" else layout
    if chosen == "classes":
        return _as_classes(root, homes)
    if chosen == "folds":
        return _as_folds(root, homes)
    return _as_splits(root, homes)


def _home(folder: Path, root: Path, left_out: LeftOut) -> _Home:
    files = walk_images(folder, root, left_out)
    base = folder
    while True:  # a wrapper: nothing but one folder with folders in it
        parts = [path.relative_to(base).parts for path in files]
        inner_names = _inner_names(base)
        if (
            len(inner_names) == 1
            and all(len(part) > 1 for part in parts)
            and _inner_names(base / inner_names[0])
        ):
            base = base / inner_names[0]
        else:
            break
    inner = dict.fromkeys(inner_names, 0)
    for part in parts:
        if len(part) > 1:
            inner[part[0]] = inner.get(part[0], 0) + 1
    loose = sum(len(part) == 1 for part in parts)
    return _Home(name=folder.name, path=folder, base=base, files=files, loose=loose, inner=inner)


def _inner_names(folder: Path) -> list[str]:
    try:
        return sorted(
            child.name for child in folder.iterdir() if not is_junk(child.name) and os.path.isdir(child)
        )
    except OSError:
        return []


def _chosen(root: Path, homes: Sequence[_Home]) -> Literal["classes", "splits", "folds"]:
    """What the folders are. Raises: DataError where that is a guess."""
    filled = [home for home in homes if home.images]
    nested = [home for home in filled if home.is_nested]
    flat = [home for home in filled if not home.is_nested]
    plainly = bool(filled) and all(home.name.lower() in SPLIT_NAMES for home in filled)
    if plainly and len(homes) >= 2:
        return _with_training(root, filled)
    if not nested or len(filled) < 2:
        return "classes"
    if all(home.is_divided for home in filled):
        return "classes"  # each class has its own train and test
    named = [home for home in nested if home.split]
    alike = len(nested) >= 2 and all(_holds_the_same(nested[0], home) for home in nested[1:])
    if named and len(named) == len(nested) and (alike or all(home.split for home in filled)):
        return _with_training(root, filled)
    if alike and not flat and all(_FOLD.search(home.name) for home in nested):
        return "folds"
    sizes = [home.images for home in nested]
    if alike and not flat and not named and max(sizes) <= _UNEVEN * min(sizes):
        return "classes"
    if named or (alike and len(flat) <= 1) or (len(nested) == 1 and len(flat) == 1):
        raise DataError(
            f"{root}: {_described(nested, flat)}; are these folders classes, or parts of one dataset? {ASK}"
        )
    return "classes"


def _with_training(root: Path, filled: Sequence[_Home]) -> Literal["splits"]:
    if not any(home.split == "train" for home in filled):
        names = ", ".join(shown(home.name) for home in filled)
        raise DataError(
            f"{root} holds {names}, which look like splits, but no folder to train on; call one of them "
            "train, "
            f"or {ASK}"
        )
    return "splits"


def _holds_the_same(one: _Home, other: _Home) -> bool:
    both, either = one.classes & other.classes, one.classes | other.classes
    return len(both) >= _ALIKE * len(either)


def _described(nested: Sequence[_Home], flat: Sequence[_Home]) -> str:
    inner = sorted({name for home in nested for name in home.inner})
    named = ", ".join(shown(name) for name in inner[:4]) + (
        f" and {len(inner) - 4} more" if len(inner) > 4 else ""
    )
    text = ", ".join(f"{shown(home.name)} ({home.images:,} images)" for home in nested[:6])
    text += f" {'each hold' if len(nested) > 1 else 'holds'} sub-folders {named}"
    if flat:
        text += ", " + ", ".join(
            f"{shown(home.name)} holds {home.images:,} images of its own" for home in flat[:3]
        )
    return text


def _as_classes(root: Path, homes: Sequence[_Home]) -> Arranged:
    arranged = Arranged(in_splits=False)
    filled = [home for home in homes if home.images]
    own_splits = any(home.is_nested for home in filled) and all(home.is_divided for home in filled)
    for home in homes:
        arranged.labels.append(home.name)
        for path in home.files:
            inner = path.relative_to(home.base).parts
            if own_splits and len(inner) == 1:
                continue  # neither for training nor for testing; counted below
            split = split_of(inner[0]) if own_splits else None
            arranged.files.append(Found(path=path, label=home.name, split=split))
    arranged.in_splits = own_splits
    nested = [home for home in filled if home.is_nested]
    if own_splits:
        arranged.notes.append(
            Note(
                severity="note",
                code="layout",
                message="each class has folders of its own for training and testing",
            )
        )
        arranged.notes += [_note_on_loose(home, "its folders of splits") for home in filled if home.loose]
    elif nested:
        alike = len(nested) == len(filled) >= 2 and all(
            _holds_the_same(nested[0], home) for home in nested[1:]
        )
        message = "; ".join(_nested_words(home) for home in nested[:4]) + (
            f"; and {len(nested) - 4} more" if len(nested) > 4 else ""
        )
        advice = "if these sub-folders are the classes, move them up" + (
            "; if the folders above them are splits or folds of one dataset, give --layout" if alike else ""
        )
        arranged.notes.append(Note(severity="warning", code="sub-folders", message=message, advice=advice))
    return arranged


def _note_on_loose(home: _Home, beside: str) -> Note:
    return Note(
        severity="warning",
        code="unlabelled",
        message=f"{home.loose:,} images lie in {shown(home.name)} beside {beside} and are left out",
        advice="move them into one of these folders",
    )


def _nested_words(home: _Home) -> str:
    inner = [shown(name) for name, count in home.inner.items() if count]
    listed = ", ".join(inner[:4]) + (f" and {len(inner) - 4} more" if len(inner) > 4 else "")
    return f"images of class {shown(home.name)} lie in sub-folders {listed}"


def _as_folds(root: Path, homes: Sequence[_Home]) -> Arranged:
    arranged = Arranged(in_splits=False)
    for home in homes:
        for path, label in _labelled(home):
            arranged.files.append(Found(path=path, label=label, group=f"fold {home.name}"))
        arranged.labels += list(home.inner)
    names = ", ".join(shown(home.name) for home in homes)
    arranged.notes.append(
        Note(
            severity="note",
            code="layout",
            message=f"read as folds: {names}; each stays on one side of the split",
        )
    )
    return arranged


def _as_splits(root: Path, homes: Sequence[_Home]) -> Arranged:
    """Splits by their names; where no name speaks of training, the largest folder trains, the others test."""
    labelled = [home for home in homes if home.images and any(home.inner.values())]
    splits = {home.name: home.split for home in labelled}
    largest = max(labelled, key=lambda home: home.images, default=None)
    if largest is not None and "train" not in splits.values():
        splits[largest.name] = "train"
    train = [home for home in labelled if splits[home.name] == "train"]
    classes = set().union(*(home.classes for home in train)) if train else set()
    without = [
        home
        for home in homes
        if home.images and (home not in labelled or _has_no_labels(home, classes, splits))
    ]
    parts = [home for home in labelled if home not in without]
    given = [splits[home.name] or "test" for home in parts]
    if len(set(given)) < len(given) and all(home.split for home in parts):
        raise DataError(
            f"{root} has two folders for the same split among {', '.join(home.name for home in parts)}; "
            "join them"
        )
    if not train:
        names = ", ".join(f"{shown(home.name)} ({home.images:,})" for home in homes if home.images)
        raise DataError(
            f"{root} holds images in {names}, but no class folders in them; sort the images of each into one "
            "folder a class, or write a table with columns path, label and split"
        )
    arranged = Arranged(in_splits=len(parts) > 1)
    for home, split in zip(parts, given, strict=True):
        arranged.labels += list(home.inner)
        arranged.files += [
            Found(path=path, label=label, split=split if len(parts) > 1 else None)
            for path, label in _labelled(home)
        ]
    arranged.notes += _notes_on_splits(root, homes, parts, given, without)
    return arranged


def _has_no_labels(home: _Home, classes: set[str], splits: dict[str, Split | None]) -> bool:
    return splits[home.name] != "train" and not home.classes & classes and len(home.classes) <= 1


def _labelled(home: _Home) -> list[tuple[Path, str]]:
    parts = [(path, path.relative_to(home.base).parts) for path in home.files]
    return [(path, part[0]) for path, part in parts if len(part) > 1]


def _notes_on_splits(
    root: Path,
    homes: Sequence[_Home],
    parts: Sequence[_Home],
    given: Sequence[Split],
    without: Sequence[_Home],
) -> list[Note]:
    notes = []
    if any(home.name.lower() != split for home, split in zip(parts, given, strict=True)):
        read = ", ".join(f"{shown(home.name)} as {split}" for home, split in zip(parts, given, strict=True))
        notes.append(Note(severity="note", code="layout", message=f"read {read}"))
    for home in without:
        rest = "" if len(parts) > 1 else "; parts of the other images test instead"
        notes.append(
            Note(
                severity="warning",
                code="unlabelled",
                message=f"{shown(home.name)} holds {home.images:,} images without class folders: they "
                "have no "
                f"labels and are left out{rest}",
                advice="sort them into class folders, or name them with a model: headstart predict "
                f"MODEL {shown(home.name)}",
            )
        )
    for home in parts:
        if home.loose:
            notes.append(_note_on_loose(home, "its class folders"))
    empty = [home for home in homes if not home.images]
    if empty:
        names = ", ".join(shown(home.name) for home in empty)
        missed = any(home.split for home in empty)
        notes.append(
            Note(
                severity="warning" if missed else "note",
                code="no-images",
                message=f"folders without an image: {names}",
                advice="a fifth of the other images is held out for testing"
                if missed and len(parts) < 2
                else "",
            )
        )
    return notes
