"""Our training loop, network, augmentation and optimiser: headstart.training.train on the recipe
`cnn-full`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import headstart_first  # noqa: F401  (before torch)
import numpy as np
import torch
import torch.nn.functional as F
from protocol import Run, serve
from torch import Tensor

from headstart.data.batches import ImageBatches
from headstart.models.cnn import CNN
from headstart.models.preprocessing import preprocess
from headstart.recipes import recipe_named
from headstart.runtime.cost import count_flops
from headstart.runtime.memory import keep_freed_memory
from headstart.training.loop import train
from headstart.training.step import Batches, Step


@dataclass(frozen=True, kw_only=True, eq=False)
class CountedStep(Step):
    """A step whose operations have been counted: counting takes a step, in every run."""

    counted: float | None = None

    def flops_per_example(self, batches: Batches) -> float:
        return super().flops_per_example(batches) if self.counted is None else self.counted


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    device = torch.device("cpu")
    images = torch.from_numpy(np.load(config["images_file"]))
    labels = torch.from_numpy(np.load(config["labels_file"]))
    recipe = recipe_named("cnn-full").replace(
        batch_size=config["batch_size"], widths=tuple(config["widths"]), duration=f"{config['steps']} steps"
    )
    batches = ImageBatches(
        images,
        labels,
        batch_size=recipe.batch_size,
        seed=0,
        flip=recipe.flip,
        translate_pixels=recipe.translate_pixels,
    )
    torch.manual_seed(0)
    model = CNN(10, 32, recipe.widths)
    model.fit_whitening(preprocess(images[:2000], model.preprocessing))

    def normalise(batch: Tensor) -> Tensor:
        return preprocess(batch, model.preprocessing, device=device)

    step = CountedStep(
        network=model, recipe=recipe, prepare=normalise, device=device, precision=config["precision"]
    )
    counted = step.flops_per_example(batches)

    def run(recipe: Any = recipe) -> dict[str, float]:
        done = train(dataclasses.replace(step, recipe=recipe, counted=counted), batches)
        return {
            "images": done.examples,
            "seconds": done.seconds,
            "flops_per_image": done.flops / done.examples,
        }

    run(recipe.replace(duration="2 steps"))
    return run, {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "plain_step_flops": plain_step_flops(config),
    }


def plain_step_flops(config: dict[str, Any]) -> float:
    """Operations per image of forward and backward alone: what the peers do (their optimiser does no
    products)."""
    model = CNN(10, 32, tuple(config["widths"])).train()
    x, y = torch.zeros(8, 3, 32, 32), torch.zeros(8, dtype=torch.int64)
    _, flops = count_flops(lambda: F.cross_entropy(model(x), y).backward())
    return flops / len(x)


if __name__ == "__main__":
    keep_freed_memory()  # as `headstart study` does
    serve(prepare)
