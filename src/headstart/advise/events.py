"""What `headstart advise` says of its progress, for programs: typed events, one JSON object a line in
events.jsonl."""

from __future__ import annotations

import dataclasses
import datetime
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from headstart.store import disk_errors

FILE = "events.jsonl"


@dataclass(frozen=True, kw_only=True)
class Event:
    """What happened. minutes_left: of the minutes that were asked for, never negative."""

    kind: ClassVar[str]
    minutes_left: float


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """The images are read and checked."""

    kind = "started"
    images: int
    classes: tuple[str, ...]
    minutes: float


@dataclass(frozen=True, kw_only=True)
class CandidateStarted(Event):
    """A candidate begins. pixels: side of the network's input."""

    kind = "candidate_started"
    candidate: str
    label: str
    pixels: int


@dataclass(frozen=True, kw_only=True)
class AccuracySoFar(Event):
    """A candidate was read. accuracy: 0..1, with its 95 % interval, on `images` images that it did not learn
    from; seconds: that it has taken. best: whether it is the best so far."""

    kind = "accuracy_so_far"
    candidate: str
    label: str
    accuracy: float
    interval: tuple[float, float]
    images: int
    seconds: float
    best: bool


@dataclass(frozen=True, kw_only=True)
class PassedOver(Event):
    """Something was not tried, or not further. reason: in words, the candidate first."""

    kind = "passed_over"
    reason: str


@dataclass(frozen=True, kw_only=True)
class Answered(Event):
    """The end. sentence: the recommendation; model: the folder of the saved model."""

    kind = "answered"
    sentence: str
    accuracy: float
    interval: tuple[float, float]
    model: str
    interrupted: bool


Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """The observer that does nothing."""


@contextmanager
def event_log(folder: Path, observer: Observer = ignore, began: float | None = None) -> Iterator[Observer]:
    """An observer that writes every event into folder/events.jsonl at once, then passes it on to `observer`.

    A line: kind, time (ISO 8601, UTC), elapsed_seconds since the command began, and the event's fields.
    began: time.monotonic() then; None: now. The file begins anew. Raises: StoreError where it cannot be
    written."""
    start = time.monotonic() if began is None else began
    path = folder / FILE
    with disk_errors(path):
        file = path.open("w", encoding="utf-8")

    def observe(event: Event) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        head = {"kind": event.kind, "time": now, "elapsed_seconds": round(time.monotonic() - start, 3)}
        with disk_errors(path):
            file.write(json.dumps(head | dataclasses.asdict(event)) + "\n")
            file.flush()
        observer(event)

    with file:
        yield observe
