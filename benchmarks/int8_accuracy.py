"""What int8 features cost the probe: validation accuracy over label budgets, against native features of the
same images."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from headstart.types import Arm, Dataset, Features, ImageSet

_BUDGETS = (1, 5, 10, 50, 500, None)  # labels a class; None: all 45,000
_SUBSETS = 3


def probe_accuracies(
    pixels: int, train_images: int | None, cache: AbstractContextManager[None], native: str
) -> list[dict[str, Any]]:
    """A row for each label budget: mean validation accuracy over the subsets with `native` and int8 features,
    and their difference.

    The same subsets and selection (folds inside the budget) as in a trial. train_images: the first so many
    only, for a quick run. cache: entered while features are made or read."""
    import torch

    from headstart.data import load_dataset
    from headstart.data.splits import validation_count, validation_split
    from headstart.recipes import LogisticRecipe
    from headstart.studies.trial import make_context
    from headstart.types import LabelBudget, Trial

    dataset, device = load_dataset("cifar10"), torch.device("cpu")
    if train_images is not None:
        dataset = _with_fewer(dataset, train_images)
    train = dataset.train
    with cache:
        features = _features(train, pixels, (native, "int8"))
    _, val_ids = validation_split(train.labels, train.fingerprint, validation_count(len(train)))
    arm = probe_arm("resnet50", pixels)
    assert isinstance(arm.recipe, LogisticRecipe)
    rows = []
    for budget in _BUDGETS:
        if budget is not None and train_images is not None and budget * 20 > train_images:
            continue
        scores: dict[str, list[float]] = {precision: [] for precision in features}
        for seed in range(1 if budget is None else _SUBSETS):
            trial = Trial(arm=arm, label_budget=LabelBudget(budget), seed=seed, precision=native)
            context = make_context(trial, dataset, Path("."), device)
            for precision, values in features.items():
                scores[precision].append(probe_accuracy(context, values, arm.recipe, val_ids))
        differences = np.subtract(scores["int8"], scores[native])
        rows.append(
            {
                "name": "all" if budget is None else str(budget),
                "subsets": len(differences),
                "validation_images": len(val_ids),
                native: float(np.mean(scores[native])),
                "int8": float(np.mean(scores["int8"])),
                "scores": scores,
                "difference_points": 100 * float(differences.mean()),
                "cosine": _cosine(features["int8"].values, features[native].values),
            }
        )
    return rows


def probe_arm(model: str, pixels: int) -> Arm:
    """The linear probe on a frozen network with Keras's weights, with its default recipe."""
    from headstart.recipes import recipe_named
    from headstart.types import Arm

    return Arm(
        name="probe",
        label="probe",
        dataset="cifar10",
        model=model,
        weights="imagenet-keras",
        method="linear_probe",
        recipe=recipe_named("probe"),
        input_pixels=pixels,
    )


def _with_fewer(dataset: Dataset, train_images: int) -> Dataset:
    """The dataset with its first so many training images."""
    import dataclasses

    train = dataset.train
    first = dataclasses.replace(
        train,
        images=train.images[:train_images],
        labels=train.labels[:train_images],
        fingerprint=f"first {train_images} of {train.fingerprint}",
    )
    return dataclasses.replace(dataset, train=first)


def _features(train: ImageSet, pixels: int, precisions: Sequence[str]) -> dict[str, Features]:
    """ResNet-50 features of all images by precision."""
    import torch

    from headstart.models import load_model
    from headstart.models.features import FeatureRequest, FrozenLayers

    model = load_model("resnet50", "imagenet-keras", image_pixels=pixels)
    extracted = {}
    for precision in precisions:
        layers = FrozenLayers(
            network=model, precision=precision, device=torch.device("cpu"), calibration=train
        )
        request = FeatureRequest(layers=layers, images=train)
        extracted[precision] = request.extract(f"{precision} features").features
    return extracted


def probe_accuracy(context: Any, held: Any, recipe: Any, ids: np.ndarray) -> float:
    """Accuracy on the images `ids` of a probe on the context's training images, its L2 selected as in a
    trial.

    held: Features of all training images, of which those of the context and `ids` are read."""
    from headstart.methods.linear_probe import fit_heads, select_l2
    from headstart.results import metrics
    from headstart.training.logistic import predict_logits

    l2 = select_l2(context, held, recipe).l2
    (fit,) = fit_heads(context, held, recipe, context.train_ids, [l2])
    return metrics.accuracy(predict_logits(held.values, fit.weight, fit.bias, ids=ids), held.labels[ids])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine of the two versions of the first 1,000 images' features."""
    first, second = (np.asarray(side[:1000], np.float64) for side in (a, b))
    return float(
        ((first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)).mean()
    )
