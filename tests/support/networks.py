"""Networks and images that several tests of networks share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

KERAS_FORM = {"stride_on_first": True, "conv_bias": True, "bn_eps": 1e-3}


def random_images(count: int = 2, pixels: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))


def with_random_statistics(model: nn.Module) -> nn.Module:
    """Every BatchNorm gets statistics, scale and shift that matter (a fresh one is the identity)."""
    rng = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=rng)
            module.running_var = torch.rand(module.num_features, generator=rng) + 0.5
            module.weight.data = torch.rand(module.num_features, generator=rng) + 0.5
            module.bias.data = 0.1 * torch.randn(module.num_features, generator=rng)
    return model
