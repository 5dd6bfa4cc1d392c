"""A model file is data: what it says of itself is checked before anything is built or fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.support.limited import under_limit

from headstart.errors import WeightsError
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import read_model

RUN = Path(__file__).parents[1] / "golden" / "run"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A trained model of an older version, alone in a folder with all that it needs."""
    for folder in sorted(RUN.iterdir()):
        if folder.is_dir() and read_model(folder).method == "scratch":
            saved = read_model(folder)
            saved.write(tmp_path / "model", saved.read_state())
            return tmp_path / "model"
    raise AssertionError


def _rewrite(folder: Path, change: Callable[[dict[str, Any]], object], spoil: bool = False) -> None:
    path = folder / "model.safetensors"
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["headstart"])
    about.pop("sha256")  # who writes a file may leave it out
    change(about)
    if spoil:
        next(t for t in tensors.values() if t.is_floating_point()).view(-1)[0] = torch.nan
    save_file(tensors, path, {"headstart": json.dumps(about)})


def test_a_written_model_is_read(model: Path) -> None:
    load_predictor(model)


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "many pixels": lambda about: about["preprocessing"].update(size_pixels=20_000),
    "many image pixels": lambda about: about.update(image_pixels=10**9),
    "wide": lambda about: about.update(widths=[10**6, 10**6, 10**6]),
    "another activation": lambda about: about.update(activation="../../etc/passwd"),
    "another reading": lambda about: about.update(reading={"fit": "magic"}),
    "negative": lambda about: about.update(image_pixels=-1),
    "no classes": lambda about: about.update(class_names=[]),
    "classes that are no texts": lambda about: about.update(class_names=[{}]),
    "no model": lambda about: about.pop("model"),
    "a number for a model": lambda about: about.update(model=7),
    "no preprocessing": lambda about: about.update(preprocessing=None),
    "an address": lambda about: about.update(weights="http://127.0.0.1:9/x-01234567.pth"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_description_is_refused_before_anything_is_built(model: Path, kind: str) -> None:
    _rewrite(model, HOSTILE[kind])
    said = under_limit(lambda: load_predictor(model))
    assert said.startswith("WeightsError: ") and "model.safetensors" in said


def test_one_flipped_bit_and_values_that_are_not_finite_are_found(model: Path) -> None:
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match="its SHA-256 is not that of what was written"):
        load_predictor(model)
    path.write_bytes(whole)
    _rewrite(model, lambda about: None, spoil=True)
    with pytest.raises(WeightsError, match="values that are not finite"):
        load_predictor(model)


@pytest.mark.parametrize("content", [b"", b"{}", b"name = 1", b"\xff" * 100, b"PK\x03\x04"])
def test_a_file_that_is_no_model_is_one_line(model: Path, content: bytes) -> None:
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.safetensors"):
        load_predictor(model)


@pytest.mark.parametrize(
    "change",
    [
        lambda about: about.update(widths=[8]),
        lambda about: about.update(image_pixels=8, preprocessing=about["preprocessing"] | {"size_pixels": 8}),
    ],
)
def test_a_description_that_no_network_fits_is_one_line(model: Path, change) -> None:
    _rewrite(model, change)
    predictor = load_predictor(model)
    side = predictor.image_pixels
    with pytest.raises(WeightsError) as error:
        predictor.logits(np.zeros((1, side, side, 3), np.uint8))
    assert "\n" not in str(error.value)
