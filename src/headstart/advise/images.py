"""The user's images: checked, and made a dataset of a size that fits them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from headstart import store
from headstart.data import folders, load_dataset
from headstart.data.folders.decisions import ADDED, decisions_in_words
from headstart.data.folders.decisions import FILE as DECISIONS
from headstart.data.folders.size import MANY, SIDES, Storage, default_budget, storage_of
from headstart.data.splits import FOLDS
from headstart.data_quality.folder import Room, check_images
from headstart.data_quality.inspection import Inspection
from headstart.errors import HeadstartError
from headstart.runtime import progress
from headstart.store.toml import read_toml
from headstart.types import Dataset, ImageSet

FOLDS_UP_TO = 4000  # images that cross-validation is for; of more, one fold, a fifth, is enough to judge by
SAMPLE = 10_000  # images that candidates are compared on where there are MANY or more
_MANY_SIDE = 128  # of MANY images or more: their larger features take hours


@dataclass(frozen=True, kw_only=True)
class UserImages:
    """Images as `advise` uses them.

    name: of the file that describes them, which load_dataset reads. side: of the stored images, in pixels.
    inspection: what the check found. own_test: whether dataset.test is the user's own test split. folds: how
    many folds of dataset.train candidates are read on, FOLDS or one of them; dataset.test is then empty or
    the user's own. 0: trials keep a part of dataset.train for choosing, and dataset.test for testing.
    decided: how many images were decided on, in words. storage: of all images, where `dataset` is a sample of
    them; else None. bad_files: as load_images."""

    path: Path
    how: folders.SourceOptions
    name: str
    dataset: Dataset
    side: int
    inspection: Inspection
    own_test: bool
    folds: int
    decided: str = ""
    storage: Storage | None = None
    bad_files: folders.BadFiles = "few"

    def inspect_labels(self, folder: Path) -> Inspection:
        """The check again, with a search for wrong labels."""
        room = Room(side=self.side)
        return check_images(self.path, out=folder / "check", options=self.how, storage=room).inspection

    def whole(self, folder: Path) -> UserImages:
        """All the images of which these are a sample, described in folder/whole.toml; decoded now, which
        takes storage.seconds. Raises: what load_dataset raises."""
        everything = dataclasses.replace(self.how, sample=None)
        name = _describe(folder / "whole.toml", self.path, self.side, everything, self.bad_files)
        return dataclasses.replace(self, name=name, dataset=load_dataset(name), how=everything, storage=None)


@dataclass(frozen=True, eq=False)
class PartOfImages:
    """Images of a set by their places in it, read where they are wanted: uint8 (M, S, S, 3)."""

    of: ImageSet
    ids: NDArray[np.int64]

    def __getitem__(self, place: int | slice) -> NDArray[np.uint8]:
        return np.asarray(self.of.images[self.ids[place]])


def prepare_images(
    path: Path,
    folder: Path,
    how: folders.SourceOptions,
    bad_files: folders.BadFiles,
    *,
    hold_out: bool = True,
    cache_bytes: int | None = None,
) -> UserImages:
    """Checks the images into folder/check and describes them in folder/images.toml. Decisions about single
    images and images that were added lie beside it (folders/decisions.py).

    hold_out: keep a fifth for testing; else all images are for training, described in
    folder/all-images.toml, and read on all folds up to FOLDS_UP_TO, on one fold where there are more.
    cache_bytes: for decoded images (folders/size.py). Of MANY images or more a sample is checked and
    described, of which a fifth is held out.
    Raises: what check_images and load_dataset raise; DataError for too many unreadable files."""
    if how.decisions is None and any((folder / name).exists() for name in (DECISIONS, ADDED)):
        how = dataclasses.replace(how, decisions=str(folder.resolve() / DECISIONS))
    source = folders.find_decided(path, how)
    former = _former_side(path, folder) if cache_bytes is None else None
    storage = _storage(source, how, cache_bytes, former)
    if is_sample := storage.images >= MANY:
        how = dataclasses.replace(how, sample=SAMPLE)
    room = Room(side=storage.side)
    check = check_images(path, out=folder / "check", label_errors=False, options=how, storage=room)
    folders.require_mostly_good(check.decoded, bad_files)
    reading = check.decoded.reading
    how = dataclasses.replace(how, integer_range=reading.integer_range, float_range=reading.float_range)
    readable = len(check.decoded.readable)
    own_test = check.inspection.parts_given
    to_learn_from = check.inspection.parts["train"] if own_test else readable
    count = 0 if hold_out or is_sample else FOLDS if to_learn_from <= FOLDS_UP_TO else 1
    name = _describe(folder / "images.toml", path, storage.side, how, bad_files)
    if count and not own_test:
        everything = dataclasses.replace(how, hold_out=False)
        name = _describe(folder / "all-images.toml", path, storage.side, everything, bad_files)
    return UserImages(
        path=path,
        how=how,
        name=name,
        dataset=load_dataset(name),
        side=storage.side,
        inspection=check.inspection,
        own_test=own_test,
        folds=count,
        decided=decisions_in_words(check.decoded),
        storage=storage if is_sample else None,
        bad_files=bad_files,
    )


def _storage(
    source: folders.Source, how: folders.SourceOptions, cache_bytes: int | None, former: int | None
) -> Storage:
    """How the images are stored, said where there are many or where they are shrunk to fit."""
    count = len(source.entries)
    storage = storage_of(
        source,
        default_budget(count) if cache_bytes is None else cache_bytes,
        most=_MANY_SIDE if count >= MANY else SIDES[0],
        longer=how.fit == "pad",
        side=former,
    )
    if count >= MANY or storage.side != storage.wanted_side:
        progress.say(storage.words(progress.clock(storage.seconds)))
    if count >= MANY:
        progress.say(
            f"candidates are compared on a sample of about {SAMPLE:,} images; the best one learns from all "
            f"{count:,} where the time is enough"
        )
    return storage


def _former_side(path: Path, folder: Path) -> int | None:
    """The side that an earlier run of the same command chose: other pixels would be other candidates."""
    try:
        _, stored = read_toml(folder / "images.toml", "images and their options")
    except HeadstartError:
        return None
    side, same = stored.get("image_pixels"), stored.get("path") == str(path.resolve())
    return side if same and isinstance(side, int) and side in SIDES else None


def _describe(
    file: Path, path: Path, side: int, how: folders.SourceOptions, bad_files: folders.BadFiles
) -> str:
    """Writes the file that load_dataset reads; returns its name."""
    plain = {"path": str(path.resolve()), "image_pixels": side, "bad_files": bad_files}
    beside = {"decisions": DECISIONS} if how.decisions == str(file.parent.resolve() / DECISIONS) else {}
    store.write_bytes(file, tomli_w.dumps(plain | _in_toml(how) | beside).encode())
    return str(file.resolve())


def _in_toml(how: folders.SourceOptions) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in how.given().items()}
