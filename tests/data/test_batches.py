"""Training batches: what augmentation does to each image, and on what a batch depends."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.data.batches import ImageBatches, Shuffle, augment
from headstart.errors import DataError


def _images(count: int, side: int = 5) -> torch.Tensor:
    return torch.arange(count * side * side * 3).remainder(251).to(torch.uint8).view(count, side, side, 3)


def test_an_unshifted_unmirrored_image_stays_as_it_is() -> None:
    images = _images(4)
    ids = torch.tensor([2, 0])
    out = augment(images, ids, torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.bool))
    assert torch.equal(out, images[ids])


def test_shift_and_mirror_match_numpy_reflection_padding() -> None:
    images = _images(1)
    for down in (-2, 0, 2):
        for right in (-2, 1):
            for mirror in (False, True):
                out = augment(
                    images, torch.tensor([0]), torch.tensor([[down], [right]]), torch.tensor([mirror])
                )
                padded = np.pad(images[0].numpy(), ((2, 2), (2, 2), (0, 0)), mode="reflect")
                want = padded[2 - down : 7 - down, 2 - right : 7 - right]
                np.testing.assert_array_equal(out[0].numpy(), want[:, ::-1] if mirror else want)


def test_an_epoch_sees_every_image_once_with_the_last_partial_batch() -> None:
    batches = ImageBatches(_images(10), torch.arange(10), batch_size=4, seed=0)
    labels = [label for _, part in batches.epoch(0) for label in part.tolist()]
    assert sorted(labels) == list(range(10))
    assert [len(part) for _, part in batches.epoch(0)] == [4, 4, 2]
    assert batches.steps_per_epoch == 3


def test_alternating_flips_show_each_image_both_ways_in_two_epochs() -> None:
    images = _images(6)
    batches = ImageBatches(images, torch.arange(6), batch_size=6, seed=1, flip="alternating")
    first = {
        int(label): image
        for batch, labels in batches.epoch(0)
        for image, label in zip(batch, labels, strict=True)
    }
    second = {
        int(label): image
        for batch, labels in batches.epoch(1)
        for image, label in zip(batch, labels, strict=True)
    }
    for label in range(6):
        assert torch.equal(first[label], second[label].flip(1))
        assert not torch.equal(first[label], second[label])


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    def batch(seed: int, epoch: int) -> torch.Tensor:
        batches = ImageBatches(
            _images(10), torch.arange(10), batch_size=10, seed=seed, flip="random", translate_pixels=1
        )
        return next(iter(batches.epoch(epoch)))[0]

    assert torch.equal(batch(3, 5), batch(3, 5))
    assert not torch.equal(batch(3, 5), batch(3, 6))
    assert not torch.equal(batch(3, 5), batch(4, 5))


def test_no_images_is_refused_in_a_line() -> None:
    with pytest.raises(DataError, match="no training image"):
        ImageBatches(
            torch.zeros(0, 4, 4, 3, dtype=torch.uint8),
            torch.zeros(0, dtype=torch.int64),
            batch_size=1,
            seed=0,
        )


def test_a_last_image_that_would_be_alone_joins_the_batch_before_it() -> None:
    shuffle = Shuffle(65, batch_size=64, seed=0)
    assert shuffle.leaves_single and shuffle.steps_per_epoch == 2
    assert [(part.start, part.stop) for part in shuffle.parts()] == [(0, 64), (64, 65)]
    shuffle.joins_single = True
    assert shuffle.steps_per_epoch == 1
    assert [(part.start, part.stop) for part in shuffle.parts()] == [(0, 65)]
    for count, batch in ((64, 64), (66, 64), (5, 1), (1, 64)):
        even = Shuffle(count, batch_size=batch, seed=0)
        even.joins_single = True
        parts = list(even.parts())
        assert not even.leaves_single and len(parts) == even.steps_per_epoch == -(-count // even.batch_size)
        assert sum(part.stop - part.start for part in parts) == count
