"""ResNets that cost little, for tests of what is done with a network and not of the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def narrow(channels: int = 16) -> Iterator[None]:
    """ResNets whose first stage has so few channels, in this process: with 16, a fourth, ResNet-18 has 0.7
    million parameters in place of 11.7. With 64 they are whole again. Whoever trains them takes 16 or more:
    with fewer oneDNN writes beyond its buffers on processors with AVX-512 (docs/negative-results.md)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.models.resnet._WIDTHS", tuple(channels * 2**stage for stage in range(4)))
        yield
