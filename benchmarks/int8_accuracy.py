"""What int8 features cost the probe: validation accuracy over label budgets, against native features of the
same images."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

_BUDGETS = (1, 5, 10, 50, 500, None)  # labels a class; None: all 45,000
_SUBSETS = 3


def probe_accuracies(
    pixels: int, train_images: int | None, cache: AbstractContextManager, native: str
) -> list[dict[str, Any]]:
    """A row a label budget: mean validation accuracy over the subsets with `native` and int8 features, and
    their difference.

    The same subsets and selection (folds inside the budget) as in a trial. train_images: the first so many
    only, for a small try. cache: entered while features are made or found."""
    import dataclasses

    import torch

    from headstart.data import load_dataset
    from headstart.data.splits import validation_count, validation_split
    from headstart.models import features as engine
    from headstart.models import load_model
    from headstart.models.weights import weights_hash
    from headstart.recipes import LogisticRecipe, recipe_named
    from headstart.studies.trial import make_context
    from headstart.types import Arm, LabelBudget, Trial

    dataset, device = load_dataset("cifar10"), torch.device("cpu")
    if train_images is not None:
        part = dataset.train
        part = dataclasses.replace(
            part,
            images=part.images[:train_images],
            labels=part.labels[:train_images],
            fingerprint=f"first {train_images} of {part.fingerprint}",
        )
        dataset = dataclasses.replace(dataset, train=part)
    train = dataset.train
    model = load_model("resnet50", "imagenet-keras", image_pixels=pixels)
    model_hash = weights_hash("imagenet-keras")
    with cache:
        found = {
            precision: engine.extract(
                model,
                train,
                weights_hash=model_hash,
                precision=precision,
                device=device,
                calibration=train,
                what=f"{precision} features",
            ).features
            for precision in (native, "int8")
        }
    _, val_ids = validation_split(train.labels, train.fingerprint, validation_count(len(train)))
    recipe = recipe_named("probe")
    assert isinstance(recipe, LogisticRecipe)
    arm = Arm(
        name="probe",
        label="probe",
        dataset="cifar10",
        model="resnet50",
        weights="imagenet-keras",
        method="linear_probe",
        recipe=recipe,
        input_pixels=pixels,
    )
    rows = []
    for budget in _BUDGETS:
        if budget is not None and train_images is not None and budget * 20 > train_images:
            continue
        scores: dict[str, list[float]] = {precision: [] for precision in found}
        for seed in range(1 if budget is None else _SUBSETS):
            trial = Trial(arm=arm, label_budget=LabelBudget(budget), seed=seed, precision=native)
            context = make_context(trial, dataset, model_hash, Path("."), device)
            for precision, values in found.items():
                scores[precision].append(probe_accuracy(context, values, recipe, val_ids))
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
                "cosine": _cosine(found["int8"].values, found[native].values),
            }
        )
    return rows


def probe_accuracy(context: Any, held: Any, recipe: Any, ids: np.ndarray) -> float:
    """Accuracy on the images `ids` of a probe on the context's training images, its L2 selected as in a
    trial.

    held: Features of all training images, of which those of the context and `ids` are read."""
    from headstart.methods.linear_probe import select_l2, solver_options
    from headstart.results import metrics
    from headstart.training.logistic import fit_path, predict_logits

    l2, _, _ = select_l2(context, held, recipe)
    (fit,) = fit_path(
        held.values, held.labels, l2_values=[l2], ids=context.train_ids, **solver_options(context, recipe)
    )
    return metrics.accuracy(predict_logits(held.values, fit.weight, fit.bias, ids=ids), held.labels[ids])


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Mean cosine of the two versions of the first 1,000 images' features."""
    first, second = (np.asarray(side[:1000], np.float64) for side in (a, b))
    return float(
        ((first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)).mean()
    )
