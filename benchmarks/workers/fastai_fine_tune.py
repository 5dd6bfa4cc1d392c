"""Peer: fastai's vision tutorial, `fine_tune` with `aug_transforms`, on the ResNet-50 weights of the others.

Its user has minutes, not epochs: the largest of the usual sizes at which three epochs fit, and as many epochs
as fit there, from a step that is timed first; that counts."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision_on_cpu  # noqa: F401  (before torchvision)
from fastai import __version__ as fastai_version
from fastai.callback.core import Callback, CancelFitException
from fastai.vision.all import (
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Learner,
    PILImage,
    Resize,
    aug_transforms,
    create_head,
    params,
)
from protocol import Run, serve
from torch import Tensor, nn

from headstart.models import load_model

_SIZES, _BATCH, _LEAST_EPOCHS, _FROZEN_SHARE = (224, 160, 128, 96), 32, 3, 0.4


class Body(nn.Module):
    """The pretrained network up to its last activations, from RGB values of 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_model("resnet50", "imagenet-keras")
        self.register_buffer("mean", torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.network.forward_to(255 * x.flip(1) - self.mean, "layer4")


class Limit(Callback):
    """Ends training when the minutes are over."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline

    def after_batch(self) -> None:
        if time.perf_counter() > self.deadline:
            raise CancelFitException


def step_seconds(model: nn.Module, pixels: int) -> float:
    """Of a step of all layers, after one to warm up."""
    for _ in range(2):
        start = time.perf_counter()
        model(torch.rand(8, 3, pixels, pixels)).sum().backward()
        model.zero_grad()
    return (time.perf_counter() - start) * _BATCH / 8


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    def run() -> dict[str, Any]:
        start, used = time.perf_counter(), time.process_time()
        deadline = start + 60 * config["minutes"]
        torch.manual_seed(config["seed"])
        model = nn.Sequential(Body(), create_head(2048, config["classes"]))
        count = sum(1 for _ in Path(config["folder"]).rglob("*.png"))
        small = step_seconds(model, _SIZES[-1]) * math.ceil(count / _BATCH) / _SIZES[-1] ** 2
        epochs = {
            size: int((deadline - time.perf_counter()) / (small * size**2) - _FROZEN_SHARE) for size in _SIZES
        }
        size = next((size for size in _SIZES if epochs[size] >= _LEAST_EPOCHS), _SIZES[-1])
        loaders = ImageDataLoaders.from_folder(
            config["folder"],
            valid_pct=0.05,
            seed=config["seed"],
            item_tfms=Resize(size),
            batch_tfms=aug_transforms(),
            bs=_BATCH,
            num_workers=0,
            device=torch.device("cpu"),
        )
        learner = Learner(
            loaders,
            model,
            loss_func=CrossEntropyLossFlat(),
            splitter=lambda whole: [params(whole[0]), params(whole[1])],
            cbs=Limit(deadline),
        )
        with learner.no_bar(), learner.no_logging():
            learner.fine_tune(max(1, min(epochs[size], 20)))
        seconds, processor = time.perf_counter() - start, time.process_time() - used
        test, labels = np.load(config["images_file"]), np.load(config["labels_file"])
        shown = loaders.test_dl([PILImage.create(image) for image in test], bs=64)
        with learner.no_bar(), learner.no_logging():
            learner.remove_cbs(Limit)
            chances, _ = learner.get_preds(dl=shown)
        order = np.array([sorted(loaders.vocab).index(name) for name in loaders.vocab])
        right = order[chances.argmax(1).numpy()] == labels
        return {
            "seconds": seconds,
            "processor_seconds": processor,
            "accuracy": float(right.mean()),
            "pixels": size,
            "epochs": max(1, min(epochs[size], 20)),
        }

    return run, {"fastai": fastai_version, "torch": torch.__version__}


if __name__ == "__main__":
    serve(prepare)
