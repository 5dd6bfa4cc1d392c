"""A folder of images as a dataset: one sub-folder a class, PNG or JPEG."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data import arrays
from headstart.errors import ConfigError, DataError
from headstart.progress import say, track
from headstart.types import Dataset

TEST_FRACTION = 0.2
_SUFFIXES = (".png", ".jpg", ".jpeg")


def load_image_folder(folder: Path, *, image_pixels: int = 32) -> Dataset:
    """The images below `folder`, brought to (image_pixels, image_pixels), a fixed fifth of each class held out as the
    test set.

    Classes are the sub-folders' names, sorted. An image's shorter side is resized (bicubic, antialiased) and its middle
    cut out; transparency lies on white; the camera's rotation is applied. Which images are for testing, and their
    order, follows from the pixels alone: renaming files changes nothing, and equal images of a class never stand on
    both sides.
    Raises: DataError where there are fewer than two classes, a class has fewer than two different images, or an image
    cannot be read (the message names it); ConfigError where image_pixels is no positive number.
    """
    if image_pixels < 1:
        raise ConfigError(f"image_pixels is {image_pixels}; it must be at least 1")
    class_folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    names = tuple(path.name for path in class_folders)
    if {"train", "test"} <= set(names):
        raise DataError(
            f"{folder} holds folders train and test: a ready-made split is not read; give a folder with one "
            "sub-folder for each class"
        )
    if len(names) < 2:
        raise DataError(f"{folder} has {len(names)} sub-folders; a dataset needs one for each class, two at least")
    files = [
        sorted(path for path in class_folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        for class_folder in class_folders
    ]
    ignored = sum(path.is_file() for class_folder in class_folders for path in class_folder.rglob("*")) - sum(
        map(len, files)
    )
    if ignored:
        say(f"{folder}: {ignored} files ignored that are neither PNG nor JPEG")
    parts: dict[str, list[NDArray[np.uint8]]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    with track(f"read {folder}", sum(map(len, files)), "images") as bar:
        for label, paths in enumerate(files):
            images = []
            for path in paths:
                images.append(_read_image(path, image_pixels))
                bar.advance()
            train, test = _divide(images, class_folders[label])
            for part, chosen in (("train", train), ("test", test)):
                parts[part] += chosen
                labels[part] += [label] * len(chosen)
    train_set, test_set = (
        arrays.image_set(np.stack(parts[part]), np.array(labels[part], np.int64), names) for part in ("train", "test")
    )
    return arrays.dataset(
        folder.resolve().name,
        folder.resolve().name,
        f"images in the folder {folder.resolve().name}",
        train_set,
        test_set,
    )


def _divide(images: list[NDArray[np.uint8]], class_folder: Path) -> tuple[list, list]:
    """(train, test) of one class, by rank of the pixels' SHA-256; copies of one image go to the same side."""
    ranked = sorted(((hashlib.sha256(image.tobytes()).digest(), image) for image in images), key=lambda pair: pair[0])
    hashes = [key for key, _ in ranked]
    if len(set(hashes)) < 2:
        raise DataError(
            f"{class_folder} has {len(set(hashes))} different images; each class needs two at least, one for testing"
        )
    cut = max(1, round(len(ranked) * TEST_FRACTION))
    while cut < len(ranked) and hashes[cut] == hashes[cut - 1]:
        cut += 1
    if cut == len(ranked):  # copies of the last-ranked image reach from the cut to the end: they are for training
        cut = hashes.index(hashes[-1])
    return [image for _, image in ranked[cut:]], [image for _, image in ranked[:cut]]


def _read_image(path: Path, image_pixels: int) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG", "JPEG"]) as opened:
                image = ImageOps.exif_transpose(opened)
                if image.mode.startswith(("I", "F")):
                    raise DataError(f"{path} has more than 8 bits a channel, which is not read; convert it to 8 bits")
                if image.has_transparency_data:
                    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
                image = ImageOps.fit(image.convert("RGB"), (image_pixels, image_pixels), Image.Resampling.BICUBIC)
                return np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{path} cannot be read as an image ({error}); mend or remove it") from error
