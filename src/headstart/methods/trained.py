"""A trained model in use: what its method is given to rebuild it and to answer about images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.types import ImageSet, Preprocessing

Images = NDArray[np.uint8]
Reader = Callable[[Images, int], NDArray[np.float32]]  # (images, batch size) -> logits


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """What a method stored of a model, and how it is to be computed.

    architecture, state: as in methods.base.Outcome. preprocessing: the network's own. input_pixels: side of
    the network's input. weights_hash: of the weights that it started from. precision: of a network's
    arithmetic, "bf16" or "fp32"; feature_precision: of frozen layers, also "int8"; learned_precision: of the
    features that it learned from. training_images(purpose): the images that it learned from; purpose begins
    the message of the DataError where they are not to be had."""

    architecture: Mapping[str, Any]
    state: Mapping[str, Tensor]
    num_classes: int
    preprocessing: Preprocessing
    input_pixels: int
    weights_hash: str
    precision: str
    feature_precision: str
    learned_precision: str
    device: torch.device
    training_images: Callable[[str], ImageSet]


def batches(images: Images, size: int) -> Iterator[Images]:
    """The images in blocks of `size`, the last one smaller."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
