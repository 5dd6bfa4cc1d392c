"""Anybody's pictures as a dataset: a folder with one sub-folder a class, train/val/test folders of such, or a
table.

The finished arrays lie in the cache, named by the state of the files and the options: the next loading only
looks at the files' sizes and times.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import arrays, folders
from headstart.errors import DataError
from headstart.runtime.progress import say
from headstart.types import Dataset

SCHEMA = 1  # raised when the same files would be divided or ordered in another way
_CHUNK = 512  # images copied at once


def load_images(
    path: str | Path,
    *,
    image_pixels: int = 32,
    group_column: str | None = None,
    group_regex: str | None = None,
    bad_files: folders.BadFiles = "few",
) -> Dataset:
    """The pictures of a folder or table at (image_pixels, image_pixels), a fixed fifth of each class held out
    as the test set.

    Classes are the sub-folders' names (or the table's labels), sorted. An image's shorter side is resized
    (bicubic, antialiased) and its middle cut out; transparency lies on white; the camera's rotation is
    applied. Which images are for testing, and their order, follows from the pixels (and groups) alone:
    renaming files changes nothing. Copies, near duplicates and what a group names never stand on both sides.
    Given train and test folders are taken as they are; validation pictures join the training set, of which a
    trial draws its own, or are the test set where there is none. Images are memory-mapped.
    Raises: ConfigError for a path or option that makes no sense; DataError where a class is missing on a side
    or too many files give no picture; StoreError where the cache cannot be written.
    """
    source = folders.find_entries(Path(path).expanduser(), group_column=group_column, group_regex=group_regex)
    pictures = folders.decode_source(source, image_pixels)
    folders.require_mostly_good(pictures, bad_files)
    _tell(pictures)
    identity = [
        SCHEMA,
        pictures.key,
        source.class_names,
        [[e.label, e.split, e.group] for e in source.entries],
    ]
    where = store.digest(
        [folders.printable(str(source.root.resolve())), image_pixels, group_column, group_regex]
    )[:32]
    home = store.cache_folder() / "datasets" / "folders" / where / store.digest(identity)[:16]
    with store.lock(home.parent / "lock", f"the dataset of {source.root}", wait_seconds=24 * 3600):
        try:
            return _read(home)
        except DataError:  # not there, or damaged: made from the pictures
            _assemble(home, pictures)
        for other in home.parent.iterdir():  # states of the same files that are gone
            if other.is_dir() and other != home:
                shutil.rmtree(other, ignore_errors=True)
        return _read(home)


def _read(home: Path) -> Dataset:
    dataset = arrays.read_dataset(home)
    try:
        groups = np.load(home / "train_groups.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{home / 'train_groups.npy'} cannot be read ({error})") from error
    # Without a pair that belongs together the split is that of a dataset without groups.
    kept = groups if len(np.unique(groups)) < len(groups) else None
    return replace(dataset, train=replace(dataset.train, groups=kept))


def _tell(pictures: folders.Pictures) -> None:
    """What was left out, in a line each, on standard error."""
    root, bad = pictures.source.root, pictures.bad
    for reason, count in sorted(pictures.source.ignored.items()):
        say(f"{root}: {count:,} {'file' if count == 1 else 'files'} ignored: {reason}")
    if bad:
        say(
            f"{root}: {len(bad):,} of {len(pictures.facts):,} files give no picture and are skipped, e.g. "
            f"{bad[0].name} "
            f"({bad[0].reason}); `headstart data check {root}` lists them"
        )
    for mixed in pictures.source.mixed_names:
        names = ", ".join(repr(name) for name, _ in mixed.spellings)
        say(
            f"{root}: class names {names} "
            + ("are read as one class" if mixed.merged else "look like one class; rename them")
        )


def _assemble(home: Path, pictures: folders.Pictures) -> None:
    division = folders.divide(pictures)
    test_part = "test" if (division.parts == "test").any() else "val"
    is_test = division.parts == test_part
    name = pictures.source.root.resolve().name
    store.require_space(home, 2 * pictures.images.nbytes, f"the dataset of {name}")
    home.mkdir(parents=True, exist_ok=True)
    store.purge_unfinished(home)
    sets, parts = {}, []
    for part, chosen in (("train", ~is_test), ("test", is_test)):
        parts.append(home / f".{part}.part")
        _write_rows(parts[-1], pictures.images, division.places[chosen])
        images = np.memmap(parts[-1], np.uint8, "r", shape=(int(chosen.sum()), *pictures.images.shape[1:]))
        sets[part] = arrays.image_set(images, division.labels[chosen], division.class_names)
    groups = io.BytesIO()
    np.save(groups, division.units[~is_test], allow_pickle=False)
    store.write_bytes(home / "train_groups.npy", groups.getvalue())
    arrays.write_dataset(
        home, arrays.dataset(name, name, f"images in the folder {name}", sets["train"], sets["test"])
    )
    for file in parts:
        file.unlink(missing_ok=True)


def _write_rows(path: Path, images: NDArray[np.uint8], places: NDArray[np.int64]) -> None:
    with path.open("wb") as file:
        for start in range(0, len(places), _CHUNK):
            file.write(images[places[start : start + _CHUNK]].tobytes())
