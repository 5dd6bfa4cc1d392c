"""What the tests of the transfer methods share: a tiny dataset of real images, random ResNet-18 weights as a
file, and trials of any method on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from headstart.data import load_dataset
from headstart.data.arrays import dataset, image_set
from headstart.methods import METHODS
from headstart.methods.base import Context
from headstart.models import load_model
from headstart.recipes import recipe_named
from headstart.studies.trial import make_context
from headstart.types import Arm, Dataset, LabelBudget, Trial

CPU = torch.device("cpu")
SHORT: dict[str, dict[str, Any]] = {  # what makes a recipe last two or three steps
    "scratch": {"duration": "2 epochs", "batch_size": 8},
    "finetune": {"duration": "2 epochs", "batch_size": 8},
    "partial": {"duration": "2 epochs", "batch_size": 8},
    "lp_ft": {"duration": "2 epochs", "batch_size": 8, "l2_values": (1.0, 0.1)},
    "linear_probe": {"l2_values": (1.0, 0.1)},
    "knn": {"k_values": (1, 3)},
}


def tiny_dataset(train: int = 60, test: int = 12, classes: int = 3) -> Dataset:
    """The first CIFAR-10 images of some classes, in turn."""
    whole = load_dataset("cifar10").train
    places = np.stack(
        [np.flatnonzero(whole.labels == label)[: (train + test) // classes] for label in range(classes)], 1
    ).ravel()
    images, labels = np.ascontiguousarray(whole.images[places]), whole.labels[places].astype(np.int64)
    names = whole.class_names[:classes]
    return dataset(
        "tiny",
        "tiny",
        "CIFAR-10",
        image_set(images[:train], labels[:train], names),
        image_set(images[train:], labels[train:], names),
    )


def random_weights(folder: Path) -> str:
    """The path of a file of random ResNet-18 weights whose BatchNorm statistics matter."""
    path = folder / "resnet18.safetensors"
    if not path.exists():
        state = load_model("resnet18", "none", num_classes=1000, seed=7).state_dict()
        rng = torch.Generator().manual_seed(1)
        for name, value in state.items():
            if name.endswith("running_mean"):
                value.copy_(0.1 * torch.randn(value.shape, generator=rng))
            elif name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=rng) + 0.5)
        save_file({name: value.contiguous() for name, value in state.items()}, path)
    return str(path)


def context_of(
    method: str,
    folder: Path,
    *,
    weights: str = "none",
    labels_per_class: int | None = 5,
    data: Dataset | None = None,
    recipe: str = "",
    model: str = "resnet18",
    pixels: int = 32,
    **changes: Any,
) -> Context:
    """A trial of a method on the tiny dataset, in float32, with a short recipe."""
    name = recipe or {"scratch": "resnet-scratch"}.get(method, METHODS[method].default_recipe)
    value = recipe_named(name).replace(**(SHORT[method] | changes))
    arm = Arm(
        name=method,
        label=method,
        dataset="tiny",
        model=model,
        weights=weights,
        method=method,
        recipe=value,
        recipe_name=name,
        input_pixels=pixels,
    )
    trial = Trial(
        arm=arm,
        label_budget=LabelBudget(labels_per_class),
        seed=0,
        precision="fp32",
        feature_precision="fp32",
    )
    return make_context(trial, data or tiny_dataset(), folder, CPU)
