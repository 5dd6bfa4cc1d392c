"""Grad-CAM: the paper's formula, on the CNN and on a probe's backbone with its head, and the picture that
shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.models.preprocessing import preprocess
from headstart.predict.gradcam import explain_image, upsampled, write_explanation
from headstart.predict.predictor import load_predictor

torch.manual_seed(0)


@pytest.fixture(scope="module")
def picture(photos: Path) -> np.ndarray:
    return np.asarray(load_dataset(photos).test.images[3])


@pytest.mark.parametrize("arm", ["cnn", "probe", "partial", "finetune"])
def test_the_evidence_is_the_papers_formula(arm: str, models: Path, picture: np.ndarray) -> None:
    """Weights are the gradient of the class's logit, averaged over positions; their sum over channels, cut at
    zero."""
    predictor = load_predictor(models, arm=arm)
    for label, name in enumerate(predictor.class_names):
        explanation = explain_image(predictor, picture, name)
        network = predictor.network()
        kept: list[torch.Tensor] = []
        handle = network.last_block().register_forward_hook(
            lambda module, given, out, kept=kept: kept.append(out)
        )
        logits = network(preprocess(picture[None], network.preprocessing).requires_grad_())
        handle.remove()
        (gradient,) = torch.autograd.grad(logits[0, label], kept[0])
        wanted = (gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1)[0].clamp(min=0).detach().numpy()
        assert explanation.target == label and explanation.heatmap.shape == wanted.shape
        if wanted.max() > 0:
            np.testing.assert_allclose(explanation.heatmap, wanted / wanted.max(), rtol=1e-3, atol=1e-5)
        else:
            assert not explanation.heatmap.any()


def test_the_probes_evidence_comes_from_its_own_head(models: Path, picture: np.ndarray) -> None:
    predictor = load_predictor(models, arm="probe")
    explained = explain_image(predictor, picture)
    assert predictor.network().last_block() is not None and explained.heatmap.shape == (2, 2)  # 64 px / 32
    np.testing.assert_allclose(explained.probabilities, predictor.probabilities(picture[None])[0], atol=2e-3)
    assert explained.target == explained.probabilities.argmax()
    assert explained.heatmap.max() == pytest.approx(1) and explained.heatmap.min() >= 0


def test_smoothing_keeps_the_range_and_the_strongest_place() -> None:
    heat = upsampled(np.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]], np.float32), 90)
    assert heat.shape == (90, 90) and heat.min() == 0 and heat.max() == pytest.approx(1, abs=0.05)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert 30 <= row < 60 <= column


def test_the_png_shows_the_picture_the_evidence_and_the_classes(models: Path, tmp_path: Path) -> None:
    colours = np.zeros((80, 120, 3), np.uint8)
    colours[:, 20:60], colours[:, 60:100] = (
        (200, 30, 30),
        (30, 30, 200),
    )  # its middle square: left red, right blue
    Image.fromarray(colours).save(tmp_path / "two.png")
    write_explanation(load_predictor(models, arm="cnn"), tmp_path / "two.png", tmp_path / "out.png", "truck")
    shown = np.asarray(Image.open(tmp_path / "out.png").convert("RGB")).astype(int)
    height, width = shown.shape[:2]
    assert width > 2.4 * height
    middle = shown[height // 2]
    red, blue = (
        np.flatnonzero((np.abs(middle - colour) < 12).all(1)) for colour in ((200, 30, 30), (30, 30, 200))
    )
    assert len(red) > 200 and len(blue) > 200 and red.max() < blue.min() < width / 3 + 40


def test_an_unknown_class_a_knn_model_and_no_captum_are_one_line_each(
    models: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        ConfigError, match=r"unknown class 'truk' .did you mean 'truck'.*airplane, dog, truck"
    ):
        explain_image(load_predictor(models, arm="cnn"), picture, "truk")
    with pytest.raises(ConfigError, match="a kNN model answers by comparing"):
        explain_image(load_predictor(models, arm="knn"), picture)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(
        ConfigError, match=r"needs? captum, which is not installed: pip install 'headstart\[explain\]'"
    ):
        explain_image(load_predictor(models, arm="cnn"), picture)
