"""The machine's own limit: rate of a 2048 x 2048 matrix product in the precisions asked for."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from protocol import Run, serve

_SIZE = 2048
_SECONDS = 0.6  # of products a precision and run
_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    factors = {name: torch.randn(_SIZE, _SIZE).to(_DTYPES[name]) for name in config["precisions"]}

    def run() -> dict[str, float]:
        """GFLOP/s by precision, the median product's."""
        return {name: rate(factor) for name, factor in factors.items()}

    run()
    return run, {"torch": torch.__version__, "threads": torch.get_num_threads()}


def rate(factor: torch.Tensor) -> float:
    out = torch.empty_like(factor)
    took: list[float] = []
    while sum(took) < _SECONDS or len(took) < 3:
        start = time.perf_counter()
        torch.mm(factor, factor, out=out)
        took.append(time.perf_counter() - start)
    return 2 * _SIZE**3 / statistics.median(took) / 1e9


if __name__ == "__main__":
    serve(prepare)
