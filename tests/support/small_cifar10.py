"""CIFAR-10 with fewer images, for tests of what is done with a data set: a pass through all 10,000 test
images in both views costs two seconds of a processor, and every trial makes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from headstart.data import DATASETS, load_dataset
from headstart.types import Dataset, ImageSet


def _first(images: ImageSet, count: int) -> ImageSet:
    return ImageSet(
        images=images.images[:count],
        labels=images.labels[:count],
        class_names=images.class_names,
        fingerprint=f"first {count} of {images.fingerprint}",
    )


@contextmanager
def small_cifar10(train: int = 5_000, test: int = 1_000) -> Iterator[None]:
    """In this process, "cifar10" is its first images alone."""
    whole = load_dataset("cifar10")
    few = Dataset(
        name=whole.name,
        title=whole.title,
        train=_first(whole.train, train),
        test=_first(whole.test, test),
        source=whole.source,
        fingerprint=f"first {train} and {test} of {whole.fingerprint}",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "cifar10", replace(DATASETS["cifar10"], load=lambda: few))
        yield
