"""A trained model in use: what its method is given to rebuild it and to answer about images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.models.saved import SavedModel
from headstart.types import ImageSet

BACKBONE = "backbone."  # begins the names of a pretrained network's tensors in a self-contained model
Images = NDArray[np.uint8]
Reader = Callable[[Images, int], NDArray[np.float32]]  # (images, batch size) -> logits


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A saved model and how it is to be computed.

    saved: its description. state: its tensors, as in methods.base.Outcome. precision: of a network's
    arithmetic, "bf16" or "fp32"; feature_precision: of frozen layers, also "int8". training_images(purpose):
    the images that it learned from; purpose begins the message of the DataError where they are not to be
    had."""

    saved: SavedModel
    state: Mapping[str, Tensor]
    precision: str
    feature_precision: str
    device: torch.device
    training_images: Callable[[str], ImageSet]

    @property
    def backbone(self) -> dict[str, Tensor]:
        """The pretrained network's tensors, where the model is self-contained; else empty."""
        return _without(BACKBONE, self.state)

    @property
    def own_state(self) -> dict[str, Tensor]:
        """The tensors that were learned."""
        return {name: value for name, value in self.state.items() if not name.startswith(BACKBONE)}

    @property
    def num_classes(self) -> int:
        return len(self.saved.class_names)


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def batches(images: Images, size: int) -> Iterator[Images]:
    """The images in blocks of `size`, the last one smaller."""
    for start in range(0, len(images), size):
        yield images[start : start + size]
