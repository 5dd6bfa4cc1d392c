"""Peak resident memory of one frozen-probe trial (extraction, L2 path, evaluation) on memory-mapped
images."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
import torch
from protocol import Run, serve

from headstart.methods import METHODS
from headstart.models import load_model
from headstart.recipes import recipe_named
from headstart.runtime.cost import peak_memory_bytes, reset_peak_memory
from headstart.runtime.memory import keep_freed_memory
from headstart.studies.trial import make_context
from headstart.types import ALL_LABELS, Arm, Dataset, ImageSet, Trial


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    weights = "imagenet-keras"
    load_model("resnet50", weights)  # fetched and converted before anything is measured
    arm = Arm(
        name="probe",
        label="probe",
        dataset="artificial",
        model="resnet50",
        weights=weights,
        method="linear_probe",
        recipe=recipe_named("probe"),
        input_pixels=config["pixels"],
    )
    trial = Trial(
        arm=arm,
        label_budget=ALL_LABELS,
        seed=0,
        precision=config["precision"],
        feature_precision=config["precision"],
    )
    train, test = (image_set(config, part) for part in ("train", "test"))
    dataset = Dataset(
        name="artificial",
        title="artificial",
        train=train,
        test=test,
        source="made on the spot",
        fingerprint=f"artificial {len(train)}",
    )
    real, own = Path(config["real_cache_folder"]), Path(config["cache_folder"])
    own.mkdir(parents=True, exist_ok=True)
    (own / "weights").symlink_to(real / "weights")
    os.environ["HEADSTART_CACHE"] = str(own)

    def run() -> dict[str, Any]:
        reset_peak_memory()
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            context = make_context(trial, dataset, Path(folder), torch.device("cpu"))
            outcome = METHODS["linear_probe"].implementation.run(context)
        return {
            "images": len(train),
            "seconds": time.perf_counter() - start,
            "peak_bytes": peak_memory_bytes(),
            "seconds_by_phase": context.watch.seconds,
            "converged": outcome.selected["converged"],
        }

    return run, {"torch": torch.__version__, "threads": torch.get_num_threads()}


def image_set(config: dict[str, Any], part: str) -> ImageSet:
    """Memory-mapped, named by its size: hashing it would read it all, which a prepared data set is spared
    too."""
    images = np.load(config[f"{part}_images_file"], mmap_mode="r")[: config["images"]]
    labels = np.load(config[f"{part}_labels_file"])[: config["images"]]
    names = tuple(f"class {number}" for number in range(10))
    return ImageSet(
        images=images, labels=labels, class_names=names, fingerprint=f"artificial {part} {len(labels)}"
    )


if __name__ == "__main__":
    keep_freed_memory()  # as `headstart study` does
    serve(prepare)
