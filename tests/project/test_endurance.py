"""What the endurance run says of memory and descriptors."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
endurance = importlib.import_module("endurance")
Sample = endurance.Sample


def process(trials: int, megabytes: float, grows: float = 0.0, descriptors: float = 0.0) -> list:
    """Ten seconds of imports, then a trial every second."""
    starting = [Sample(second, 0, 10.0 * second, 5) for second in range(10)]
    running = [
        Sample(10 + each, each, megabytes + grows * each, round(16 + descriptors * each))
        for each in range(trials)
    ]
    return starting + running


def test_imports_and_processes_of_other_sizes_are_no_growth() -> None:
    assert endurance.growth([process(10, 300), process(30, 400)]) == (0, 0, 9 - 2 + 29 - 2)


def test_what_grows_with_each_trial_is_its_slope() -> None:
    megabytes, descriptors, trials = endurance.growth([process(20, 300, 0.5, 1), process(9, 900, 0.5, 1)])
    assert (megabytes, descriptors) == pytest.approx((0.5, 1)) and trials == 17 + 6


def test_a_process_with_few_trials_says_nothing() -> None:
    assert endurance.growth([process(3, 300), []]) is None
    assert "nothing can be said" in endurance._growth_rows(endurance.Tally(), None)[0][1]
