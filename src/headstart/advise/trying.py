"""What both ways of comparing candidates share: the time, what is said, what was passed over."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from headstart import store
from headstart.advise.candidates import Candidate
from headstart.advise.events import AccuracySoFar, CandidateStarted, PassedOver
from headstart.advise.images import UserImages
from headstart.advise.rung import Rung
from headstart.advise.timekeeper import Timekeeper
from headstart.advise.wording import fixes_of
from headstart.errors import StoreError
from headstart.runtime import progress
from headstart.store.remedies import CACHED
from headstart.types import Dataset

_LABELS_SHARE = 0.15  # of the time left: for the search for wrong labels


class Trying(ABC):
    """Candidates in the minutes that there are.

    plan: by name, the candidates as they were planned, by an earlier run of the same command too: planned
    anew they would have another duration. dropped: in words, what was left out and why."""

    def __init__(self, images: UserImages, folder: Path, *, time: Timekeeper, balance: bool) -> None:
        self.images, self.folder, self.time, self.balance = images, folder, time, balance
        self.rungs: list[Rung] = []
        self.dropped: list[str] = []
        self.fixes = fixes_of(images.inspection)
        self.interrupted = False
        time.spent_before, self.plan = _read_plan(folder, images.dataset, balance)

    @abstractmethod
    def climb(self) -> None:
        """Tries all candidates, in their order."""

    @abstractmethod
    def candidates(self) -> list[Candidate]:
        """What has been read so far, in the order of trying."""

    def run(self) -> None:
        """Climbs; an interruption ends the climb where a candidate has been read, else it is passed on."""
        try:
            self.climb()
        except KeyboardInterrupt:
            self.note_time()
            if not self.candidates():
                raise
            self.interrupted = True
            progress.say("interrupted: answering with what is known")
        self.note_time()

    def announce(self, rung: Rung) -> None:
        """Says that a candidate begins, and keeps it in the plan: an interruption must not plan it anew."""
        progress.say(f"now: {rung.label} at {rung.pixels} px, {self.clock_left()} left")
        left = self.time.minutes_left
        self.time.observe(
            CandidateStarted(minutes_left=left, candidate=rung.name, label=rung.label, pixels=rung.pixels)
        )
        self.plan[rung.name] = rung
        self.note_time()

    def tell(self, name: str) -> None:
        """Says what a candidate has reached so far."""
        candidates = self.candidates()
        this = next(each for each in candidates if each.name == name)
        low, high = this.interval
        progress.say(
            f"{this.label}: {100 * this.val_accuracy:.1f} % right ({100 * low:.1f} to {100 * high:.1f} %) on "
            f"{this.images:,} images that it had not learned from"
        )
        self.time.observe(
            AccuracySoFar(
                minutes_left=self.time.minutes_left,
                candidate=this.name,
                label=this.label,
                accuracy=this.val_accuracy,
                interval=this.interval,
                images=this.images,
                seconds=round(this.seconds, 3),
                best=this.score(self.balance) >= max(each.score(self.balance) for each in candidates),
            )
        )

    def pass_over(self, why: str) -> None:
        """Notes and says what is not tried, or not further."""
        self.dropped.append(why)
        progress.say(f"passed over: {why}")
        self.time.observe(PassedOver(minutes_left=self.time.minutes_left, reason=why))

    def clock_left(self) -> str:
        return progress.clock(max(self.time.left(), 0))

    def look_for_label_errors(self, seconds_per_image: float) -> None:
        """The check again, with label errors, where a little of the time left is enough."""
        count = len(self.images.dataset.train) + len(self.images.dataset.test)
        if count * seconds_per_image <= _LABELS_SHARE * self.time.left():
            self.fixes = fixes_of(self.images.inspect_labels(self.folder))
        else:
            self.pass_over(
                f"a search for wrong labels, for lack of time: headstart data check {self.images.path}"
            )

    def note_time(self) -> None:
        store.write_sealed(
            self.folder / "plan.json",
            {
                "fingerprint": self.images.dataset.fingerprint,
                "balance": self.balance,
                "spent_seconds": round(self.time.spent(), 1),
                "rungs": [dataclasses.asdict(rung) for rung in self.plan.values()],
            },
        )


def _read_plan(folder: Path, dataset: Dataset, balance: bool) -> tuple[float, dict[str, Rung]]:
    """Seconds spent and candidates planned by earlier runs of the same command; none for other images."""
    path = folder / "plan.json"
    try:
        plan = store.read_as(_PlanFields, path, CACHED) if path.exists() else None
        if plan is None or plan.fingerprint != dataset.fingerprint or plan.balance != balance:
            return 0.0, {}
        if unknown := [rung.name for rung in plan.rungs if not rung.is_known]:
            raise StoreError(f"it names a method or weights that there are not: {unknown[0][:100]}")
        return plan.spent_seconds, {rung.name: rung for rung in plan.rungs}
    except StoreError as error:
        progress.say(f"{path} is damaged ({error}): it is planned anew, and finished trials are kept")
        return 0.0, {}


class _PlanFields(BaseModel):
    """plan.json."""

    fingerprint: str
    balance: bool
    spent_seconds: Annotated[float, Field(ge=0, le=1e9)]
    rungs: Annotated[list[Rung], Field(max_length=1000)]
