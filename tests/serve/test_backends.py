"""Other backends of the server answer as predict does, as far as their precision allows, and say how far."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.errors import ConfigError
from headstart.predict.predictor import load_predictor
from headstart.serve.backends import answer_by


@pytest.fixture(scope="module")
def study(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.support.models_study import run_models

    return run_models(tmp_path_factory.mktemp("backends"), photos, "fp32", ("cnn", "finetune"))


def test_onnx_answers_as_predict_does(study):
    pytest.importorskip("onnxscript")
    predictor = load_predictor(study, arm="cnn")
    answer, agreement = answer_by("onnx", predictor)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    assert np.abs(answer(images, 2) - predictor.probabilities(images)).max() < 1e-4
    assert agreement.same == agreement.images and agreement.difference < 1e-4
    assert agreement.words("cnn").startswith(
        f"cnn by onnx: same likeliest class as predict on {agreement.images} of {agreement.images} training"
    )


def test_int8_answers_close_to_predict_and_is_for_resnets(study):
    pytest.importorskip("onnxruntime")
    predictor = load_predictor(study, arm="finetune")
    answer, agreement = answer_by("int8", predictor)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    assert answer(images, 4).sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert agreement.same >= 0.7 * agreement.images and 0 < agreement.difference < 0.5
    with pytest.raises(ConfigError, match="--backend int8 is for this project's ResNets"):
        answer_by("int8", load_predictor(study, arm="cnn"))


def test_predicts_own_backend_is_predict(study):
    predictor = load_predictor(study, arm="cnn")
    answer, agreement = answer_by("predict", predictor)
    images = np.zeros((2, 32, 32, 3), np.uint8)
    assert agreement is None and (answer(images, 2) == predictor.probabilities(images, 2)).all()
