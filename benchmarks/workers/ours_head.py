"""Our logistic regression over the whole L2 path on cached features: headstart.logistic.fit_path."""

from __future__ import annotations

import time
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
import torch
from protocol import Run, serve

from headstart.runtime.memory import keep_freed_memory
from headstart.training.logistic import SolverOptions, fit_path


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    values = np.memmap(config["values_file"], np.float16, "r").reshape(-1, config["dimension"])
    labels, ids = np.load(config["labels_file"]), np.load(config["ids_file"])

    def run() -> dict[str, Any]:
        start = time.perf_counter()
        fits = fit_path(
            values,
            labels,
            num_classes=config["num_classes"],
            l2_values=config["l2_values"],
            ids=ids,
            options=SolverOptions(tolerance=config["tolerance"], max_passes=config["max_passes"]),
        )
        seconds = time.perf_counter() - start
        np.savez(
            config["out_file"],
            weight=np.stack([fit.weight for fit in fits]),
            bias=np.stack([fit.bias for fit in fits]),
        )
        return {
            "seconds": seconds,
            "passes": sum(fit.passes for fit in fits),
            "converged": all(fit.converged for fit in fits),
        }

    return run, {"torch": torch.__version__, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    keep_freed_memory()  # as `headstart study` does
    serve(prepare)
