"""The tests that compute hold on an older processor: oneDNN and torch limited to AVX2, one thread."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
processors = importlib.import_module("processors")

ASK = """
import torch
from headstart.runtime.precision import has_native_bf16
print(torch.backends.cpu.get_cpu_capability(), has_native_bf16(torch.device("cpu")), torch.get_num_threads())
"""


def test_every_combination_of_limits_is_one_of_all() -> None:
    assert len(processors.ALL) == len(set(processors.ALL)) == 24
    assert set(processors.TELLING) <= set(processors.ALL)
    assert str(processors.OLDEST) == "oneDNN AVX2, torch avx2, 1 thread"
    unlimited = processors.ALL[-1].variables()  # but for the threads
    assert unlimited == {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}


def test_a_processor_that_this_one_cannot_play_is_left_out() -> None:
    played = [each for each in processors.ALL if processors.can_play(each, has_avx512=False)]
    assert {each.aten for each in played} == {"avx2", "default"} and len(played) == 16
    assert all(processors.can_play(each, has_avx512=True) for each in processors.ALL)


def test_folders_with_numbers_are_there() -> None:
    assert [path for path in processors.NUMERIC if not (ROOT / path).exists()] == []


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the limits are those of x86 processors")
def test_a_limited_process_computes_as_an_older_processor_would() -> None:
    environment = os.environ | processors.OLDEST.variables()
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["AVX2", "False", "1"]


@pytest.mark.slow
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the limits are those of x86 processors")
def test_the_numbers_hold_on_the_oldest_processor() -> None:
    done = processors.run(processors.OLDEST)
    assert done.returncode == 0, done.stdout
