"""Logits of a network for images: one code path for validation, testing and prediction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from headstart.models.preprocess import preprocess, preprocessing_carried_by
from headstart.precision import autocast

BATCH = 500


@torch.no_grad()
def predict_logits(
    model: nn.Module,
    images: np.ndarray | Tensor,
    *,
    device: torch.device,
    precision: str,
    mirrored: bool = False,
    on_batch: Callable[[int], None] = lambda images: None,
) -> np.ndarray:
    """Logits float32 (N, C) of uint8 images (N, H, W, 3), in evaluation mode; the model's mode is put back after.

    mirrored: look at each image's mirror image instead. The last partial batch is counted."""
    was_training = model.training
    model.eval()
    parts = []
    try:
        for start in range(0, len(images), BATCH):
            batch = images[start : start + BATCH]
            if mirrored:
                batch = batch.flip(2) if isinstance(batch, Tensor) else batch[:, :, ::-1]
            x = preprocess(batch, preprocessing_carried_by(model), device=device)
            with autocast(precision, device):
                parts.append(model(x).float().cpu())
            on_batch(len(batch))
    finally:
        model.train(was_training)
    return torch.cat(parts).numpy()
