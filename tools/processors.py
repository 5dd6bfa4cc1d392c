"""Runs the tests that compute as other processors would compute them: older instructions, one or two threads.

`python tools/processors.py` runs three telling settings, `--all` every one of them; other arguments go to
pytest in place of the folders with numbers. Each setting has a cache of features of its own: features that
another setting computed must not stand in for its own. Images and weights are shared. An older processor
cannot play a newer one.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = (
    "advise",
    "data_quality",
    "evaluation",
    "methods",
    "models",
    "predict",
    "results",
    "studies",
    "training",
)
NUMERIC = (
    *(f"tests/{name}" for name in (*FOLDERS, "tuning")),
    "tests/test_estimator.py",
    "tests/test_golden.py",
)
DEFAULT = "default"


@dataclass(frozen=True)
class Processor:
    """Limits to what oneDNN and torch's own kernels use, and the threads of both."""

    onednn: str  # of the convolutions: ONEDNN_MAX_CPU_ISA
    aten: str  # of everything else: ATEN_CPU_CAPABILITY
    threads: int

    def __str__(self) -> str:
        return f"oneDNN {self.onednn}, torch {self.aten}, {self.threads} thread{'s' * (self.threads > 1)}"

    def variables(self) -> dict[str, str]:
        """The environment in which a process is limited so."""
        limits = {"OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"}  # beside other work
        if self.onednn != DEFAULT:
            limits["ONEDNN_MAX_CPU_ISA"] = self.onednn
        if self.aten != DEFAULT:
            limits["ATEN_CPU_CAPABILITY"] = self.aten
        if self.aten == "avx2":  # the matrix products of torch (MKL) and numpy (OpenBLAS), too
            limits |= {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
        return limits


ONEDNN = ("AVX2", "AVX512_CORE", "AVX512_CORE_BF16", DEFAULT)
ALL = [Processor(*limits) for limits in itertools.product(ONEDNN, ("avx2", "avx512", DEFAULT), (1, 2))]
OLDEST = Processor("AVX2", "avx2", 1)
TELLING = [OLDEST, Processor("AVX512_CORE", "avx512", 2), Processor("AVX512_CORE_BF16", DEFAULT, 1)]


def can_play(processor: Processor, has_avx512: bool) -> bool:
    """Whether a process with these limits computes here: torch's kernels take what they are told to, and end
    in an illegal instruction where the processor lacks it; oneDNN takes what there is."""
    return processor.aten != "avx512" or has_avx512


def has_avx512() -> bool:
    """Whether this processor has the instructions of torch's AVX-512 kernels."""
    import torch

    return "AVX512" in torch.backends.cpu.get_cpu_capability()


def run(processor: Processor, arguments: tuple[str, ...] = NUMERIC) -> subprocess.CompletedProcess[str]:
    """pytest in one process with these limits, its output captured."""
    from headstart.store import cache_folder

    with tempfile.TemporaryDirectory() as cache:
        for part in ("datasets", "weights", "downloads"):
            (cache_folder() / part).mkdir(parents=True, exist_ok=True)
            (Path(cache) / part).symlink_to(cache_folder() / part)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=ROOT,
            env=_without_workers() | {"HEADSTART_CACHE": cache} | processor.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def _without_workers() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def main(arguments: list[str]) -> Iterator[bool]:
    """Runs each setting, prints how it went, and yields whether it is green."""
    chosen = ALL if "--all" in arguments else TELLING
    rest = tuple(argument for argument in arguments if argument != "--all")
    for processor in chosen:
        if not can_play(processor, has_avx512()):
            print(f"{processor}: left out, this processor has no AVX-512", flush=True)
            continue
        begin = time.perf_counter()
        done = run(processor, rest or NUMERIC)
        print(
            f"{processor}: {done.stdout.strip().splitlines()[-1]} ({time.perf_counter() - begin:.0f} s)",
            flush=True,
        )
        if done.returncode:
            print(done.stdout)
        yield done.returncode == 0


if __name__ == "__main__":
    sys.exit(not all(list(main(sys.argv[1:]))))
