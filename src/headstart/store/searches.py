"""tuning.json: a search for an arm's recipe, with every candidate that it trained.

Files of every version are read: what one lacks has a default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.store.reading import checked, read_table
from headstart.store.remedies import SEARCH as REMEDY
from headstart.store.schema import SearchFields
from headstart.types import LabelBudget, Proxy

FILE = "tuning.json"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One set of hyperparameters that a search trained with.

    number: from 1, in the order of the search. values: of what is searched, by name. accuracy, nll: on all
    held-out images together; None where training diverged, for the reason that `failed` gives. seconds: of
    wall time, 0 where an earlier candidate had the same values. train_images: of the largest part that was
    trained on.
    """

    number: int
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    accuracy: float | None = None
    nll: float | None = None
    seconds: float = 0.0
    failed: str = ""
    train_images: int | None = None
    validation_images: int | None = None

    def stored(self) -> dict[str, Any]:
        """As tuning.json holds it; of a failed one there are no numbers of images."""
        fields = dataclasses.asdict(self)
        number = fields.pop("number")
        for name in ("train_images", "validation_images"):
            if fields[name] is None:
                del fields[name]
        return {**fields, "number": number}


@dataclass(frozen=True, kw_only=True)
class SearchedHyperparameter:
    """A hyperparameter of a search space: a range from low to high, or one of `values`; the other is None.

    log: whether the range is searched in its logarithm."""

    name: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    values: tuple[Any, ...] | None = None

    @classmethod
    def from_stored(cls, value: Mapping[str, Any]) -> SearchedHyperparameter:
        values = value.get("values")
        return cls(**{**value, "values": None if values is None else tuple(values)})


@dataclass(frozen=True, kw_only=True)
class FullLength:
    """Validation accuracies (0..1) of whole trials: with the arm's own recipe and with the tuned one, means
    over so many seeds."""

    own: float
    tuned: float
    seeds: int


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """A search as its folder describes it.

    question: the digest of what it was asked. tries_asked: how many candidates it should have. best: the
    chosen candidate; None where all failed. full_length: None where no whole trials were compared."""

    question: str
    arm: str
    label_budget: LabelBudget
    candidates: tuple[Candidate, ...]
    tries_asked: int
    best: Candidate | None
    proxy: Proxy
    space: tuple[SearchedHyperparameter, ...]
    full_length: FullLength | None

    @classmethod
    def from_stored(cls, value: Mapping[str, Any]) -> SearchRecord:
        candidates = tuple(Candidate(**row) for row in value["tries"])
        full = value.get("full_length")
        return cls(
            question=value.get("question", ""),
            arm=value["arm"],
            label_budget=LabelBudget(value["labels_per_class"]),
            candidates=candidates,
            tries_asked=value.get("tries_asked", len(candidates)),
            best=next((each for each in candidates if each.number == value.get("best")), None),
            proxy=Proxy(**value.get("proxy", {})),
            space=tuple(SearchedHyperparameter.from_stored(each) for each in value.get("space", ())),
            full_length=FullLength(own=full["own"], tuned=full["found"], seeds=full["seeds"])
            if full
            else None,
        )


def read_search(path: Path) -> SearchRecord:
    """What a tuning.json says of its search. Raises: StoreError where it is missing; DamagedError where it
    makes no sense."""
    value = read_table(path, REMEDY)
    checked(SearchFields, value, path, REMEDY)
    return SearchRecord.from_stored(value)


def study_searches(folder: Path) -> list[SearchRecord]:
    """The searches in a study's folder, by the names of their folders. Raises: as read_search."""
    return [read_search(path) for path in sorted(folder.glob(f"tuning/*/{FILE}"))]
