"""How `headstart advise` gets on, from its events.jsonl: candidates, accuracy so far, time left."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, TypeAdapter

from headstart.advise.events import FILE
from headstart.store.names import Text
from headstart.store.reading import parse_json
from headstart.store.schema import Pixels

_MOST_BYTES = 5_000_000


_Count = Annotated[int, Field(ge=0, le=10**12)]
_Minutes = Annotated[float, Field(ge=0, le=1e6)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Event(BaseModel):
    """A line of events.jsonl, as advise.events writes it."""

    minutes_left: _Minutes


class _Started(_Event):
    kind: Literal["started"]
    images: _Count
    minutes: _Minutes


class _CandidateStarted(_Event):
    kind: Literal["candidate_started"]
    candidate: Text
    label: Text
    pixels: Pixels


class _AccuracySoFar(_Event):
    kind: Literal["accuracy_so_far"]
    candidate: Text
    label: Text
    accuracy: _Share
    interval: tuple[_Share, _Share]
    seconds: Annotated[float, Field(ge=0, le=1e9)]
    best: bool


class _PassedOver(_Event):
    kind: Literal["passed_over"]
    reason: Annotated[str, Field(max_length=20_000)]


class _Answered(_Event):
    kind: Literal["answered"]


_KNOWN = ("started", "candidate_started", "accuracy_so_far", "passed_over", "answered")


def _unknown(kind: str) -> str:
    if kind in _KNOWN:
        raise ValueError("one of this version")
    return kind


class _Later(_Event):
    """Of a later version: only its time is read."""

    kind: Annotated[str, AfterValidator(_unknown)]


_AnyEvent = _Started | _CandidateStarted | _AccuracySoFar | _PassedOver | _Answered | _Later
_EVENT: TypeAdapter[_AnyEvent] = TypeAdapter(Annotated[_AnyEvent, Field(union_mode="left_to_right")])


@dataclass(frozen=True, kw_only=True)
class CandidateSoFar:
    """A candidate. accuracy, interval: on images kept for choosing, None while it is trained."""

    name: str
    label: str
    pixels: int
    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What the events say. best: the candidate's name, None before one was read."""

    images: int
    minutes: float
    minutes_left: float
    candidates: tuple[CandidateSoFar, ...]
    best: str | None
    passed_over: tuple[str, ...]
    is_answered: bool


def read_progress(folder: Path) -> Progress | None:
    """The progress of the last run of advise in a folder; None where it has said nothing yet."""
    events = _events(folder / FILE)
    if not events:
        return None
    candidates: dict[str, CandidateSoFar] = {}
    images, minutes, best = 0, 0.0, None
    for event in events:
        if isinstance(event, _Started):
            images, minutes = event.images, event.minutes
        elif isinstance(event, _CandidateStarted):
            candidates[event.candidate] = CandidateSoFar(
                name=event.candidate, label=event.label, pixels=event.pixels
            )
        elif isinstance(event, _AccuracySoFar):
            before = candidates.get(event.candidate)
            candidates[event.candidate] = CandidateSoFar(
                name=event.candidate,
                label=event.label,
                pixels=before.pixels if before else 0,
                accuracy=event.accuracy,
                interval=event.interval,
                seconds=event.seconds,
            )
            best = event.candidate if event.best else best
    return Progress(
        images=images,
        minutes=minutes,
        minutes_left=events[-1].minutes_left,
        candidates=tuple(candidates.values()),
        best=best,
        passed_over=tuple(event.reason for event in events if isinstance(event, _PassedOver)),
        is_answered=isinstance(events[-1], _Answered),
    )


def _events(path: Path) -> list[_AnyEvent]:
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).split(b"\n")
    except OSError:
        return []
    events: list[_AnyEvent] = []
    for line in lines[:-1]:  # the last one may still be written
        with suppress(ValueError, RecursionError):  # of a later version, or damaged
            events.append(_EVENT.validate_python(parse_json(line)))
    return events
