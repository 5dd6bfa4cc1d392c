"""Logits of a network for images: one code path for validation, testing and prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.runtime.precision import autocast

BATCH = 500  # images, of inputs up to 64 px; of larger ones fewer, so that activations take no more memory
_BATCH_PIXELS = BATCH * 64**2


def batch_for(input_pixels: int) -> int:
    """Images that evaluation passes at a time through a network with inputs of that side."""
    return min(BATCH, max(1, _BATCH_PIXELS // input_pixels**2))


@torch.no_grad()
def predict_logits(
    model: Network,
    images: NDArray[np.uint8] | Tensor,
    *,
    device: torch.device,
    precision: str,
    mirrored: bool = False,
    batch_size: int | None = None,
) -> NDArray[np.float32]:
    """Logits float32 (N, C) of uint8 images (N, H, W, 3), in evaluation mode; the model's mode is put back
    after.

    mirrored: look at each image's mirror image instead. batch_size: images at a time, None: `batch_for` their
    input's size. The last partial batch is counted."""
    preprocessing = model.preprocessing
    size = batch_size or batch_for(preprocessing.size_pixels or images.shape[1])

    def inputs() -> Iterator[Tensor]:
        for start in range(0, len(images), size):
            batch = images[start : start + size]
            if mirrored:
                batch = batch.flip(2) if isinstance(batch, Tensor) else batch[:, :, ::-1]
            yield preprocess(batch, preprocessing, device=device)

    return forward_logits(model, inputs(), device=device, precision=precision)


@torch.no_grad()
def forward_logits(
    model: Network, inputs: Iterable[Tensor], *, device: torch.device, precision: str
) -> NDArray[np.float32]:
    """Logits float32 (N, C) of batches that are the network's input as they are, in evaluation mode; the
    model's mode is put back after."""
    was_training = model.training
    model.eval()
    parts = []
    try:
        for x in inputs:
            with autocast(precision, device):
                parts.append(model(x).float().cpu())
    finally:
        model.train(was_training)
    return torch.cat(parts).numpy()
