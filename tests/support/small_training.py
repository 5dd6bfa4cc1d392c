"""The smallest training there is: a linear layer on ten points, a few steps an epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from headstart.models.network import Network
from headstart.recipes import TrainingRecipe
from headstart.training.step import Step

CPU = torch.device("cpu")


class Numbers:
    """Ten 2-d points in two classes, in batches of at most four."""

    steps_per_epoch = 3
    batch_size = 4
    leaves_single = False
    joins_single = False

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(10, 2, generator=generator)
        self.y = (self.x[:, 0] > 0).long()

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(10, generator=torch.Generator().manual_seed(epoch))
        for start in range(0, 10, 4):
            part = order[start : start + 4]
            yield self.x[part], self.y[part]


class Linear(Network):
    """One linear layer: its input is its features."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 2
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[0.1, 0.2], [0.3, -0.1]]))
            self.head.bias.zero_()

    def forward_features(self, x: Tensor) -> Tensor:
        return x


def step_of(recipe: TrainingRecipe, network: Network | None = None) -> Step:
    return Step(network=network or Linear(), recipe=recipe, prepare=lambda x: x, device=CPU, precision="fp32")
