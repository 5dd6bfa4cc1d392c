"""Accuracies over label budgets."""

from __future__ import annotations

from headstart.plots.labels import _with_room


def test_ticks_that_would_touch_are_left_unnamed_those_of_fewest_lines_first() -> None:
    ticks = {1: "1", 2: "2", 5: "5", 10: "10", 20: "20", 50: "50", 100: "100", 500: "500", 1000: "1,000"}
    ticks[4500] = "all\n(4,500)"
    frozen, every = (2, 20, 100, 1000), (10, 50, 500, 4500)
    lines = {place: 2 if place in frozen else 10 if place in every else 3 for place in ticks}
    assert _with_room(ticks, lines) == set(ticks) - {100, 1000}
    assert _with_room({10: "10", 500: "500"}, {10: 1, 500: 1}) == {10, 500}
