"""Picture files as a model takes them: found in folders, decoded, cut square, answered batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.decode import decode_image, quiet_pillow, square
from headstart.data.folders.find import IMAGE_SUFFIXES
from headstart.errors import DataError
from headstart.predict.predictor import Predictor
from headstart.runtime import progress
from headstart.runtime.cores import usable_cores

_DECODERS = 4  # threads, each holding one decoded picture


def find_images(given: Sequence[str | Path]) -> tuple[list[Path], int]:
    """The picture files meant by files and folders, and how many other files the folders hold.

    Folders are searched to the bottom, in the order of their names, picking files by their suffix; hidden
    files and folders are passed over and links to folders are not followed. A file named by itself is always
    taken, whatever it is called.
    Raises: DataError for a path that is not there, or where no picture is found."""
    found: list[Path] = []
    others = 0
    for start in map(Path, given):
        if not start.is_dir():
            if not start.exists():
                raise DataError(f"{start} is not there; give image files or folders of them")
            found.append(start)
            continue
        for home, folders, files in os.walk(start):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            pictures = sorted(
                name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
            )
            found += [Path(home, name) for name in pictures]
            others += len(files) - len(pictures)
    if not found:
        raise DataError(f"no images in {', '.join(map(str, given))}; looked for {' '.join(IMAGE_SUFFIXES)}")
    return found, others


def read_squares(
    paths: Sequence[Path], image_pixels: int, on_unreadable: Callable[[Path, DataError], None]
) -> tuple[list[Path], NDArray[np.uint8]]:
    """The paths that could be read, and their pictures uint8 (M, S, S, 3): the middle square at image_pixels,
    as in training.

    on_unreadable: called with every other path and the reason, in order."""

    def read(path: Path) -> NDArray[np.uint8] | DataError:
        try:
            return square(decode_image(path), image_pixels)
        except DataError as error:
            return error

    with quiet_pillow(), ThreadPoolExecutor(min(_DECODERS, usable_cores())) as pool:
        results = list(pool.map(read, paths))
    good: list[Path] = []
    pictures: list[NDArray[np.uint8]] = []
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, DataError):
            on_unreadable(path, result)
        else:
            good.append(path)
            pictures.append(result)
    return good, np.stack(pictures) if pictures else np.zeros((0, image_pixels, image_pixels, 3), np.uint8)


def predict_files(
    predictor: Predictor,
    paths: Sequence[Path],
    on_unreadable: Callable[[Path, DataError], None],
    batch_size: int | None = None,
) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """Each readable file with its class probabilities float32 (C,), in order, as soon as its batch is done.

    batch_size: None: as in the model's evaluation. on_unreadable: as read_squares."""
    size = batch_size or predictor.batch_size
    with progress.track("predict", len(paths), "images") as bar:
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            good, pictures = read_squares(batch, predictor.image_pixels, on_unreadable)
            yield from zip(good, predictor.probabilities(pictures, size), strict=True)
            bar.advance(len(batch))
