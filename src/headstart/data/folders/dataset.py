"""Load a user's own images as a dataset: a folder of classes, train/val/test folders of classes, or a table.

What is where is kept in the cache, named by the state of the files and the options: the next loading only
checks the files' sizes and modification times. The images themselves are rows of the decoded ones (cache.py):
nothing is copied.
"""

from __future__ import annotations

import io
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import arrays, folders
from headstart.data.grouped import TEST_FRACTION
from headstart.errors import DataError, StoreError
from headstart.runtime.mapped import indexed
from headstart.runtime.progress import say
from headstart.types import Dataset

SCHEMA = 2  # raise it when the same files would be split or ordered in another way


def load_images(
    path: str | Path,
    *,
    image_pixels: int = 32,
    group_column: str | None = None,
    group_regex: str | None = None,
    bad_files: folders.BadFiles = "few",
    options: folders.SourceOptions = folders.DEFAULT_OPTIONS,
) -> Dataset:
    """Load the images of a folder or table; a fixed fifth of each class is the test set.

    Classes are the sub-folders' names (or the table's labels), sorted. Each image comes at (image_pixels,
    image_pixels), as a rule its middle square (options.fit). Transparency is put on white; the camera's
    rotation is applied. Pixels and groups alone decide which images are for testing, and their order; file
    names do not. Exact and near duplicates and the images of a group never stand on both sides. The user's
    own train and test folders are kept; validation images join the training set, from which a trial draws its
    own, or are the test set where there is none. Images are memory-mapped. group_column, group_regex: as in
    options, which has more.
    Raises: ConfigError for a path or option that makes no sense; DataError where a class is missing on a side
    or too many files give no image; StoreError where the cache cannot be written.
    """
    options = replace(
        options,
        group_column=group_column or options.group_column,
        group_regex=group_regex or options.group_regex,
    )
    decoded = folders.decode_decided(Path(path).expanduser(), image_pixels, options)
    source = decoded.source
    folders.require_mostly_good(decoded, bad_files)
    _say_what_is_left_out(decoded)
    identity = [
        SCHEMA,
        decoded.key,
        source.class_names,
        [[e.label, e.split, e.group] for e in source.entries],
        options.alike,
        *([sorted(decoded.excluded)] if decoded.excluded else []),
        *([] if options.hold_out else ["nothing held out"]),
    ]
    place = [folders.printable(str(source.root.resolve())), image_pixels, options.given()]
    where = store.digest(place)[:32]
    home = store.cache_folder() / "datasets" / "folders" / where / store.digest(identity)[:16]
    with store.lock(home.parent / "lock", f"the dataset of {source.root}", wait_seconds=24 * 3600):
        try:
            return _read(home, decoded.images)
        except DataError:  # not there, or damaged: written from the decoded images
            _assemble(home, decoded, options)
        for other in home.parent.iterdir():  # earlier states of the same files
            if other.is_dir() and other != home:
                shutil.rmtree(other, ignore_errors=True)
        return _read(home, decoded.images)


def _read(home: Path, decoded: NDArray[np.uint8]) -> Dataset:
    dataset = arrays.read_dataset(home, decoded)
    try:
        groups = store.read_npy(home / "train_groups.npy")
        if groups.shape != dataset.train.labels.shape or groups.dtype.kind != "i":
            raise StoreError(f"{home / 'train_groups.npy'} is damaged: groups of other images")
        reading = folders.reading_from(store.read_json(home / "reading.json"))
    except (StoreError, TypeError, ValueError) as error:
        raise DataError(f"{home} is damaged ({error})") from error
    # Where every image is a group of its own, the split is that of a dataset without groups.
    has_groups = len(np.unique(groups)) < len(groups)
    train = replace(dataset.train, groups=groups if has_groups else None, names=_names(home, "train"))
    test = replace(dataset.test, names=_names(home, "test"))
    return replace(dataset, train=train, test=test, reading=reading)


def _names(home: Path, part: str) -> NDArray[np.str_] | None:
    try:
        names: NDArray[np.str_] = np.load(home / f"{part}_names.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # written by an earlier version
        return None
    return names


def _say_what_is_left_out(decoded: folders.DecodedSource) -> None:
    """Print a line for each kind of file that is left out, on standard error."""
    root, bad = decoded.source.root, decoded.bad
    for reason, count in sorted(decoded.source.ignored.items()):
        say(f"{root}: {count:,} {'file' if count == 1 else 'files'} ignored: {reason}")
    for note in decoded.source.notes:
        if note.severity != "note":
            say(f"{root}: {note.message}{'; ' + note.advice if note.advice else ''}")
    if bad:
        say(
            f"{root}: {len(bad):,} of {len(decoded.facts):,} files give no image and are skipped, e.g. "
            f"{bad[0].name} ({bad[0].reason}); `headstart data check {root}` lists them"
        )
    for mixed in decoded.source.mixed_names:
        names = ", ".join(repr(name) for name, _ in mixed.spellings)
        say(
            f"{root}: class names {names} "
            + ("are read as one class" if mixed.merged else "look like one class; rename them")
        )


def _assemble(home: Path, decoded: folders.DecodedSource, options: folders.SourceOptions) -> None:
    """Write the dataset's arrays and groups into the cache."""
    fraction = TEST_FRACTION if options.hold_out else 0.0
    division = folders.divide(decoded, fraction=fraction, near=not options.alike)
    test_split = "test" if (division.splits == "test").any() or not options.hold_out else "val"
    is_test = division.splits == test_split
    name = decoded.source.root.resolve().name
    home.mkdir(parents=True, exist_ok=True)
    store.purge_unfinished(home)
    for former in home.glob("*_images.npy"):  # of a version that copied them
        former.unlink()
    sets = {}
    for split, chosen in (("train", ~is_test), ("test", is_test)):
        images = indexed(decoded.images, division.places[chosen])
        sets[split] = arrays.image_set(images, division.labels[chosen], division.class_names)
    _write_array(home / "train_groups.npy", division.units[~is_test])
    names = [entry.name for entry in decoded.source.entries]
    for split, chosen in (("train", ~is_test), ("test", is_test)):
        own = np.array([names[place] for place in division.places[chosen]], np.str_)
        _write_array(home / f"{split}_names.npy", own)
    store.write_sealed(home / "reading.json", asdict(decoded.reading))
    arrays.write_dataset(
        home, arrays.dataset(name, name, f"images in the folder {name}", sets["train"], sets["test"])
    )


def _write_array(path: Path, values: NDArray[Any]) -> None:
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    store.write_bytes(path, content.getvalue())
