"""Our ResNet-50 feature extraction, cold: headstart.features.extract with resize, preprocessing and writing
to disk."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
import torch
from protocol import Run, Unavailable, serve

from headstart import store
from headstart.errors import HeadstartError
from headstart.models import load_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.runtime.memory import keep_freed_memory
from headstart.types import ImageSet

_WEIGHTS = "imagenet-keras"


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    model = load_model("resnet50", _WEIGHTS, image_pixels=config["pixels"])
    images = np.load(config["images_file"], mmap_mode="r")
    labels = np.load(config["labels_file"])
    # Its own cache: extraction must be cold, and the user's cache must not fill with copies.
    os.environ["HEADSTART_CACHE"] = config["cache_folder"]
    numbers = itertools.count()
    # Another fingerprint than any part's: what calibrating int8 takes is in no part's seconds (the network is
    # made once).
    training = ImageSet(images=images, labels=labels, class_names=("any",), fingerprint="calibration")

    def extract(count: int, precision: str) -> tuple[dict[str, float], np.ndarray]:
        part = ImageSet(
            images=images[:count],
            labels=labels[:count],
            class_names=("any",),
            fingerprint=f"run {next(numbers)}",
        )
        start = time.perf_counter()
        layers = FrozenLayers(
            network=model, precision=precision, device=torch.device("cpu"), calibration=training
        )
        done = FeatureRequest(layers=layers, images=part).extract()
        wall = time.perf_counter() - start
        values = np.array(done.features.values[:64])
        shutil.rmtree(store.cache_folder() / "features")
        return {"images": count, "seconds": done.seconds, "wall_seconds": wall, "flops": done.flops}, values

    def run() -> dict[str, Any]:
        points = [extract(count, config["precision"])[0] for count in config["counts"]]
        largest = points[-1]
        return {
            "images": largest["images"],
            "seconds": largest["seconds"],
            "points": points,
            "flops_per_image": largest["flops"] / largest["images"],
        }

    _require(config["precision"], extract)
    extract(128, config["precision"])
    return run, {"torch": torch.__version__, "threads": torch.get_num_threads()}


def _require(precision: str, extract: Any) -> None:
    """Raises: Unavailable where int8 is not there, or is float32 under another name."""
    if precision != "int8":
        return
    try:
        int8, fp32 = extract(64, "int8")[1], extract(64, "fp32")[1]
    except HeadstartError as error:
        raise Unavailable(str(error)) from error
    if np.array_equal(int8, fp32):
        raise Unavailable("headstart.features computes int8 in float32: there is no int8 path yet")


if __name__ == "__main__":
    keep_freed_memory()  # as `headstart study` does
    serve(prepare)
