"""What the processor is and can do, without torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.runtime import cores
from headstart.runtime.cores import sensible_counts


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [2, 1]), (3, [3, 1]), (4, [4, 2, 1]), (64, [64, 32, 16])]
)
def test_all_cores_half_and_a_fourth_of_them_are_tried(cores: int, counts: list[int]) -> None:
    assert sensible_counts(cores) == counts


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        (
            "model name\t: A\nflags\t\t: fpu avx2 amx_tile\nflags\t\t: other\n",
            frozenset({"fpu", "avx2", "amx_tile"}),
        ),
        ("processor : 0\n", None),
    ],
)
def test_instructions_are_those_of_the_first_core(
    text: str, listed: frozenset[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cores, "_CPUINFO", tmp_path / "cpuinfo")
    assert cores.instructions() == listed
    monkeypatch.setattr(cores, "_CPUINFO", tmp_path / "absent")
    assert cores.instructions() is None
