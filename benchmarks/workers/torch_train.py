"""Peer (a): the training loop of the usual PyTorch tutorial, on the same network.

DataLoader over PIL images with torchvision transforms (random crop with padding, flip, to tensor, normalise),
SGD with momentum, float32, memory format left as it is. The bf16 row adds what the tuning guide says:
autocast, channels_last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision_on_cpu  # noqa: F401  (before torchvision)
from PIL import Image
from protocol import Run, serve
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from headstart.models.cnn import CNN
from headstart.models.spec import CNN_PREPROCESSING

_WARM_STEPS = 5  # more than two worker processes prepare ahead (2 x 2 batches): what is timed is steady


class PILImages(Dataset):
    """What torchvision's CIFAR10 dataset gives: a PIL image through the transform, and its label."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(CNN_PREPROCESSING.mean, CNN_PREPROCESSING.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def prepare(config: dict[str, Any]) -> tuple[Run, dict[str, Any]]:
    torch.manual_seed(0)
    bf16 = config["precision"] == "bf16"
    model = CNN(10, 32, tuple(config["widths"])).train()
    layout = torch.channels_last if bf16 else torch.contiguous_format
    model.to(memory_format=layout)
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.05, momentum=0.9)
    dataset = PILImages(np.load(config["images_file"]), np.load(config["labels_file"]))

    def batches(steps: int, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
        # a sampler that does not run dry: at the end of the timed steps the processes still work ahead
        sampler = RandomSampler(dataset, replacement=True, num_samples=(steps + 8) * config["batch_size"])
        return iter(DataLoader(dataset, config["batch_size"], sampler=sampler, num_workers=workers))

    def seconds(steps: int, workers: int) -> float:
        loader = batches(_WARM_STEPS + steps, workers)
        start = 0.0
        for step in range(_WARM_STEPS + steps):
            if step == _WARM_STEPS:
                start = time.perf_counter()
            images, labels = next(loader)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                logits = model(images.to(memory_format=layout))
            loss = F.cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
            if not np.isfinite(loss.item()):
                raise ArithmeticError("the loss is not finite")
        return time.perf_counter() - start

    took = {workers: seconds(config["warm_steps"], workers) for workers in (0, 2)}
    workers = min(took, key=lambda workers: took[workers])

    def run() -> dict[str, float]:
        return {
            "images": config["steps"] * config["batch_size"],
            "seconds": seconds(config["steps"], workers),
        }

    import torchvision

    return run, {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "threads": torch.get_num_threads(),
        "num_workers": workers,
        "warm_up_seconds_by_num_workers": took,
    }


if __name__ == "__main__":
    serve(prepare)
