"""Image files as a model takes them: found in folders, decoded, cut square, predicted batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.decode import decode_image, quiet_pillow, square
from headstart.data.folders.tables import TABLE_SUFFIXES
from headstart.data.folders.walk import LeftOut, walk_images
from headstart.errors import DataError
from headstart.predict.predictor import Predictor
from headstart.runtime import progress
from headstart.runtime.cores import usable_cores
from headstart.types import DEFAULT_READING, Reading

_DECODERS = 4  # threads, each holding one decoded image

_HOLDS_IMAGES = {".zip": "a zip; unpack it and give the folder"} | dict.fromkeys(
    TABLE_SUFFIXES, "a table; give the images that it names, or their folder"
)

OnUnreadable = Callable[[Path, DataError], None]


@dataclass(frozen=True, kw_only=True)
class FoundImages:
    """images: files to be read, each once. left_out: other files of the folders. missing: paths that give no
    image, each with the reason."""

    images: list[Path]
    left_out: LeftOut
    missing: list[tuple[Path, DataError]]


def find_images(paths: Sequence[str | Path]) -> FoundImages:
    """The image files among files and folders, read as those of a data set are (folders/walk.py).

    Folders are searched to the bottom, in the order of their names; links to folders are followed once. A
    file named by itself is always taken, whatever it is called.
    Raises: DataError where there is no image at all."""
    images: list[Path] = []
    left_out, missing = LeftOut(), list[tuple[Path, DataError]]()
    for path in map(Path, paths):
        if path.is_dir():
            images += walk_images(path, path, left_out)
        elif path.is_file() and (reason := _HOLDS_IMAGES.get(path.suffix.lower())):
            missing.append((path, DataError(f"{path} is {reason}")))
        elif path.exists() or path.is_symlink():
            images.append(path)
        else:
            missing.append((path, DataError(_why_missing(path))))
    if not images:
        if missing:
            raise missing[0][1]
        raise DataError(
            f"no images in {', '.join(map(str, paths))} ({left_out.words() or 'no file at all'})"
            f"{left_out.advice()}; give image files or folders of them"
        )
    once = {os.path.abspath(path): path for path in reversed(images)}
    return FoundImages(
        images=[path for path in images if once[os.path.abspath(path)] is path],
        left_out=left_out,
        missing=missing,
    )


def _why_missing(path: Path) -> str:
    text = str(path)
    if text == "-":
        return "standard input is not read; give image files or folders of them"
    scheme, slash, rest = text.partition(":/")
    if slash and scheme.lower() in ("http", "https", "ftp", "s3", "gs"):
        return f"{scheme}://{rest} is an address on the web; fetch the file and give its path"
    return f"{path} is not there; give image files or folders of them"


def read_squares(
    paths: Sequence[Path],
    image_pixels: int,
    on_unreadable: OnUnreadable,
    reading: Reading = DEFAULT_READING,
) -> tuple[list[Path], NDArray[np.uint8]]:
    """The readable paths, and their images uint8 (M, S, S, 3), S = image_pixels.

    reading: of the model that takes them, so that they are read as its training images were.

    on_unreadable: called with every other path and the reason, in order."""

    def read(path: Path) -> NDArray[np.uint8] | DataError:
        try:
            image = decode_image(path, reading=reading)
            return square(image, image_pixels, reading.fit)
        except DataError as error:
            return error

    with quiet_pillow(), ThreadPoolExecutor(min(_DECODERS, usable_cores())) as pool:
        results = list(pool.map(read, paths))
    readable: list[Path] = []
    images: list[NDArray[np.uint8]] = []
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, DataError):
            on_unreadable(path, result)
        else:
            readable.append(path)
            images.append(result)
    return readable, np.stack(images) if images else np.zeros((0, image_pixels, image_pixels, 3), np.uint8)


def predict_files(
    predictor: Predictor, paths: Sequence[Path], on_unreadable: OnUnreadable, batch_size: int | None = None
) -> Iterator[tuple[Path, NDArray[np.float32], bool | None]]:
    """Yield each readable file with its class probabilities float32 (C,) and whether it is unlike what the
    model learned from (None: the model cannot say), in order, as soon as its batch is done.

    batch_size: None: as in the model's evaluation. on_unreadable: as in `read_squares`."""
    size = batch_size or predictor.batch_size
    with progress.track("predict", len(paths), "images") as bar:
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            readable, images = read_squares(
                batch, predictor.image_pixels, on_unreadable, predictor.saved.reading
            )
            shares, unfamiliar = predictor.answers(images, size)
            for place, path in enumerate(readable):
                yield path, shares[place], None if unfamiliar is None else bool(unfamiliar[place])
            bar.advance(len(batch))
