"""Peak memory of a linear head on many features: an L2 path, its selection and the final fit.

    python benchmarks/head_memory.py --images 100000 300000 --folder /tmp/features

Features are made up (float16, normal, class means apart, in a file that is removed afterwards); each size is
measured in a process of its own. Memory is the highest resident memory of that process, torch among it;
`before` is what it was when the features were opened.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COLUMNS, CLASSES, CHUNK = 2048, 10, 4096
L2_VALUES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)


def make(path: Path, images: int) -> None:
    """Write features float16 (images, COLUMNS); the label of row i is i % CLASSES."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.1, (CLASSES, COLUMNS)).astype(np.float32)
    noise = rng.normal(size=(CHUNK + 997, COLUMNS)).astype(np.float32)
    with path.open("wb") as file:
        for start in range(0, images, CHUNK):
            rows = np.arange(start, min(start + CHUNK, images))
            first = int(rng.integers(0, 997))
            shift = rng.normal(0, 0.3, COLUMNS).astype(np.float32)
            values = means[rows % CLASSES] + noise[first : first + len(rows)] + shift
            file.write(values.astype(np.float16).tobytes())


def measure(path: Path, images: int, l2_values: list[float]) -> dict[str, float]:
    """What a trial does with its features once they are there, and the memory that it took."""
    from headstart.runtime.cost import peak_memory_bytes, reset_peak_memory
    from headstart.runtime.memory import keep_freed_memory
    from headstart.training.logistic import SolverOptions, fit_path, predict_logits

    keep_freed_memory()  # as `headstart study` does
    values = np.memmap(path, np.float16, "r", shape=(images, COLUMNS))
    labels = np.arange(images) % CLASSES
    held_out = np.flatnonzero(np.arange(images) // CLASSES % 10 == 0)
    learned = np.setdiff1d(np.arange(images), held_out)
    reset_peak_memory()
    before, start, cpu = peak_memory_bytes(), time.perf_counter(), time.process_time()
    options = SolverOptions(tolerance=1e-4, max_passes=200)
    fits = fit_path(values, labels, ids=learned, num_classes=CLASSES, l2_values=l2_values, options=options)
    right = [
        (predict_logits(values, fit.weight, fit.bias, ids=held_out).argmax(1) == labels[held_out]).mean()
        for fit in fits
    ]
    best = l2_values[int(np.argmax(right))]
    (final,) = fit_path(values, labels, ids=learned, num_classes=CLASSES, l2_values=[best], options=options)
    predict_logits(values, final.weight, final.bias)
    return {
        "images": images,
        "classes": CLASSES,
        "before_mib": before / 2**20,
        "peak_mib": peak_memory_bytes() / 2**20,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "passes": sum(fit.passes for fit in (*fits, final)),
        "accuracy": float(max(right)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, nargs="+", default=[100_000, 300_000])
    parser.add_argument("--l2", type=float, nargs="+", default=list(L2_VALUES))
    parser.add_argument("--folder", type=Path, required=True, help="Where the features lie meanwhile.")
    parser.add_argument("--measure", action="store_true", help="Measure here the features that lie there.")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for images in options.images:
        path = options.folder / f"features-{images}.f16"
        if options.measure:
            print(json.dumps(measure(path, images, options.l2)), flush=True)
            continue
        make(path, images)
        own = ["--images", str(images), "--folder", str(options.folder), "--measure"]
        l2 = ["--l2", *(str(value) for value in options.l2)]
        try:
            subprocess.run([sys.executable, __file__, *own, *l2], check=True)
        finally:
            path.unlink()


if __name__ == "__main__":
    main()
