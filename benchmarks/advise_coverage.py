"""How often the interval that `headstart advise` states holds the accuracy on further images.

Draws small training sets from 6,000 CIFAR-10 training images (600 a class), reads a linear probe by the same
folds and code as `advise`, fits it on all drawn images and compares its accuracy on every other image with
the interval. Features: a fixed quarter of those of a frozen ResNet-50 at 64 px, and every third L2, which
makes a fit fast.

    python benchmarks/advise_coverage.py --runs 500
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from headstart.advise.candidates import FOLD_SPREAD, accuracy_interval
from headstart.data import load_dataset
from headstart.data.arrays import image_set
from headstart.data.splits import FOLDS, fold_numbers, stratified_folds
from headstart.models import load_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.recipes import recipe_named
from headstart.runtime.precision import default_device, resolve_feature_precision
from headstart.training.logistic import SolverOptions, fit_path, predict_logits

PER_CLASS, PIXELS, EVERY_FEATURE, EVERY_L2 = 600, 64, 4, 3
SETTINGS = ((10, 20), (3, 40), (10, 100))  # classes, labels a class


def features_of_cifar10() -> tuple[np.ndarray, np.ndarray]:
    """Float32 (6000, 2048) and their labels."""
    train = load_dataset("cifar10").train
    ids = np.concatenate([np.flatnonzero(train.labels == label)[:PER_CLASS] for label in range(10)])
    images = image_set(np.array(train.images[ids]), train.labels[ids], train.class_names)
    device = default_device()
    layers = FrozenLayers(
        network=load_model("resnet50", "imagenet-keras", image_pixels=PIXELS),
        precision=resolve_feature_precision("auto", device),
        device=device,
    )
    values = FeatureRequest(layers=layers, images=images).extract("features").features.values
    return np.asarray(values, np.float32), images.labels


def fit_probe(values: np.ndarray, labels: np.ndarray, ids: np.ndarray, classes: int):
    """The head with the L2 that five folds of `ids` choose, as methods.selection does."""
    recipe = recipe_named("probe")
    options, l2_values = SolverOptions(tolerance=1e-3), recipe.l2_values[::EVERY_L2]

    def path(rows, values_of_l2):
        return fit_path(
            values, labels, l2_values=values_of_l2, ids=np.sort(rows), num_classes=classes, options=options
        )

    scores = np.zeros((len(l2_values), 2))
    for learned, judged in stratified_folds(labels[ids], np.arange(len(ids)), FOLDS, "coverage", 0):
        for place, fit in enumerate(path(ids[learned], l2_values)):
            logits = predict_logits(values, fit.weight, fit.bias, ids=np.sort(ids[judged]))
            truth = labels[np.sort(ids[judged])]
            shifted = logits - logits.max(axis=1, keepdims=True)
            loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(truth)), truth]
            scores[place] += ((logits.argmax(axis=1) == truth).sum(), -loss.sum())
    best = max(range(len(scores)), key=lambda place: tuple(scores[place]))
    return path(ids, [l2_values[best]])[0]


def one_run(
    values: np.ndarray, labels: np.ndarray, classes: int, per_class: int, generator: np.random.Generator
):
    """(estimate, interval, accuracy of the model fitted on all drawn images, on every other image)."""
    chosen = np.sort(generator.permutation(10)[:classes])
    rows = np.flatnonzero(np.isin(labels, chosen))
    own = np.searchsorted(chosen, labels[rows])
    points = values[rows]
    ids = np.sort(
        np.concatenate([generator.permutation(np.flatnonzero(own == c))[:per_class] for c in range(classes)])
    )
    fold_of = fold_numbers(own[ids], generator.permutation(len(ids)))
    right = np.zeros(len(ids), bool)
    for fold in range(FOLDS):
        fit = fit_probe(points, own, ids[fold_of != fold], classes)
        held = ids[fold_of == fold]
        said = predict_logits(points, fit.weight, fit.bias, ids=held).argmax(axis=1)
        right[fold_of == fold] = said == own[held]
    final = fit_probe(points, own, ids, classes)
    others = np.setdiff1d(np.arange(len(own)), ids)
    truth = float(
        (predict_logits(points, final.weight, final.bias, ids=others).argmax(axis=1) == own[others]).mean()
    )
    return float(right.mean()), accuracy_interval(right, np.arange(len(ids)), FOLD_SPREAD), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--features", type=Path, help="an .npz with values and labels, made before")
    parser.add_argument("--out", type=Path, default=Path("advise_coverage.json"))
    parser.add_argument("--setting", type=int, help="only this one of the settings, from 0")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.features:
        stored = np.load(options.features)
        values, labels = stored["values"].astype(np.float32), stored["labels"]
    else:
        values, labels = features_of_cifar10()
    values, rows = np.ascontiguousarray(values[:, ::EVERY_FEATURE]), []
    wanted = SETTINGS if options.setting is None else SETTINGS[options.setting :][:1]
    for classes, per_class in wanted:
        began, generator, runs = time.perf_counter(), np.random.default_rng(0), []
        for number in range(1, options.runs + 1):
            runs.append(one_run(values, labels, classes, per_class, generator))
            if number % 25 == 0 or number == options.runs:
                row = summary(classes, per_class, runs) | {"seconds": round(time.perf_counter() - began, 1)}
                print(json.dumps(row), flush=True)
                options.out.write_text(json.dumps([*rows, row], indent=1) + "\n")
        rows.append(row)


def summary(classes: int, per_class: int, runs: list) -> dict[str, float]:
    """Coverage and what it consists of; shares of the runs."""
    return {
        "classes": classes,
        "labels_per_class": per_class,
        "runs": len(runs),
        "coverage": float(np.mean([low <= truth <= high for _, (low, high), truth in runs])),
        "below": float(np.mean([truth < low for _, (low, _), truth in runs])),
        "above": float(np.mean([truth > high for _, (_, high), truth in runs])),
        "mean_estimate": float(np.mean([estimate for estimate, _, _ in runs])),
        "mean_accuracy": float(np.mean([truth for _, _, truth in runs])),
        "mean_half_width": float(np.mean([(high - low) / 2 for _, (low, high), _ in runs])),
    }


if __name__ == "__main__":
    main()
