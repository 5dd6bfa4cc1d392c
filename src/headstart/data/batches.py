"""Draw training batches: from uint8 images on the device, or from stored activations of frozen layers.

Augmentation is indexing, done on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import DataError
from headstart.runtime.seeding import seed_for


class Shuffle:
    """The order of an epoch's `count` images and the view of each; both depend on (seed, epoch) alone.

    joins_single: a last batch of one image is joined to the one before, for networks that cannot learn from
    one image (BatchNorm at a single position).
    flip, translate_pixels: as in recipes.TrainingRecipe."""

    def __init__(
        self, count: int, *, batch_size: int, seed: int, flip: str = "none", translate_pixels: int = 0
    ) -> None:
        if count == 0:
            raise DataError("there is no training image; give at least one a class")
        self.count, self.batch_size = count, min(batch_size, count)
        self.seed, self.flip, self.translate_pixels = seed, flip, translate_pixels
        self.joins_single = False
        self._first_side = torch.rand(count, generator=self._generator("first side")) < 0.5

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches in an epoch; the last one may be partial."""
        return -(-self.count // self.batch_size) - (self.joins_single and self.leaves_single)

    @property
    def leaves_single(self) -> bool:
        """Whether the last batch of an epoch would hold one image alone."""
        return self.count > self.batch_size > 1 and self.count % self.batch_size == 1

    def views(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw an epoch: order int64 (N,), shifts int64 (2, N), mirrored bool (N,).

        The shifts and mirrored views are in the order of the epoch."""
        generator = self._generator("epoch", epoch)
        order = torch.randperm(self.count, generator=generator)
        shift = self.translate_pixels
        shifts = torch.randint(-shift, shift + 1, (2, self.count), generator=generator)
        if self.flip == "alternating":
            mirrored = self._first_side[order] ^ (epoch % 2 == 1)
        elif self.flip == "random":
            mirrored = torch.rand(self.count, generator=generator) < 0.5
        else:
            mirrored = torch.zeros(self.count, dtype=torch.bool)
        return order, shifts, mirrored

    def parts(self) -> Iterator[slice]:
        """Yield the places of each batch in the epoch; the last one may be partial."""
        for number in range(self.steps_per_epoch):
            start = number * self.batch_size
            last = number == self.steps_per_epoch - 1
            yield slice(start, self.count if last else start + self.batch_size)

    def _generator(self, *purpose: object) -> torch.Generator:
        return torch.Generator().manual_seed(seed_for(self.seed, "batches", *purpose))


class ImageBatches(Shuffle):
    """Shuffled, augmented batches of images; an epoch's batches depend on (seed, epoch) alone.

    images: uint8 (N, H, W, 3) on any device. labels: int64 (N,). The last, partial batch is kept.
    flip, translate_pixels: as in recipes.TrainingRecipe.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        seed: int,
        flip: str = "none",
        translate_pixels: int = 0,
    ) -> None:
        super().__init__(
            len(images), batch_size=batch_size, seed=seed, flip=flip, translate_pixels=translate_pixels
        )
        if translate_pixels >= min(images.shape[1:3]):
            raise DataError(
                f"translate_pixels {translate_pixels} is not below the image size {tuple(images.shape[1:3])}"
            )
        self.images, self.labels = images, labels

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each batch of an epoch: images uint8 (B, H, W, 3), labels int64 (B,)."""
        device = self.images.device
        order, shifts, mirrored = (part.to(device) for part in self.views(epoch))
        for part in self.parts():
            rows = order[part]
            yield augment(self.images, rows, shifts[:, part], mirrored[part]), self.labels[rows]


@dataclass(frozen=True, kw_only=True)
class StoredViews:
    """Activations of the plain and the mirrored images, float16 (M, ...), may be memory-mapped.

    rows: int64 (N,), where the training images lie in both."""

    plain: NDArray[np.float16]
    mirrored: NDArray[np.float16]
    rows: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert self.plain.shape == self.mirrored.shape, (self.plain.shape, self.mirrored.shape)


class ActivationBatches(Shuffle):
    """Shuffled batches of stored activations; the views of the images are drawn as in ImageBatches.

    views: read row by row, never whole. labels: int64 (N,), on the device."""

    def __init__(
        self, views: StoredViews, labels: Tensor, *, batch_size: int, seed: int, flip: str = "none"
    ) -> None:
        super().__init__(len(views.rows), batch_size=batch_size, seed=seed, flip=flip)
        assert len(labels) == len(views.rows), (labels.shape, views.rows.shape)
        self.stored, self.labels = views, labels

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each batch of an epoch: activations float16 (B, ...), labels int64 (B,)."""
        order, _, mirrored = self.views(epoch)
        for part in self.parts():
            rows, is_mirrored = self.stored.rows[order[part].numpy()], mirrored[part].numpy()
            batch = np.empty((len(rows), *self.stored.plain.shape[1:]), np.float16)
            for source, chosen in ((self.stored.plain, ~is_mirrored), (self.stored.mirrored, is_mirrored)):
                places = np.flatnonzero(chosen)
                # in the file's order: neighbours on disk are read together
                places = places[np.argsort(rows[places])]
                batch[places] = source[rows[places]]
            yield (
                torch.from_numpy(batch).to(self.labels.device),
                self.labels[order[part].to(self.labels.device)],
            )


def augment(images: Tensor, ids: Tensor, shifts: Tensor, mirrored: Tensor) -> Tensor:
    """Shift and mirror images[ids]: uint8 (B, H, W, 3).

    images: uint8 (N, H, W, 3). ids: int64 (B,). shifts: int64 (2, B), pixels down and right; the image is
    reflected at its border. mirrored: bool (B,), applied after the shift."""
    height, width = images.shape[1:3]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    from_rows = _reflect(rows - shifts[0][:, None], height)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    from_columns = _reflect(columns - shifts[1][:, None], width)
    return images[ids[:, None, None], from_rows[:, :, None], from_columns[:, None, :]]


def _reflect(position: Tensor, size: int) -> Tensor:
    """Reflect positions outside [0, size) back inside; the border itself is not repeated."""
    last = size - 1
    return last - (last - position.abs()).abs()
