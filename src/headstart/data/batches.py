"""Training batches from images that live on the device as uint8; augmentation is indexing, done there."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from headstart.errors import DataError
from headstart.seeding import seed_for


class ImageBatches:
    """Shuffled, augmented batches, epoch by epoch; an epoch's batches depend on (seed, epoch) alone.

    images: uint8 (N, H, W, 3) on any device. labels: int64 (N,). The last, partial batch is kept.
    flip and translate_pixels: see recipes.TrainingRecipe.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, *, batch_size: int, seed: int, flip: str = "none", translate_pixels: int = 0
    ) -> None:
        if len(images) == 0:
            raise DataError("there is no training image; give at least one a class")
        if translate_pixels >= min(images.shape[1:3]):
            raise DataError(f"translate_pixels {translate_pixels} is not below the image size {tuple(images.shape[1:3])}")
        self.images, self.labels = images, labels
        self.batch_size = min(batch_size, len(images))
        self.seed, self.flip, self.translate_pixels = seed, flip, translate_pixels
        self._first_side = torch.rand(len(images), generator=self._generator("first side")) < 0.5

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields (images uint8 (B, H, W, 3), labels int64 (B,)) once through the data."""
        generator = self._generator("epoch", epoch)
        order = torch.randperm(len(self.images), generator=generator)
        count, shift = len(order), self.translate_pixels
        shifts = torch.randint(-shift, shift + 1, (2, count), generator=generator)
        if self.flip == "alternating":
            mirrored = self._first_side[order] ^ (epoch % 2 == 1)
        elif self.flip == "random":
            mirrored = torch.rand(count, generator=generator) < 0.5
        else:
            mirrored = torch.zeros(count, dtype=torch.bool)
        device = self.images.device
        order, shifts, mirrored = order.to(device), shifts.to(device), mirrored.to(device)
        for start in range(0, count, self.batch_size):
            part = slice(start, start + self.batch_size)
            rows = order[part]
            yield augment(self.images, rows, shifts[:, part], mirrored[part]), self.labels[rows]

    def _generator(self, *purpose: object) -> torch.Generator:
        return torch.Generator().manual_seed(seed_for(self.seed, "batches", *purpose))


def augment(images: Tensor, ids: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """images[ids], each shifted by shifts[:, i] (down, right; reflected at the border), then mirrored where asked.

    images: uint8 (N, H, W, 3). ids: int64 (B,). shifts: int64 (2, B). mirrored: bool (B,). Returns uint8 (B, H, W, 3)."""
    height, width = images.shape[1:3]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    from_rows = _reflect(rows - shifts[0][:, None], height)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    from_columns = _reflect(columns - shifts[1][:, None], width)
    return images[ids[:, None, None], from_rows[:, :, None], from_columns[:, None, :]]


def _reflect(position: Tensor, size: int) -> Tensor:
    """Positions outside [0, size) mirrored back inside, the border itself not repeated."""
    last = size - 1
    return last - (last - position.abs()).abs()
