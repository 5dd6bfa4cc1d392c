"""Which trials a shard begins with, and how it is named."""

from __future__ import annotations

import pytest

from headstart.errors import ConfigError
from headstart.studies.shard import Shard


def test_a_shard_begins_with_its_own_and_then_helps_from_the_far_end() -> None:
    assert Shard.of("2/3").order(list(range(1, 9))) == [2, 5, 8, 7, 6, 4, 3, 1]
    assert Shard.of("3/3").order([1]) == [1]


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "1/4/2", "a/b", "1/9999999"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--shard '.*' is not I/N with I from 1 to N, e\.g\. 2/4$"):
        Shard.of(text)


def _array(task: int, count: int, first: int, last: int) -> dict[str, str]:
    names = ("ID", "COUNT", "MIN", "MAX")
    return {
        f"SLURM_ARRAY_TASK_{name}": str(value)
        for name, value in zip(names, (task, count, first, last), strict=True)
    }


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, None),
        (_array(0, 4, 0, 3), "1/4"),  # --array=0-3
        (_array(4, 4, 1, 4), "4/4"),  # --array=1-4
        (_array(15, 3, 5, 25), "2/3"),  # --array=5-25:10
        (_array(7, 1, 7, 7), "1/1"),  # --array=7, one that failed before
    ],
)
def test_the_place_in_a_job_array_does_not_depend_on_where_its_ids_begin(
    environment: dict[str, str], shard: str | None
) -> None:
    of_array = Shard.of_array(environment)
    assert (None if of_array is None else str(of_array)) == shard


@pytest.mark.parametrize(
    "environment",
    [
        _array(3, 3, 1, 7),  # --array=1,3,7
        {"SLURM_ARRAY_TASK_ID": "3"},
        _array(9, 4, 0, 3),
    ],
)
def test_an_array_without_a_regular_step_must_say_the_shard(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"no regular step \(SLURM_ARRAY_TASK_: ID .*; say --shard I/N$"):
        Shard.of_array(environment)
