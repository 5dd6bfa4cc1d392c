"""A network of two convolutions, with weights that the package draws itself."""

import torch
from torch import Tensor, nn

from headstart.models import ModelSpec, Network, WeightsSource
from headstart.types import Preprocessing

_PREPROCESSING = Preprocessing(size_pixels=16, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


class Pool(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))


class ToyNet(Network):
    """Two convolutions with BatchNorm, the mean over positions and a linear head."""

    def __init__(self, num_classes: int, image_pixels: int = 16) -> None:
        super().__init__()
        self.feature_dim = 16
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1 = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.pool = Pool()
        self.head = nn.Linear(self.feature_dim, num_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.pool(self.layer1(self.stem(x)))

    def stages(self) -> list[tuple[str, nn.Module]]:
        return [("stem", self.stem), ("layer1", self.layer1)]

    def units(self) -> list[tuple[str, nn.Module]]:
        return [*self.stages(), ("pool", self.pool)]


def _drawn(weights: str) -> dict[str, Tensor]:
    """The state dict of the package's own weights."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(7)
        return ToyNet(3).state_dict()


MODEL = ModelSpec(
    title="Toy network",
    build=ToyNet,
    sources={
        "drawn": WeightsSource(
            preprocessing=_PREPROCESSING,
            licence="none needed",
            origin="drawn by headstart-toy",
            pretraining="none",
        ),
        "none": WeightsSource(
            preprocessing=_PREPROCESSING, licence="none needed", origin="random start", pretraining="none"
        ),
    },
    num_classes=3,
    input_pixels=16,
    head="head",
    has_cuts=True,
    fetch=_drawn,
)
