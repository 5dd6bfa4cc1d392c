"""Which images the chosen model confuses: what was said of held-out images, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data import load_dataset
from headstart.errors import DataError
from headstart.types import Dataset


@dataclass(frozen=True, kw_only=True)
class CellImage:
    """place: among the held-out images. name: of its file, None: unknown. probability: of what was said."""

    place: int
    name: str | None
    probability: float


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Held-out images of one class that one class was said of, the surest mistakes first."""

    true: str
    predicted: str
    images: tuple[CellImage, ...]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """counts: int64 (C, C), a row a true class. images: uint8 (N, S, S, 3), held out."""

    class_names: tuple[str, ...]
    counts: NDArray[np.int64]
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    said: NDArray[np.int64]
    sureness: NDArray[np.float64]
    names: NDArray[np.str_] | None

    def cell(self, true: int, predicted: int) -> Cell | None:
        """The images of a cell; None where there is no such cell."""
        if not (0 <= true < len(self.class_names) and 0 <= predicted < len(self.class_names)):
            return None
        places = np.nonzero((self.labels == true) & (self.said == predicted))[0]
        order = places[np.argsort(-self.sureness[places], kind="stable")]
        return Cell(
            true=self.class_names[true],
            predicted=self.class_names[predicted],
            images=tuple(
                CellImage(
                    place=int(place),
                    name=None if self.names is None else str(self.names[place]),
                    probability=float(self.sureness[place]),
                )
                for place in order
            ),
        )


def read_confusion(folder: Path) -> Confusion | None:
    """The confusion of the chosen model of an advice; None where there is no advice.

    Raises: HeadstartError where the images are others by now."""
    path = folder / "advice.json"
    if not path.exists():
        return None
    return _read(folder, _state(folder))


# advice.json's "how" where the images are those that the model learned from, each judged by another model.
_JUDGED_BY_OTHERS = ("folds", "fifth")


def read_images(folder: Path) -> Dataset:
    """The images that the model of a project learned from and was tested on; without an answer, those of its
    description. Raises: HeadstartError where they cannot be read."""
    answer = folder / "advice.json"
    by_folds = answer.exists() and store.read_json(answer).get("how") in _JUDGED_BY_OTHERS
    return _images(folder, "all-images.toml" if by_folds else "images.toml", _state(folder))


def _state(folder: Path) -> object:
    return tuple(
        (each, file.stat().st_mtime_ns if (file := folder / each).exists() else 0)
        for each in ("advice.json", "images.toml", "all-images.toml", "decisions.csv")
    )


@lru_cache(maxsize=4)
def _images(folder: Path, name: str, state: object) -> Dataset:
    return load_dataset(folder / name)


@lru_cache(maxsize=4)
def _read(folder: Path, state: object) -> Confusion:
    answer = store.read_json(folder / "advice.json")
    test = store.read_predictions(folder / str(answer["chosen"]["key"]))["test"]
    by_folds = answer.get("how") in _JUDGED_BY_OTHERS
    dataset = read_images(folder)
    images = dataset.train if by_folds else dataset.test
    ids = test.example_ids
    if not len(ids) or ids.max() >= len(images) or (np.asarray(images.labels)[ids] != test.labels).any():
        raise DataError("the images are others since the advice; ask for advice again")
    shifted = np.exp(test.logits.astype(np.float64) - test.logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    said = test.logits.argmax(axis=1)
    count = len(images.class_names)
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (test.labels, said), 1)
    return Confusion(
        class_names=images.class_names,
        counts=counts,
        images=images.images if len(ids) == len(images) else images.images[ids],
        labels=test.labels,
        said=said,
        sureness=probabilities[np.arange(len(said)), said],
        names=None if images.names is None else images.names[ids],
    )
