"""ResNet-18/34/50/101, in both forms in which published ImageNet weights exist.

| stage  | ResNet-18      | ResNet-34      | ResNet-50              | ResNet-101             | at 224 px |
|--------|----------------|----------------|------------------------|------------------------|-----------|
| stem   | 7x7 convolution, stride 2, BatchNorm, ReLU, 3x3 max-pool, stride 2                 || 56 px     |
| layer1 | 2 x (3x3, 3x3) | 3 x (3x3, 3x3) | 3 x (1x1, 3x3, 1x1)    | 3 x (1x1, 3x3, 1x1)    | 56 px     |
| layer2 | 2 x            | 4 x            | 4 x                    | 4 x                    | 28 px     |
| layer3 | 2 x            | 6 x            | 6 x                    | 23 x                   | 14 px     |
| layer4 | 2 x            | 3 x            | 3 x                    | 3 x                    | 7 px      |
| pool   | mean over positions: 512 features | 2,048 features         | 2,048 features         | 1 x 1     |
| fc     | linear to the classes                                                              || logits    |

The two forms differ in three things:

| form        | stride 2 of a bottleneck sits on | convolutions carry biases | BatchNorm eps |
|-------------|----------------------------------|---------------------------|---------------|
| Keras (v1)  | the first 1x1                    | yes                       | 1e-3          |
| torchvision | the 3x3                          | no                        | 1e-5          |

Keras pads by one zero and pools without padding; the values are ReLU outputs (>= 0), so that equals
max-pooling with padding 1. Parameter names are torchvision's: its state dicts load as they are.

A small stem (not in the paper) neither strides nor pools: 32-px images then have as many positions as 128-px
ones have here.

Source: He et al. 2015, "Deep Residual Learning for Image Recognition", table 1.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from headstart.models.network import Network
from headstart.runtime.cost import count_flops

_WIDTHS = (64, 128, 256, 512)  # channels of the four stages before expansion; the stem has the first


class ResidualBlock(nn.Module):
    """Convolutions around a shortcut, which is the block's input or a convolution of it."""

    downsample: nn.Sequential | None

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """In order, the shortcut's apart."""
        return [module for module in self.children() if isinstance(module, nn.Conv2d)]

    @property
    def shortcut(self) -> nn.Conv2d | None:
        """The shortcut's convolution; None where the shortcut is the input itself."""
        convolution = None if self.downsample is None else self.downsample[0]
        assert convolution is None or isinstance(convolution, nn.Conv2d)
        return convolution


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions around a shortcut; (N, C, H, W) -> (N, width, H/stride, W/stride)."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: int, *, stride_on_first: bool, bias: bool, eps: float
    ) -> None:
        super().__init__()
        # here both forms put the stride on the first convolution
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=bias)
        self.bn1 = nn.BatchNorm2d(width, eps)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1 convolutions around a shortcut; (N, C, H, W) -> (N, 4 * width, H/stride, W/stride)."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: int, *, stride_on_first: bool, bias: bool, eps: float
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_on_first else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=bias)
        self.bn1 = nn.BatchNorm2d(width, eps)
        self.conv2 = nn.Conv2d(width, width, 3, second, padding=1, bias=bias)
        self.bn2 = nn.BatchNorm2d(width, eps)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=bias)
        self.bn3 = nn.BatchNorm2d(width * self.expansion, eps)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.relu(out)
        return activated


class MeanPool(nn.Module):
    """Mean over positions: (N, C, H, W) of any float type -> float32 (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))  # float32: a mean of bf16 values must not be rounded to bf16


_ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(Network):
    """The network of this module's table; logits float32 (N, num_classes) from preprocessed float (N, 3, S,
    S).

    depth: 18, 34, 50 or 101. stride_on_first, conv_bias, bn_eps: the form, see the module's second table.
    small_stem: 0 for the paper's stem; else the side of the filters of one whose convolution has stride 1 and
    that does not pool, so that 32-px images keep their positions: 7 takes the published weights as they are,
    3 is usual for 32-px images from random weights.

    The network is a row of units: "stem", the blocks "layer1.0", "layer1.1", ... "layer4.N", "pool", and the
    head "fc". A *cut* is the name of the unit (or stage: "layer1" is its last block) after which the row is
    cut. Random weights come from torch's global generator: see `headstart.models.load_model` for a seeded
    start.
    """

    head_name = "fc"

    def __init__(
        self,
        depth: int,
        num_classes: int = 1000,
        *,
        stride_on_first: bool = False,
        conv_bias: bool = False,
        bn_eps: float = 1e-5,
        small_stem: int = 0,
    ) -> None:
        super().__init__()
        if depth not in _ARCHITECTURES:
            raise ValueError(f"depth must be one of {sorted(_ARCHITECTURES)}, got {depth}")
        block, counts = _ARCHITECTURES[depth]
        self.depth = depth
        side, stride = (small_stem, 1) if small_stem else (7, 2)
        self.conv1 = nn.Conv2d(3, _WIDTHS[0], side, stride, padding=side // 2, bias=conv_bias)
        self.bn1 = nn.BatchNorm2d(_WIDTHS[0], bn_eps)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small_stem else nn.MaxPool2d(3, 2, padding=1)
        channels = _WIDTHS[0]
        for number, (width, count) in enumerate(zip(_WIDTHS, counts, strict=True), start=1):
            blocks: list[nn.Module] = []
            for index in range(count):
                stride = 2 if index == 0 and number > 1 else 1
                unit = block(
                    channels, width, stride, stride_on_first=stride_on_first, bias=conv_bias, eps=bn_eps
                )
                if stride != 1 or channels != width * block.expansion:
                    unit.downsample = nn.Sequential(
                        nn.Conv2d(channels, width * block.expansion, 1, stride, bias=conv_bias),
                        nn.BatchNorm2d(width * block.expansion, bn_eps),
                    )
                blocks.append(unit)
                channels = width * block.expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.avgpool = MeanPool()
        self.feature_dim = channels
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The backbone in order: ("stem", ...), ("layer1", ...) to ("layer4", ...), ("pool", ...)."""
        stem = nn.Sequential(self.conv1, self.bn1, self.relu, self.maxpool)
        return [
            ("stem", stem),
            *((name, self.get_submodule(name)) for name in ("layer1", "layer2", "layer3", "layer4")),
            ("pool", self.avgpool),
        ]

    def units(self) -> list[tuple[str, nn.Module]]:
        """The backbone in order, block by block: "stem", "layer1.0", ..., "pool"."""
        units: list[tuple[str, nn.Module]] = []
        for name, stage in self.stages():
            if name.startswith("layer"):
                units += [(f"{name}.{index}", block) for index, block in stage.named_children()]
            else:
                units.append((name, stage))
        return units

    def forward_features(self, x: Tensor) -> Tensor:
        """Pooled features, float32 (N, feature_dim)."""
        for _, unit in self.units():
            x = unit(x)
        return x

    def frozen_copy(self) -> ResNet:
        """A frozen eval-mode copy, BatchNorm folded into the convolutions."""
        return fold_batchnorm(self)


_Module = TypeVar("_Module", bound=nn.Module)


def fold_batchnorm(model: _Module) -> _Module:
    """A frozen eval-mode copy with each BatchNorm folded into the convolution before it: fewer passes over
    memory.

    Pairs are attributes conv<i>/bn<i> of a module and neighbours in an nn.Sequential. The outputs equal the
    original's up to rounding; statistics are the stored ones, whatever mode the original is in.

    Raises: ValueError where a BatchNorm has no such convolution."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    for parent in list(folded.modules()):
        children = dict(parent.named_children())
        order = list(children)
        for position, name in enumerate(order):
            norm = children[name]
            if not isinstance(norm, nn.BatchNorm2d):
                continue
            if isinstance(parent, nn.Sequential):
                before = order[position - 1] if position else ""
            else:
                before = name.replace("bn", "conv", 1)
            conv = children.get(before)
            if not isinstance(conv, nn.Conv2d):
                raise ValueError(
                    f"BatchNorm {name!r} of {type(parent).__name__} has no convolution to be folded into"
                )
            setattr(parent, before, fuse_conv_bn_eval(conv, norm))
            setattr(parent, name, nn.Identity())
    return folded.requires_grad_(False)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters (BatchNorm's running statistics are not parameters)."""
    return sum(parameter.numel() for parameter in model.parameters())


def forward_flops(model: nn.Module, image_pixels: int) -> int:
    """Floating-point operations of one image's forward pass: two for each multiply-add of convolutions and
    products.

    Counted on shapes alone where the model lies on the "meta" device."""
    device = next(model.parameters()).device
    with torch.no_grad():
        run = copy.deepcopy(model).eval()
        return count_flops(lambda: run(torch.empty(1, 3, image_pixels, image_pixels, device=device)))[1]
