"""Which images the chosen model confuses: what was said of held-out images, cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from headstart import store
from headstart.data import load_dataset
from headstart.errors import DataError
from headstart.store.names import Name
from headstart.store.remedies import CACHED
from headstart.types import Dataset

# advice.json's "how" where the images are those that the model learned from, each judged by another model.
_JUDGED_BY_OTHERS = ("folds", "fifth")
_READING = RLock()  # a page asks for many images at once: they are read once


class _Chosen(BaseModel):
    """The candidate that the answer is about. key: names its folder; empty: the project's own."""

    key: Name | Literal[""]


class Answer(BaseModel):
    """What the app reads of advice.json. how: "folds" where every image was judged by a model that had not
    learned from it. lines: what is said; older files have its first three as values of their own."""

    how: str = ""
    chosen: _Chosen | None = None
    lines: Annotated[list[str], Field(max_length=1000)] = []
    sentence: str = ""
    guessing: str = ""
    command: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> Answer:
        if not self.lines and not self.sentence:
            raise ValueError("it says nothing")
        return self

    @property
    def by_folds(self) -> bool:
        return self.how in _JUDGED_BY_OTHERS

    def first_lines(self) -> list[str]:
        """The lines of an older file."""
        return [each for each in (self.sentence, self.guessing, self.command) if each]


def read_answer(folder: Path) -> Answer | None:
    """advice.json, as `headstart advise` writes it; None where there is none. Raises: DamagedError."""
    path = folder / "advice.json"
    if not path.exists():
        return None
    answer = store.read_as(Answer, path, CACHED)
    return answer if answer.lines else answer.model_copy(update={"lines": answer.first_lines()})


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
    with _READING:
        return _read(folder, _state(folder))


def read_images(folder: Path) -> Dataset:
    """The images that the model of a project learned from and was tested on; without an answer, those of its
    description. Raises: HeadstartError where they cannot be read."""
    answer = read_answer(folder)
    name = "all-images.toml" if answer is not None and answer.by_folds else "images.toml"
    with _READING:
        return _images(folder, name, _state(folder))


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
    answer = read_answer(folder)
    if answer is None or answer.chosen is None:
        raise DataError("the advice names no chosen candidate; ask for advice again")
    test = store.read_test(folder / answer.chosen.key)
    dataset = read_images(folder)
    images = dataset.train if answer.by_folds else dataset.test
    ids = test.example_ids
    others = not len(ids) or ids.min() < 0 or ids.max() >= len(images)
    others = others or test.logits.shape[1] != len(images.class_names)
    if others or (np.asarray(images.labels)[ids] != test.labels).any():
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
