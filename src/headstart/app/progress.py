"""How `headstart advise` gets on, from its events.jsonl: candidates, accuracy so far, time left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.advise.events import FILE

_MOST_BYTES = 5_000_000


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
        kind = event["kind"]
        if kind == "started":
            images, minutes = event["images"], event["minutes"]
        elif kind == "candidate_started":
            candidates[event["candidate"]] = CandidateSoFar(
                name=event["candidate"], label=event["label"], pixels=event["pixels"]
            )
        elif kind == "accuracy_so_far":
            before = candidates.get(event["candidate"])
            candidates[event["candidate"]] = CandidateSoFar(
                name=event["candidate"],
                label=event["label"],
                pixels=before.pixels if before else 0,
                accuracy=event["accuracy"],
                interval=(event["interval"][0], event["interval"][1]),
                seconds=event["seconds"],
            )
            best = event["candidate"] if event["best"] else best
    return Progress(
        images=images,
        minutes=minutes,
        minutes_left=events[-1]["minutes_left"],
        candidates=tuple(candidates.values()),
        best=best,
        passed_over=tuple(event["reason"] for event in events if event["kind"] == "passed_over"),
        is_answered=events[-1]["kind"] == "answered",
    )


def _events(path: Path) -> list[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).split(b"\n")
    except OSError:
        return []
    events: list[Mapping[str, Any]] = []
    for line in lines[:-1]:  # the last one may still be written
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "kind" in event:
            events.append(event)
    return events
