"""What the tests of resuming and of the transfer methods share: random weights, and a cache of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support import transfer_trials
from tests.support.narrow import narrow


@pytest.fixture(scope="module")
def narrow_networks() -> Iterator[None]:
    with narrow():
        yield


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, narrow_networks: None) -> str:
    """The path of a file of random ResNet-18 weights."""
    return transfer_trials.random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory, narrow_networks: None) -> Iterator[None]:
    """An empty cache; the tiny data set was read before."""
    data = transfer_trials.tiny_dataset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.support.transfer_trials.tiny_dataset", lambda: data)
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
