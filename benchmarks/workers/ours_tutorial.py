"""Our CNN (recipe `cnn-fast`), given as many wall seconds as the tutorial CNN took; validation accuracy after
them."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
import torch
from protocol import Run, serve
from torch import Tensor

from headstart.data.batches import ImageBatches
from headstart.models.cnn import CNN
from headstart.models.inference import predict_logits
from headstart.models.preprocessing import preprocess
from headstart.recipes import recipe_named
from headstart.results import metrics
from headstart.runtime.memory import keep_freed_memory
from headstart.training.loop import train
from headstart.training.step import Step

_SHARE = 0.93  # of the seconds: the loop turns seconds into steps by timing a few, and must not overshoot


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    device = torch.device("cpu")
    images, labels = np.load(config["images_file"]), np.load(config["labels_file"])
    train_ids, val_ids = np.load(config["train_ids_file"]), np.load(config["val_ids_file"])
    x, y = torch.from_numpy(images[train_ids]), torch.from_numpy(labels[train_ids])
    seeds = itertools.count()

    def run() -> dict[str, float]:
        allowed = json.loads(Path(config["seconds_file"]).read_text())
        recipe = recipe_named("cnn-fast").replace(duration=f"{_SHARE * allowed:.3f} seconds")
        start = time.perf_counter()
        torch.manual_seed(next(seeds))
        model = CNN(10, 32, recipe.widths)
        model.fit_whitening(preprocess(x[:5000], model.preprocessing))
        batches = ImageBatches(
            x,
            y,
            batch_size=recipe.batch_size,
            seed=torch.initial_seed(),
            flip=recipe.flip,
            translate_pixels=recipe.translate_pixels,
        )

        def normalise(batch: Tensor) -> Tensor:
            return preprocess(batch, model.preprocessing, device=device)

        step = Step(
            network=model, recipe=recipe, prepare=normalise, device=device, precision=config["precision"]
        )
        done = train(step, batches)
        seconds = time.perf_counter() - start
        logits = predict_logits(done.network, images[val_ids], device=device, precision=config["precision"])
        return {
            "seconds": seconds,
            "allowed_seconds": allowed,
            "images": done.examples,
            "val_accuracy": metrics.accuracy(logits, labels[val_ids]),
        }

    return run, {"torch": torch.__version__, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    keep_freed_memory()  # as `headstart study` does
    serve(prepare)
