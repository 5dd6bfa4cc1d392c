"""What the cached cut saves: a pass over the same images when the frozen part is computed anew and when its
output is stored.

    python benchmarks/cached_cut.py [--pixels 128] [--images 250] [--rounds 5]

ResNet-50 with its packaged weights, method "partial", the same batches and sides both ways; passes alternate,
medians count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import headstart  # noqa: F401  (before torch)
from headstart.data import load_dataset
from headstart.methods import network, partial
from headstart.methods.base import Context
from headstart.models.features import FrozenLayers
from headstart.models.network import Tail
from headstart.recipes import PartialRecipe, recipe_named
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device, resolve_precision
from headstart.studies.trial import environment, make_context
from headstart.training.loop import train
from headstart.training.step import Batches, Step
from headstart.tuning.search import without_test
from headstart.types import Arm, LabelBudget, Trial

_STARTS = ("layer4", "layer4.1")  # the last stage; its last two blocks
_BATCH = 64


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pixels", type=int, default=128)
    parser.add_argument("--images", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    options = parser.parse_args()
    keep_freed_memory()
    rows = [measure(start, options.pixels, options.images, options.rounds) for start in _STARTS]
    device = default_device()
    report = {
        "environment": environment(device, resolve_precision("auto", device)),
        "pixels": options.pixels,
        "images": options.images,
        "rounds": options.rounds,
        "batch_size": _BATCH,
        "rows": rows,
    }
    print(
        f"{'trained from':<14}{'whole, s':>10}{'cached, s':>11}{'ratio':>8}{'loss apart':>12}"
        f"{'50,000 images, both sides':>28}"
    )
    for row in rows:
        print(
            f"{row['trained_from']:<14}{row['whole_seconds']:>10.2f}{row['cached_seconds']:>11.2f}{row['ratio']:>8.3f}"
            f"{row['loss_difference']:>12.1e}{row['disk_bytes'] / 1e9:>25.1f} GB"
        )
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def measure(start: str, pixels: int, images: int, rounds: int) -> dict[str, Any]:
    """Median seconds of a pass both ways, each round's ratio, and how far the losses of the passes are
    apart."""
    recipe = recipe_named("partial")
    assert isinstance(recipe, PartialRecipe)
    recipe = recipe.replace(trainable_from=start, batch_size=_BATCH, duration="1 epochs")
    with tempfile.TemporaryDirectory() as scratch:
        context = _context(recipe, pixels, images, Path(scratch))
        model, cut = partial.build(context)
        layers = FrozenLayers(
            network=model, precision=context.trial.precision, device=context.device, cut=cut
        )
        shape, _ = layers.outline(context.dataset.train)
        activations = partial.extract_activations(context, model, cut)
        passes: dict[str, list[tuple[float, float]]] = {"whole": [], "cached": []}
        for _ in range(rounds + 1):  # the first warms up
            passes["whole"].append(_pass(*_whole(context, recipe)))
            passes["cached"].append(_pass(*_cached(context, recipe, activations)))
    seconds = {name: [took for took, _ in each[1:]] for name, each in passes.items()}
    ratios = [cached / whole for cached, whole in zip(seconds["cached"], seconds["whole"], strict=True)]
    apart = max(abs(a - b) for (_, a), (_, b) in zip(passes["whole"], passes["cached"], strict=True))
    return {
        "trained_from": start,
        "cut": cut,
        "whole_seconds": statistics.median(seconds["whole"]),
        "cached_seconds": statistics.median(seconds["cached"]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "loss_difference": apart,
        "disk_bytes": 2 * 50_000 * 2 * int(np.prod(shape)),
    }


def _context(recipe: PartialRecipe, pixels: int, images: int, folder: Path) -> Context:
    device = default_device()
    arm = Arm(
        name="partial",
        label="partial",
        dataset="cifar10",
        model="resnet50",
        weights="imagenet-keras",
        method="partial",
        recipe=recipe,
        input_pixels=pixels,
    )
    trial = Trial(
        arm=arm, label_budget=LabelBudget(images // 10), seed=0, precision=resolve_precision("auto", device)
    )
    return make_context(trial, without_test(load_dataset("cifar10")), folder, device)


def _whole(context: Context, recipe: PartialRecipe) -> tuple[Step, Batches]:
    """The usual way: every image goes through the whole network, which learns from the cut on."""
    model, _ = partial.build(context)
    return network.image_step(context, model, recipe), network.image_batches(context, recipe)


def _cached(
    context: Context, recipe: PartialRecipe, activations: partial.Activations
) -> tuple[Step, Batches]:
    model, cut = partial.build(context)
    tail = Tail(model, cut)
    return partial.tail_step(context, tail, recipe), partial.make_batches(context, activations, recipe)


def _pass(step: Step, batches: Batches) -> tuple[float, float]:
    """Seconds of one pass over the images, counted from its first step, and its mean loss."""
    done = train(step, batches, what="a pass")
    return done.seconds, float(done.history[-1]["train_loss"])


if __name__ == "__main__":
    start = time.perf_counter()
    torch.manual_seed(0)
    main()
    print(f"took {time.perf_counter() - start:.0f} s")
