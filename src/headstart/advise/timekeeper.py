"""The minutes that `headstart advise` was given: what is spent, what is left, and who hears of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from headstart.advise.events import Observer, ignore


@dataclass(kw_only=True)
class Timekeeper:
    """minutes: that were asked for. started: time.monotonic() when the command began. spent_before: seconds
    of earlier runs of the same command. observe: hears every event."""

    minutes: float
    started: float = field(default_factory=time.monotonic)
    spent_before: float = 0.0
    observe: Observer = ignore

    def spent(self) -> float:
        """Seconds, those of earlier runs of the same command among them."""
        return self.spent_before + time.monotonic() - self.started

    def left(self) -> float:
        """Seconds; negative where the minutes are over."""
        return 60 * self.minutes - self.spent()

    @property
    def minutes_left(self) -> float:
        """For an event: never negative."""
        return round(max(self.left(), 0.0) / 60, 3)
