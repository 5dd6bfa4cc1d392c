"""What is kept of a model is of that model alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from headstart.app.model_child import Reference


class Images:
    images = np.zeros((3, 2, 2, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.images)


def features_of(state: int, value: float) -> Reference:
    """What is computed of a folder's model in one of its states, whose features are all `value`."""
    saved = SimpleNamespace(dataset=SimpleNamespace(name="images.toml"), folder=Path("model"))
    loaded = SimpleNamespace(
        state=state,
        predictor=SimpleNamespace(saved=saved),
        features=lambda images: np.full((len(images), 2), value, np.float32),
    )
    reference = Reference(cast(Any, loaded))
    while reference.values is None:
        reference.advance()
    return reference


def test_features_of_a_model_are_not_taken_for_those_of_its_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    dataset = SimpleNamespace(train=Images(), test=Images(), fingerprint="same")
    monkeypatch.setattr("headstart.data.load_dataset", lambda _: dataset)
    monkeypatch.setattr("headstart.data.is_dataset", lambda _: False)
    first, second = features_of(1, 0.25), features_of(2, 0.5)
    assert first.values is not None and second.values is not None
    assert (first.values == 0.25).all() and (second.values == 0.5).all()
    assert (features_of(1, 0.75).values == 0.25).all()  # kept for the same model
