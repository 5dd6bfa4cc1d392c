"""Image files as a model takes them: found in folders, decoded, cut square, predicted batch by batch."""

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
from headstart.types import DEFAULT_READING, Reading

_DECODERS = 4  # threads, each holding one decoded image

OnUnreadable = Callable[[Path, DataError], None]


def find_images(paths: Sequence[str | Path]) -> tuple[list[Path], int]:
    """The image files among files and folders, and the number of other files in the folders.

    Folders are searched to the bottom, in the order of their names, picking files by their suffix; hidden
    files and folders are passed over and links to folders are not followed. A file named by itself is always
    taken, whatever it is called.
    Raises: DataError for a path that is not there, or where there is no image."""
    images: list[Path] = []
    others = 0
    for path in map(Path, paths):
        if path.is_dir():
            own, own_others = _images_in(path)
            images += own
            others += own_others
        elif path.exists():
            images.append(path)
        else:
            raise DataError(f"{path} is not there; give image files or folders of them")
    if not images:
        raise DataError(f"no images in {', '.join(map(str, paths))}; looked for {' '.join(IMAGE_SUFFIXES)}")
    return images, others


def _images_in(folder: Path) -> tuple[list[Path], int]:
    images: list[Path] = []
    others = 0
    for home, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names = sorted(
            name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
        )
        images += [Path(home, name) for name in names]
        others += len(files) - len(names)
    return images, others


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
) -> Iterator[tuple[Path, NDArray[np.float32]]]:
    """Yield each readable file with its class probabilities float32 (C,), in order, as soon as its batch is
    done.

    batch_size: None: as in the model's evaluation. on_unreadable: as in `read_squares`."""
    size = batch_size or predictor.batch_size
    with progress.track("predict", len(paths), "images") as bar:
        for start in range(0, len(paths), size):
            batch = paths[start : start + size]
            readable, images = read_squares(
                batch, predictor.image_pixels, on_unreadable, predictor.saved.reading
            )
            yield from zip(readable, predictor.probabilities(images, size), strict=True)
            bar.advance(len(batch))
