"""Peer (c): a fastai Learner on the same network (the torch module), with fastai's own transforms, Adam (its
default).

The bf16 row needs a callback of ours: see ProcessorBF16."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torchvision_on_cpu  # noqa: F401  (before torchvision)
from fastai import __version__ as fastai_version
from fastai.callback.core import Callback, CancelFitException
from fastai.vision.all import (
    CategoryBlock,
    CropPad,
    CrossEntropyLossFlat,
    DataBlock,
    Flip,
    ImageBlock,
    Learner,
    Normalize,
    PadMode,
    RandomCrop,
)
from protocol import Run, serve

from headstart.models.cnn import CNN
from headstart.models.spec import CNN_PREPROCESSING

_WARM_STEPS = 5  # more than the loader's processes prepare ahead


class Clock(Callback):
    """Wall seconds of `steps` steps after the warm ones; then the fit is cancelled."""

    def __init__(self, steps: int) -> None:
        self.steps, self.done, self.start, self.seconds, self.last_loss = steps, 0, 0.0, 0.0, float("nan")

    def after_batch(self) -> None:
        self.done += 1
        if self.done == _WARM_STEPS:
            self.start = time.perf_counter()
        if self.done == _WARM_STEPS + self.steps:
            self.seconds = time.perf_counter() - self.start
            self.last_loss = float(self.loss)
            raise CancelFitException


class ProcessorBF16(Callback):
    """What fastai's MixedPrecision does, for a processor: its own to_bf16 asks for autocast on CUDA and
    changes nothing here."""

    def before_batch(self) -> None:
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.autocast.__enter__()

    def after_loss(self) -> None:
        self.autocast.__exit__(None, None, None)


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    torch.manual_seed(0)
    images, labels = np.load(config["images_file"]), np.load(config["labels_file"])
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_x=lambda index: images[index],
        get_y=lambda index: int(labels[index]),
        splitter=lambda items: (list(range(len(items) - 100)), list(range(len(items) - 100, len(items)))),
        item_tfms=[CropPad(40, pad_mode=PadMode.Zeros), RandomCrop(32)],
        batch_tfms=[Flip(), Normalize.from_stats(CNN_PREPROCESSING.mean, CNN_PREPROCESSING.std, cuda=False)],
    )
    count = min(len(images), (_WARM_STEPS + config["steps"] + 8) * config["batch_size"] + 100)

    def learner(workers: int) -> Learner:
        loaders = block.dataloaders(
            list(range(count)), bs=config["batch_size"], num_workers=workers, device=torch.device("cpu")
        )
        model = CNN(10, 32, tuple(config["widths"]))
        model.to(memory_format=torch.contiguous_format)
        extra = [ProcessorBF16()] if config["precision"] == "bf16" else []
        return Learner(loaders, model, loss_func=CrossEntropyLossFlat(), cbs=extra)

    def seconds(made: Learner, steps: int) -> float:
        clock = Clock(steps)
        with made.no_bar(), made.no_logging():
            made.fit(1, cbs=clock)
        if not np.isfinite(clock.last_loss):
            raise ArithmeticError("the loss is not finite")
        return clock.seconds

    learners = {workers: learner(workers) for workers in (0, 2)}
    took = {workers: seconds(made, config["warm_steps"]) for workers, made in learners.items()}
    workers = min(took, key=lambda workers: took[workers])

    def run() -> dict[str, float]:
        return {
            "images": config["steps"] * config["batch_size"],
            "seconds": seconds(learners[workers], config["steps"]),
        }

    return run, {
        "fastai": fastai_version,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "num_workers": workers,
        "warm_up_seconds_by_num_workers": took,
    }


if __name__ == "__main__":
    serve(prepare)
