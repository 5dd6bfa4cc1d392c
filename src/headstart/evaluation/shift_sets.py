"""Shift sets: labelled images of a study's classes from elsewhere, read from a folder on this machine.

Two forms: CIFAR-10.1 as published (cifar10.1_v6_data.npy with cifar10.1_v6_labels.npy, or v4), and a folder
with one sub-folder of images for each class. Source of the first: Recht, Roelofs, Schmidt and Shankar (2018),
Do CIFAR-10 classifiers generalize to CIFAR-10?
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import arrays
from headstart.data.folders.decode import decode_image, square
from headstart.data.folders.find import canonical
from headstart.data.folders.walk import LeftOut, sub_folders, walk_images
from headstart.errors import DataError, StoreError
from headstart.runtime.progress import say, track
from headstart.runtime.show import shown
from headstart.types import DEFAULT_READING, ImageSet, Reading


def load_shift_set(
    folder: Path, class_names: Sequence[str], image_pixels: int, reading: Reading = DEFAULT_READING
) -> ImageSet:
    """The images below `folder` with labels in the order of class_names; a class may have no image.

    image_pixels: the size that a folder's images are brought to, as the study's own; arrays must have it.
    reading: how the study's own images were read.
    Raises: DataError where there is neither form, a class is none of class_names, or a file cannot be
    read."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not a folder; give one with cifar10.1_v6_data.npy and its labels, or a sub-folder "
            "of images for each class"
        )
    data_files = sorted(folder.glob("*_data.npy"))
    if len(data_files) > 1:
        raise DataError(
            f"{folder} holds {len(data_files)} files *_data.npy "
            f"({', '.join(path.name for path in data_files)}); give "
            "each a folder of its own, with its labels"
        )
    if data_files:
        images, labels = _read_arrays(data_files[0], len(class_names), image_pixels)
    else:
        images, labels = _read_folders(folder, class_names, image_pixels, reading)
    return arrays.image_set(images, labels, class_names)


def _read_arrays(path: Path, classes: int, pixels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    labels_path = path.with_name(path.name.removesuffix("_data.npy") + "_labels.npy")
    try:
        images, labels = (store.read_npy(each, "fetch both files again") for each in (path, labels_path))
    except StoreError as error:
        raise DataError(str(error)) from error
    if images.dtype != np.uint8 or images.shape[1:] != (pixels, pixels, 3) or not len(images):
        raise DataError(
            f"{path} holds {images.dtype} {images.shape}; expected uint8 (N, {pixels}, {pixels}, 3)"
        )
    if (
        labels.shape != images.shape[:1]
        or labels.dtype.kind not in "iu"
        or labels.min() < 0
        or labels.max() >= classes
    ):
        raise DataError(
            f"{labels_path} holds {labels.dtype} {labels.shape}; expected {len(images)} whole numbers from 0 "
            f"to {classes - 1}, in the order of the study's classes"
        )
    return images, labels.astype(np.int64)


def _read_folders(
    folder: Path, class_names: Sequence[str], pixels: int, reading: Reading
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    left_out = LeftOut()
    homes = sub_folders(folder, left_out)
    places = {home: _place(home.name, class_names) for home in homes}
    unknown = [home.name for home in homes if places[home] is None]
    if unknown:
        raise DataError(
            f"{folder}: {', '.join(map(shown, unknown[:5]))} is none of the study's classes "
            f"({', '.join(map(shown, class_names[:20]))}); rename or remove it"
        )
    files = [
        (path, label)
        for home in homes
        if (label := places[home]) is not None
        for path in walk_images(home, folder, left_out)
    ]
    if words := left_out.words():
        say(f"{folder}: left out: {words}")
    if not files:
        raise DataError(
            f"{folder} holds neither *_data.npy with its labels nor a sub-folder of images for any class of "
            f"the study ({', '.join(class_names[:20])})"
        )
    without = len(class_names) - len({label for _, label in files})
    if without:
        say(f"{folder}: no images of {without} of the {len(class_names)} classes")
    images = []
    with track(f"read {folder}", len(files), "images") as bar:
        for path, _ in files:
            images.append(square(decode_image(path, reading=reading), pixels, reading.fit))
            bar.advance()
    return np.stack(images), np.array([label for _, label in files], np.int64)


def _place(name: str, class_names: Sequence[str]) -> int | None:
    """The class that a folder is called after, whatever its Unicode form and letter case; None for none."""
    for same in (str, canonical, lambda text: canonical(text).casefold()):
        matches = [label for label, class_name in enumerate(class_names) if same(class_name) == same(name)]
        if len(matches) == 1:
            return matches[0]
    return None
