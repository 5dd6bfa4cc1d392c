"""The minutes that `headstart advise` was given: what is spent, what is left, and who hears of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from headstart.advise.events import Observer, ignore

_LEAST_MEASURED = 0.5  # processor seconds
_SLOWEST = 8.0


@dataclass(kw_only=True)
class Timekeeper:
    """minutes: that were asked for. started: time.monotonic() when the command began. spent_before: seconds
    of earlier runs of the same command. observe: hears every event. slowness: wall seconds of what one thread
    computes in a second here, at least 1: other programs take their share."""

    minutes: float
    started: float = field(default_factory=time.monotonic)
    spent_before: float = 0.0
    observe: Observer = ignore
    slowness: float = 1.0

    def spent(self) -> float:
        """Seconds, those of earlier runs of the same command among them."""
        return self.spent_before + time.monotonic() - self.started

    def left(self) -> float:
        """Seconds; negative where the minutes are over."""
        return 60 * self.minutes - self.spent()

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Takes what is computed in the block as the measure of `slowness`."""
        wall, processor = time.monotonic(), time.process_time()
        yield
        wall, processor = time.monotonic() - wall, time.process_time() - processor
        if processor >= _LEAST_MEASURED:
            self.slowness = min(max(wall / processor, 1.0), _SLOWEST)

    @property
    def minutes_left(self) -> float:
        """For an event: never negative."""
        return round(max(self.left(), 0.0) / 60, 3)
