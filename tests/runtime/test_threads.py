"""How numbers of threads are timed; which one wins is the machine's affair."""

from __future__ import annotations

import pytest
import torch

from headstart.runtime import threads


def test_the_number_of_threads_is_put_back_also_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), threads.use_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_numbers_of_threads_take_turns_and_the_first_turn_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[int] = []
    seconds = {3: iter([9.0, 0.4, 0.1, 0.2]), 1: iter([9.0, 0.5, 0.7, 0.6])}
    now = [0.0]

    def step() -> None:
        turns.append(torch.get_num_threads())
        now[0] += next(seconds[turns[-1]])

    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])
    taken = threads.seconds_by_count(step, [3, 1])
    assert turns == [3, 1] * 4
    assert taken == pytest.approx({3: 0.2, 1: 0.6})
