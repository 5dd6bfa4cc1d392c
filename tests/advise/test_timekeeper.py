"""The minutes of advise: what other programs take is measured, and kept for the end."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from headstart.advise import timekeeper
from headstart.advise.pace import Pace
from headstart.advise.timekeeper import Timekeeper


def _computed(keeper: Timekeeper, monkeypatch: pytest.MonkeyPatch, wall: float, processor: float) -> None:
    clocks = SimpleNamespace(
        monotonic=iter((10.0, 10.0 + wall)).__next__, process_time=iter((5.0, 5.0 + processor)).__next__
    )
    monkeypatch.setattr(timekeeper, "time", clocks)
    with keeper.computing():
        pass
    monkeypatch.setattr(timekeeper, "time", time)


def test_a_busy_machine_is_noticed_by_what_a_second_of_computing_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keeper = Timekeeper(minutes=1)
    _computed(keeper, monkeypatch, wall=6.0, processor=2.0)
    assert keeper.slowness == 3.0
    _computed(keeper, monkeypatch, wall=9.0, processor=0.1)  # too short to say anything
    assert keeper.slowness == 3.0
    _computed(keeper, monkeypatch, wall=1.0, processor=2.0)  # two threads
    assert keeper.slowness == 1.0
    _computed(keeper, monkeypatch, wall=900.0, processor=2.0)
    assert keeper.slowness == 8.0


def test_more_is_kept_for_the_end_where_the_machine_is_busy_and_heads_take_long() -> None:
    keeper = Timekeeper(minutes=10)
    pace = Pace(None, keeper)  # type: ignore[arg-type]
    idle = pace.rest
    keeper.slowness, pace.head = 3.0, 20.0
    assert pace.rest == pytest.approx(3 * idle + 26)
    assert pace.left() == pytest.approx(600 - pace.rest, abs=1)
