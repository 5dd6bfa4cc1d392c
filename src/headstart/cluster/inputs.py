"""What trials read, on its way to the nodes: the data set and the weights, each once a node, known by hash.

Ray keeps one copy of an object on each node, which all processes there read in place. Weights are files to
the program: the first process of a node that needs one writes it into the node's cache.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data.download import downloads_folder
from headstart.errors import DataError
from headstart.models.weight_names import KERAS_RESNET50_FILE, TORCHVISION_FILES, is_url, weights_folder
from headstart.models.weights import file_hash, local_file, use_copy
from headstart.runtime.mapped import blocks
from headstart.store import StoredArm
from headstart.types import Arm, Dataset, ImageSet


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights. weights: as an arm names them. place: below the cache; "" where the arm gives the
    path of a file, which need not be there on a node."""

    weights: str
    place: str
    sha256: str


def weights_files(arms: Iterable[Arm | StoredArm]) -> dict[WeightsFile, Path]:
    """The files that the arms' weights lie in here, each by where a node has it. Weights that an installed
    package or timm brings are none: each node has or fetches them itself."""
    paths = {}
    for model, weights in sorted({(arm.model, arm.weights) for arm in arms if arm.weights != "none"}):
        path = _path(model, weights)
        if path is None or not path.is_file():
            continue
        is_cached = path.is_relative_to(store.cache_folder())
        place = path.relative_to(store.cache_folder()).as_posix() if is_cached else ""
        paths[WeightsFile(weights=weights, place=place, sha256=file_hash(path))] = path
    return paths


def _path(model: str, weights: str) -> Path | None:
    if weights == "imagenet-keras":
        return weights_folder() / KERAS_RESNET50_FILE
    if weights in TORCHVISION_FILES:
        name = TORCHVISION_FILES[weights].get(model)
        return None if name is None else downloads_folder() / name
    if is_url(weights) or Path(weights).is_file():
        return Path(local_file(weights))
    return None


def place_weights(file: WeightsFile, content: NDArray[np.uint8]) -> None:
    """Makes a file of weights readable on this node: in its cache, or as the copy of a path that is not here.

    Raises: StoreError; DataError where the content is not what was sent."""
    own = Path(file.weights)
    if not file.place and own.is_file() and file_hash(own) == file.sha256:
        return
    path = store.cache_folder() / (file.place or f"weights/sent/{file.sha256}{own.suffix}")
    if not (path.is_file() and file_hash(path) == file.sha256):
        if hashlib.sha256(content.data).hexdigest() != file.sha256:
            raise DataError(f"the weights {file.weights} came damaged; run the same command again")
        with store.replacing(path) as target:
            target.write(content.data)
    if not file.place:
        use_copy(file.weights, path)


def content_hash(dataset: Dataset) -> str:
    """SHA-256 (hex) over all arrays of a data set."""
    content = hashlib.sha256()
    for part in (dataset.train, dataset.test):
        for array in (part.images, part.labels, part.groups):
            if array is not None:
                content.update(f"{array.shape} {array.dtype}".encode())
                for block in blocks(array):
                    content.update(block.data)
    return content.hexdigest()


def sendable(dataset: Dataset) -> Dataset:
    """The data set with plain arrays, which Ray shares between the processes of a node."""
    return dataclasses.replace(dataset, train=_plain(dataset.train), test=_plain(dataset.test))


def _plain(part: ImageSet) -> ImageSet:
    images, labels = np.asarray(part.images), np.asarray(part.labels)
    groups = None if part.groups is None else np.asarray(part.groups)
    return dataclasses.replace(part, images=images, labels=labels, groups=groups)


_WHOLE: set[str] = set()


def require_whole(dataset: Dataset, sha256: str) -> None:
    """Compares a data set with what was sent, once a process. Raises: DataError."""
    if sha256 not in _WHOLE:
        if content_hash(dataset) != sha256:
            raise DataError(f"the data set {dataset.title} came damaged; run the same command again")
        _WHOLE.add(sha256)
