"""Durations: what is written becomes steps, and what was spent is taken off."""

from __future__ import annotations

import pytest

from headstart.errors import ConfigError
from headstart.training.durations import Spent, parse_duration, resolve_steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("2 epochs", 6),
        ("1 epoch", 3),
        ("2.5 epochs", 8),
        ("7 steps", 7),
        ("10 seconds", 20),
        ("0.5 PFLOP", 25),
        ("0.02 PFLOP, at least 2 epochs", 6),
    ],
)
def test_durations_are_converted_to_steps(text: str, steps: int) -> None:
    assert resolve_steps(text, steps_per_epoch=3, seconds_per_step=lambda: 0.5, flops_per_step=2e13) == steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("2 epochs", 6),
        ("7 steps", 7),
        ("10 seconds", 12),
        ("0.5 PFLOP", 20),
        ("3 seconds", 1),
        ("0.05 PFLOP", 1),
    ],
)
def test_what_was_spent_before_training_is_taken_off_seconds_and_operations_alone(
    text: str, steps: int
) -> None:
    spent = Spent(seconds=4.0, flops=10**14)
    assert resolve_steps(text, 3, lambda: 0.5, 2e13, spent) == steps


@pytest.mark.parametrize(
    "text", ["2", "epochs", "-1 epochs", "0 steps", "nan epochs", "3 fortnights", "", "3 epochs, at most"]
)
def test_a_duration_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r'is not like "2\.5 epochs"'):
        parse_duration(text)
