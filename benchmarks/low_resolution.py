"""How to bring 32-px images to a pretrained ResNet-50: enlarged, or as they are with the stem's stride and
pooling removed.

    python benchmarks/low_resolution.py [--out benchmarks/results/low-resolution.json]      # ten minutes on
    two cores

A probe on frozen features, read on CIFAR-10's validation images; the test set is left out. What it costs:
operations an image, and images a second when they were extracted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from int8_accuracy import probe_accuracy

from headstart.data import load_dataset
from headstart.data.splits import validation_count, validation_split
from headstart.models import features, load_model
from headstart.models.weights import weights_hash
from headstart.recipes import LogisticRecipe, recipe_named
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device, resolve_precision
from headstart.studies.trial import environment, make_context
from headstart.tuning.search import without_test
from headstart.types import Arm, LabelBudget, Trial

_WEIGHTS, _SMALL_STEM = "imagenet-keras", "resnet50-small-stem"
WAYS = (("resnet50", 32), (_SMALL_STEM, 32), ("resnet50", 64), ("resnet50", 96), ("resnet50", 128))
BUDGETS = (10, 50, 500)  # labels a class
SEEDS = 3  # of budgets up to _FEW labels a class; one of those above, for more would be as many images again
_FEW = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS, help="labels a class")
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help=f"of budgets up to {_FEW} labels a class; one of those above"
    )
    parser.add_argument("--validation-images", type=int, help="read so many only, for a small try")
    given = parser.parse_args()
    keep_freed_memory()
    device = default_device()
    rows = [
        measure(model, pixels, given.budgets, given.seeds, given.validation_images) for model, pixels in WAYS
    ]
    report = {"environment": environment(device, resolve_precision("auto", device)), "rows": rows}
    print(
        f"{'network':<22}{'px':>4}{'GFLOP':>8}{'images/s':>10}"
        + "".join(f"{budget:>8} a class" for budget in given.budgets)
    )
    for row in rows:
        print(
            f"{row['model']:<22}{row['pixels']:>4}{row['flops_per_image'] / 1e9:>8.2f}"
            f"{row['images_per_second']:>10.0f}"
            + "".join(f"{100 * cell['mean']:>14.1f} %" for cell in row["accuracy"].values())
        )
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n")


def measure(
    model_name: str, pixels: int, budgets: list[int], seeds: int, validation_images: int | None
) -> dict[str, Any]:
    """Validation accuracy of a probe by label budget, each subset's and their mean, and the cost of the
    features."""
    device, dataset = default_device(), without_test(load_dataset("cifar10"))
    train = dataset.train
    precision = resolve_precision("auto", device)
    recipe = recipe_named("probe")
    assert isinstance(recipe, LogisticRecipe)
    arm = Arm(
        name="probe",
        label="probe",
        dataset="cifar10",
        model=model_name,
        weights=_WEIGHTS,
        method="linear_probe",
        recipe=recipe,
        input_pixels=pixels,
    )
    identity = weights_hash(_WEIGHTS, model_name)
    accuracy: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        trials = {
            (budget, seed): Trial(arm=arm, label_budget=LabelBudget(budget), seed=seed, precision=precision)
            for budget in budgets
            for seed in range(seeds if budget <= _FEW else 1)
        }
        contexts = {
            where: make_context(trial, dataset, identity, Path(scratch), device)
            for where, trial in trials.items()
        }
        read = validation_split(train.labels, train.fingerprint, validation_count(len(train)))[1][
            :validation_images
        ]
        ids = np.unique(np.concatenate([read, *(context.train_ids for context in contexts.values())]))
        model = load_model(model_name, _WEIGHTS, image_pixels=pixels)
        found = features.extract(
            model,
            train,
            weights_hash=identity,
            precision=precision,
            device=device,
            ids=ids,
            what=f"{model_name} at {pixels} px",
        )
        # Ids count all training images: rows of the others stay empty, and are never read.
        values = np.zeros((len(train), found.features.values.shape[1]), np.float16)
        values[ids] = found.features.values
        held = features.Features(values=values, labels=train.labels, key=found.features.key)
        for (budget, _), context in contexts.items():
            accuracy.setdefault(str(budget), []).append(probe_accuracy(context, held, recipe, read))
    return {
        "model": model_name,
        "pixels": pixels,
        "images": len(ids),
        "validation_images": len(read),
        "flops_per_image": found.flops / len(ids),
        "images_per_second": len(ids) / found.seconds,
        "accuracy": {
            budget: {"mean": float(np.mean(each)), "each": each} for budget, each in accuracy.items()
        },
    }


if __name__ == "__main__":
    main()
