"""How often the interval that `headstart advise` states holds the accuracy on further images.

Draws small training sets from 8,192 CIFAR-10 training images, judges the probe of `advise` on repeated folds
(its recipe, the L2 chosen inside every fold), fits it on all drawn images and compares its accuracy on every
other image of the same classes with the interval. Features: of a frozen ResNet-50 at 128 px. The heads are
those of the recipe; many_heads.py fits them side by side.

    python benchmarks/advise_coverage.py --runs 500
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from many_heads import ManyHeads

from headstart.advise.candidates import accuracy_interval
from headstart.data import load_dataset
from headstart.data.arrays import image_set
from headstart.data.splits import FOLDS, fold_numbers, stratified_folds
from headstart.models import load_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.recipes import recipe_named
from headstart.runtime.precision import default_device, resolve_feature_precision

ROWS, PIXELS = 8192, 128
SETTINGS = ((3, 20), (3, 40), (10, 20), (10, 50))  # classes, labels a class
REPETITIONS = (1, 2, 3)
SPREADS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0)  # divisors of the number of images
L2_VALUES = recipe_named("probe-unit").l2_values


def features_of_cifar10() -> tuple[np.ndarray, np.ndarray]:
    """Float16 (ROWS, 2048) and their labels."""
    train = load_dataset("cifar10").train
    images = image_set(np.array(train.images[:ROWS]), train.labels[:ROWS], train.class_names)
    device = default_device()
    layers = FrozenLayers(
        network=load_model("resnet50", "imagenet-keras", image_pixels=PIXELS),
        precision=resolve_feature_precision("auto", device),
        device=device,
    )
    values = FeatureRequest(layers=layers, images=images).extract("features").features.values
    return np.asarray(values), images.labels


class Draw:
    """A small training set, with the rows of the same classes that it leaves."""

    def __init__(self, values: np.ndarray, labels: np.ndarray, classes: int, per_class: int, seed: int):
        generator = np.random.default_rng([seed, classes, per_class])
        chosen = np.sort(generator.permutation(10)[:classes])
        rows = generator.permutation(np.flatnonzero(np.isin(labels, chosen)))
        own = np.searchsorted(chosen, labels[rows]).astype(np.int64)
        drawn = np.concatenate([np.flatnonzero(own == label)[:per_class] for label in range(classes)])
        others = np.setdiff1d(np.arange(len(rows)), drawn)
        self.seed = seed
        self.values, self.labels = _unit(values[rows[drawn]]), own[drawn]
        self.other_values, self.other_labels = _unit(values[rows[others]]), own[others]

    def read(self, repetitions: int) -> tuple[np.ndarray, float]:
        """(bool (repetitions, N): whether each image is named rightly by a head that has not learned from it;
        accuracy on all other images of the head that learned from all that were drawn)."""
        units = np.arange(len(self.labels))
        folds = [fold_numbers(self.labels, units, FOLDS, number) for number in range(repetitions)]
        learned = [fold_of != fold for fold_of in folds for fold in range(FOLDS)]
        learned.append(np.ones(len(units), bool))
        chosen = self._chosen_l2(learned)
        heads = ManyHeads(self.values, self.labels, np.stack(learned), L2_VALUES)
        said = heads.logits()[chosen, np.arange(len(learned))].argmax(2).numpy()  # (P, N)
        right = np.zeros((repetitions, len(units)), bool)
        for place, mask in enumerate(learned[:-1]):
            right[place // FOLDS, ~mask] = (said[place] == self.labels)[~mask]
        final = len(learned) - 1
        others = heads.of_others(self.other_values, final, chosen[final]).argmax(1).numpy()
        return right, float((others == self.other_labels).mean())

    def _chosen_l2(self, learned: list[np.ndarray]) -> np.ndarray:
        """For each mask the place of the L2 that folds inside it choose, as methods.selection does."""
        inner, held = [], []
        for mask in learned:
            ids = np.flatnonzero(mask)
            splits = stratified_folds(self.labels[ids], np.arange(len(ids)), FOLDS, str(self.seed), 0)
            for fit_ids, held_out in splits:
                inner.append(np.isin(np.arange(len(mask)), ids[fit_ids]))
                held.append(np.isin(np.arange(len(mask)), ids[held_out]))
        logits = ManyHeads(self.values, self.labels, np.stack(inner), L2_VALUES).logits()  # (L, P, N, C)
        out = torch.from_numpy(np.stack(held))
        labels = torch.from_numpy(self.labels)
        right = ((logits.argmax(3) == labels) & out).sum(2)
        true = logits.gather(3, labels.expand(logits.shape[:3])[..., None])[..., 0]
        loss = ((logits.logsumexp(3) - true) * out).sum(2)
        right, loss = (part.reshape(len(L2_VALUES), -1, FOLDS).sum(2).numpy() for part in (right, loss))
        order = [np.lexsort((loss[:, place], -right[:, place]))[0] for place in range(right.shape[1])]
        return np.array(order)


def _unit(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def one_run(draw: Draw) -> dict[str, list[float] | float]:
    """The estimates by repetitions, and the truth; whether each interval holds it is in "holds"."""
    right, truth = draw.read(max(REPETITIONS))
    units = np.arange(right.shape[1])
    holds, widths = [], []
    for count in REPETITIONS:
        share = right[:count].mean(axis=0)
        intervals = [accuracy_interval(share, units, spread) for spread in SPREADS]
        holds.append([low <= truth <= high for low, high in intervals])
        widths.append([(high - low) / 2 for low, high in intervals])
    estimates = [float(right[:count].mean()) for count in REPETITIONS]
    return {"estimates": estimates, "truth": truth, "holds": holds, "widths": widths}


def summary(classes: int, per_class: int, runs: list[dict]) -> dict:
    """Coverage by repetitions and divisor: shares of the runs."""
    holds = np.array([run["holds"] for run in runs]).mean(axis=0)
    widths = np.array([run["widths"] for run in runs]).mean(axis=0)
    estimates, truth = np.array([run["estimates"] for run in runs]), np.array([run["truth"] for run in runs])
    return {
        "classes": classes,
        "labels_per_class": per_class,
        "runs": len(runs),
        "coverage": {
            str(count): dict(zip(map(str, SPREADS), holds[place].round(4).tolist(), strict=True))
            for place, count in enumerate(REPETITIONS)
        },
        "half_width": {
            str(count): dict(zip(map(str, SPREADS), widths[place].round(4).tolist(), strict=True))
            for place, count in enumerate(REPETITIONS)
        },
        "estimate_less_truth": (estimates - truth[:, None]).mean(axis=0).round(4).tolist(),
        "deviation": (estimates - truth[:, None]).std(axis=0).round(4).tolist(),
        "mean_accuracy": round(float(truth.mean()), 4),
    }


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
        values, labels = stored["values"], stored["labels"]
    else:
        values, labels = features_of_cifar10()
    rows = []
    wanted = SETTINGS if options.setting is None else SETTINGS[options.setting :][:1]
    for classes, per_class in wanted:
        began, runs = time.perf_counter(), []
        for number in range(1, options.runs + 1):
            runs.append(one_run(Draw(values, labels, classes, per_class, number)))
            if number % 25 == 0 or number == options.runs:
                row = summary(classes, per_class, runs) | {"seconds": round(time.perf_counter() - began, 1)}
                print(json.dumps(row), flush=True)
                options.out.write_text(json.dumps([*rows, row], indent=1) + "\n")
        rows.append(row)


if __name__ == "__main__":
    main()
