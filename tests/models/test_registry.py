"""What MODELS states of each model is what its network has."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from headstart.models import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_the_size_that_is_stated_is_the_one_that_is_counted(name: str) -> None:
    spec = MODELS[name]
    if spec.package and find_spec(spec.package) is None:
        pytest.skip(f"{spec.package} is not installed")
    assert spec.size == spec.counted_size()
