"""Show progress: the step, how far it is, the time left. Steps of under a second are silent.

A live bar on a terminal; elsewhere (logs, pipes) a plain line every 30 seconds. Everything goes to
standard error, so standard output stays for results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from headstart.runtime.show import without_controls

_console = Console(stderr=True)
_LOG_EVERY_SECONDS = 30.0
_QUIET_SECONDS = 1.0


def say(text: str) -> None:
    """Print one line on standard error."""
    _console.print(without_controls(text), highlight=False, markup=False, soft_wrap=True)


@cache
def say_once(text: str) -> None:
    """Print one line on standard error, the first time that it is to be said in this process."""
    say(text)


@contextmanager
def quietly() -> Iterator[None]:
    """Print nothing in the block: what calls it says more than its steps."""
    before, _console.quiet = _console.quiet, True
    try:
        yield
    finally:
        _console.quiet = before


def be_quiet() -> None:
    """Print nothing from this process from here on: another process speaks for it."""
    _console.quiet = True


class Track:
    """A running step of `total` units."""

    def __init__(self, what: str, total: float, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0.0
        self.remark = ""
        self._start = time.monotonic()
        self._last = self._start
        self._bar: Progress | None = None

    def advance(self, amount: float = 1.0) -> None:
        """Move the step forward."""
        self.done += amount
        self._show()

    def note(self, remark: str) -> None:
        """Show a short remark beside the step."""
        self.remark = remark
        self._show()

    def _show(self) -> None:
        now = time.monotonic()
        if sys.stderr.isatty():
            if self._bar is None and now - self._start > _QUIET_SECONDS:
                self._bar = Progress(
                    TextColumn("{task.description}", markup=False),
                    BarColumn(),
                    TextColumn("{task.percentage:3.0f} %"),
                    TimeElapsedColumn(),
                    TimeRemainingColumn(),
                    TextColumn("{task.fields[remark]}", markup=False),
                    console=_console,
                    transient=True,
                )
                self._task = self._bar.add_task(self.what, total=self.total, remark="")
                self._bar.start()
            if self._bar is not None:
                self._bar.update(self._task, completed=self.done, remark=self.remark)
        elif now - self._last > _LOG_EVERY_SECONDS and self.done:
            self._last = now
            left = (now - self._start) * max(self.total - self.done, 0) / self.done
            say(
                f"{self.what}: {self.done:,.0f} of {self.total:,.0f} {self.unit}, {clock(left)} left  "
                f"{self.remark}".rstrip()
            )

    def close(self) -> None:
        """End the step; print how long it took."""
        if self._bar is not None:
            self._bar.stop()
        seconds = time.monotonic() - self._start
        if seconds > _QUIET_SECONDS:
            say(f"{self.what}: {self.done:,.0f} {self.unit} in {clock(seconds)}  {self.remark}".rstrip())


def clock(seconds: float) -> str:
    """Format a duration: "12 s", "3 min 05 s", "2 h 40 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def track(what: str, total: float, unit: str = "") -> Iterator[Track]:
    """Show the progress of one step; closes itself, also when the step fails."""
    bar = Track(what, total, unit)
    try:
        yield bar
    finally:
        bar.close()
