"""The custom CNN: small, trained from scratch end to end, strong for its compute.

Layers for 32-px images and widths (64, 256, 256); C is the number of classes, act is ReLU or GELU:

| layer        | operation                                        | output           | learns |
|--------------|--------------------------------------------------|------------------|--------|
| whiten       | 2x2 convolution, 24 fixed filters + bias; act    | (N, 24, 31, 31)  | bias   |
| block 1      | 3x3 conv, 2x2 max-pool, BatchNorm, act           | (N, 64, 15, 15)  | yes    |
|              | 3x3 conv, BatchNorm, act                         | (N, 64, 15, 15)  | yes    |
| block 2      | 3x3 conv, 2x2 max-pool, BatchNorm, act           | (N, 256, 7, 7)   | yes    |
|              | 3x3 conv, BatchNorm, act                         | (N, 256, 7, 7)   | yes    |
| block 3      | 3x3 conv, 2x2 max-pool, BatchNorm, act           | (N, 256, 3, 3)   | yes    |
|              | 3x3 conv, BatchNorm, act                         | (N, 256, 3, 3)   | yes    |
| pool         | global max-pool                                  | (N, 256)         |        |
| head         | linear without bias, divided by the width        | (N, C)           | yes    |

Ideas taken from the cifar10-airbench line of work (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single
GPU"), whose hyperparameters were found on CIFAR-10's own test set: a first layer that whitens 2x2 patches
(its filters are the patch covariance's eigenvectors, computed from training images, and stay fixed),
convolutions that begin as the identity, BatchNorm without learned scale, pooling before the first
normalisation of a block. GELU is theirs; ReLU is faster: 400 against 357 training images/s in bf16 on two
cores, see docs/decisions/0003.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headstart.models.network import Network
from headstart.models.spec import CNN_PREPROCESSING

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": lambda x: F.relu(x, inplace=True),
    "gelu": F.gelu,
}
_WHITEN_PIXELS = 2
_WHITENING_IMAGES = 5000
_WHITEN_EPS = 5e-4  # keeps the flattest patch directions from being blown up into noise


class ConvBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm and activation; the first is followed by a 2x2 max-pool.

    (N, in_channels, H, W) -> (N, out_channels, H // 2, W // 2)."""

    def __init__(
        self, in_channels: int, out_channels: int, activation: str = "relu", norm_momentum: float = 0.4
    ) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[activation]
        self.conv1 = _identity_conv(in_channels, out_channels)
        self.norm1 = _norm(out_channels, norm_momentum)
        self.conv2 = _identity_conv(out_channels, out_channels)
        self.norm2 = _norm(out_channels, norm_momentum)

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return self.activation(self.norm2(self.conv2(x)))


def _identity_conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(
            conv.weight[:in_channels]
        )  # an implicit residual: the first filters pass their input on
    return conv


def _norm(channels: int, momentum: float) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=momentum)
    norm.weight.requires_grad_(False)
    return norm


class CNN(Network):
    """The network of this module's table; logits float32 (N, num_classes) from normalised float (N, 3, S, S).

    image_pixels: S, at least 16. widths: channels of the three blocks. activation: "relu" or "gelu".
    norm_momentum: of BatchNorm's running statistics. `fit_whitening` must be called with training images
    before training."""

    def __init__(
        self,
        num_classes: int,
        image_pixels: int = 32,
        widths: Sequence[int] = (64, 256, 256),
        activation: str = "relu",
        norm_momentum: float = 0.4,
    ) -> None:
        super().__init__()
        if image_pixels < 16:
            raise ValueError(f"image_pixels must be at least 16 (three poolings), got {image_pixels}")
        self.preprocessing = CNN_PREPROCESSING
        filters = 2 * 3 * _WHITEN_PIXELS**2
        self.activation = _ACTIVATIONS[activation]
        self.whiten = nn.Conv2d(3, filters, _WHITEN_PIXELS)
        self.whiten.weight.requires_grad_(False)
        self.blocks = nn.ModuleList(
            ConvBlock(i, o, activation, norm_momentum)
            for i, o in zip((filters, *widths[:-1]), widths, strict=True)
        )
        self.head = nn.Linear(widths[-1], num_classes, bias=False)
        with torch.no_grad():
            self.head.weight /= self.head.weight.std()
        self.feature_dim = widths[-1]
        self.channels_last()

    def fit_to_images(self, sample: Callable[[int], Tensor]) -> None:
        """Fits the first layer; see fit_whitening."""
        self.fit_whitening(sample(_WHITENING_IMAGES))

    @torch.no_grad()
    def fit_whitening(self, images: Tensor) -> None:
        """Sets the first layer from normalised float images (N, 3, S, S); a few thousand suffice."""
        size = _WHITEN_PIXELS
        patches = (
            images.unfold(2, size, 1)
            .unfold(3, size, 1)
            .permute(0, 2, 3, 1, 4, 5)
            .reshape(-1, 3 * size * size)
        )
        # float64 on the CPU: the same bits whatever the device or precision of training
        patches = patches.to("cpu", torch.float64)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        # eigh leaves each vector's sign open: fix it, so that equal data give equal filters everywhere
        vectors = vectors * torch.sign(vectors[vectors.abs().argmax(0), torch.arange(len(values))])
        filters = (vectors / (values + _WHITEN_EPS).sqrt()).T.reshape(-1, 3, size, size)
        self.whiten.weight.copy_(torch.cat((filters, -filters)).to(self.whiten.weight))

    def forward_features(self, x: Tensor) -> Tensor:
        """Pooled features (N, widths[-1])."""
        x = self.activation(self.whiten(x))
        for block in self.blocks:
            x = block(x)
        return x.amax((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        features = self.forward_features(x)
        logits: Tensor = self.head(features)
        return logits.float() / features.shape[1]

    def last_block(self) -> nn.Module:
        """The last of the three blocks."""
        return self.blocks[-1]
