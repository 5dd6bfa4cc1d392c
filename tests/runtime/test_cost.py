"""What is measured of cost: operations by hand, phases, peak memory, the allocator's settings."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from headstart.runtime.cost import Stopwatch, count_flops, peak_memory_bytes, reset_peak_memory
from headstart.runtime.memory import keep_freed_memory


def test_operations_of_a_convolution_are_counted_by_hand() -> None:
    conv = nn.Conv2d(3, 8, 3, padding=1)
    with torch.no_grad():
        out, flops = count_flops(lambda: conv(torch.zeros(2, 3, 4, 4)))
    assert out.shape == (2, 8, 4, 4)
    assert flops == 2 * (2 * 8 * 4 * 4) * (3 * 3 * 3)  # a multiply and an add for each weight of each output


def test_phases_add_up_and_survive_an_error() -> None:
    watch = Stopwatch()
    watch.carry("train", 2.0)
    watch.carry("train", 3.0)
    try:
        with watch.phase("evaluate"):
            raise KeyError
    except KeyError:
        pass
    assert watch.seconds["train"] == 5.0 and watch.seconds["evaluate"] >= 0


def test_peak_memory_is_that_since_the_reset() -> None:
    code = """
import numpy as np
from headstart.runtime.cost import peak_memory_bytes, reset_peak_memory
big = np.ones(40_000_000); del big      # 320 MB, freed again
high = peak_memory_bytes()
reset_peak_memory()
low = peak_memory_bytes()
small = np.ones(10_000_000)             # 80 MB
print(high - low > 200e6, 70e6 < peak_memory_bytes() - low < 120e6)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
    reset_peak_memory()
    assert peak_memory_bytes() > 0


def test_freed_memory_is_kept_on_linux_and_asking_twice_is_fine() -> None:
    assert keep_freed_memory() == keep_freed_memory() == sys.platform.startswith("linux")
