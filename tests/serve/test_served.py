"""Which name a served model has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from headstart.errors import ConfigError
from headstart.serve import served
from headstart.serve.served import load_models


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str | None]]:
    """What is loaded: path and arm, in order; the models answer nothing."""
    asked: list[tuple[str, str | None]] = []

    def load(path: Path, *, arm: str | None = None) -> SimpleNamespace:
        asked.append((str(path), arm))
        return SimpleNamespace(image_pixels=2, probabilities=lambda images, size: np.zeros((len(images), 2)))

    monkeypatch.setattr(served, "load_predictor", load)
    return asked


def test_a_model_has_the_name_given_that_of_its_arm_or_of_its_folder(
    loaded: list[tuple[str, str | None]],
) -> None:
    assert list(load_models(["advice/photos", "old=backup/photos"])) == ["photos", "old"]
    assert list(load_models(["runs/mine"], ["probe", "cnn"])) == ["probe", "cnn"]
    assert list(load_models(["mine=runs/mine"], ["probe"])) == ["mine"]
    assert loaded == [
        ("advice/photos", None),
        ("backup/photos", None),
        ("runs/mine", "probe"),
        ("runs/mine", "cnn"),
        ("runs/mine", "probe"),
    ]


def test_a_path_that_is_there_is_a_path(
    loaded: list[tuple[str, str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b").mkdir()
    assert list(load_models(["a=b"])) == ["a=b"]


def test_two_models_of_one_name_are_refused(loaded: list[tuple[str, str | None]]) -> None:
    with pytest.raises(ConfigError, match="two models are named 'photos'; name them apart"):
        load_models(["a/photos", "b/photos"])
    with pytest.raises(ConfigError, match="'x' would name 2 arms"):
        load_models(["x=runs/mine"], ["probe", "cnn"])


def test_a_name_is_text_whatever_its_folder_is_called(loaded: list[tuple[str, str | None]]) -> None:
    assert list(load_models(["runs/mod\udce9l", "\udcff=runs/mine"])) == ["mod\\xe9l", "\\xff"]
