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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from int8_accuracy import probe_accuracy, probe_arm
from numpy.typing import NDArray

from headstart.data import load_dataset
from headstart.data.splits import validation_count, validation_split
from headstart.methods.base import Context
from headstart.models import load_model
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.recipes import LogisticRecipe
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device, resolve_precision
from headstart.studies.trial import environment, make_context
from headstart.tuning.search import without_test
from headstart.types import Arm, Dataset, Features, ImageSet, LabelBudget, Trial

_SMALL_STEM = "resnet50-small-stem"
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
    options = parser.parse_args()
    keep_freed_memory()
    rows = [
        measure(model, pixels, options.budgets, options.seeds, options.validation_images)
        for model, pixels in WAYS
    ]
    report = {"environment": environment(default_device(), _precision()), "rows": rows}
    print(
        f"{'network':<22}{'px':>4}{'GFLOP':>8}{'images/s':>10}"
        + "".join(f"{budget:>8} a class" for budget in options.budgets)
    )
    for row in rows:
        print(
            f"{row['model']:<22}{row['pixels']:>4}{row['flops_per_image'] / 1e9:>8.2f}"
            f"{row['images_per_second']:>10.0f}"
            + "".join(f"{100 * cell['mean']:>14.1f} %" for cell in row["accuracy"].values())
        )
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def measure(
    model_name: str, pixels: int, budgets: Sequence[int], seeds: int, validation_images: int | None
) -> dict[str, Any]:
    """Validation accuracy of a probe by label budget, each subset's and their mean, and the cost of the
    features."""
    dataset = without_test(load_dataset("cifar10"))
    train = dataset.train
    arm = probe_arm(model_name, pixels)
    assert isinstance(arm.recipe, LogisticRecipe)
    accuracy: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        contexts = _contexts(arm, dataset, budgets, seeds, Path(scratch))
        _, val_ids = validation_split(train.labels, train.fingerprint, validation_count(len(train)))
        val_ids = val_ids[:validation_images]
        ids = np.unique(np.concatenate([val_ids, *(context.train_ids for _, context in contexts)]))
        extraction = _extract(arm, train, ids)
        # Ids count all training images: rows of the others stay empty, and are never read.
        values = np.zeros((len(train), extraction.features.values.shape[1]), np.float16)
        values[ids] = extraction.features.values
        held = Features(values=values, labels=train.labels, key=extraction.features.key)
        for budget, context in contexts:
            accuracy.setdefault(str(budget), []).append(probe_accuracy(context, held, arm.recipe, val_ids))
    return {
        "model": model_name,
        "pixels": pixels,
        "images": len(ids),
        "validation_images": len(val_ids),
        "flops_per_image": extraction.flops / len(ids),
        "images_per_second": len(ids) / extraction.seconds,
        "accuracy": {
            budget: {"mean": float(np.mean(each)), "each": each} for budget, each in accuracy.items()
        },
    }


def _contexts(
    arm: Arm, dataset: Dataset, budgets: Sequence[int], seeds: int, folder: Path
) -> list[tuple[int, Context]]:
    """The probe's trials with their images, each with its labels per class."""
    device = default_device()
    trials = [
        (budget, Trial(arm=arm, label_budget=LabelBudget(budget), seed=seed, precision=_precision()))
        for budget in budgets
        for seed in range(seeds if budget <= _FEW else 1)
    ]
    return [(budget, make_context(trial, dataset, folder, device)) for budget, trial in trials]


def _extract(arm: Arm, train: ImageSet, ids: NDArray[np.int64]) -> Extraction:
    layers = FrozenLayers(
        network=load_model(arm.model, arm.weights, image_pixels=arm.input_pixels),
        precision=_precision(),
        device=default_device(),
    )
    request = FeatureRequest(layers=layers, images=train, ids=ids)
    return request.extract(f"{arm.model} at {arm.input_pixels} px")


def _precision() -> str:
    return resolve_precision("auto", default_device())


if __name__ == "__main__":
    main()
