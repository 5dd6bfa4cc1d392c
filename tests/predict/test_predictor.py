"""Saved models answer as their evaluation did, wherever they lie, and say in one line what they miss."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.support.models_study import ARM, MODELS, run_models
from tests.support.narrow import narrow
from tests.support.transfer_trials import random_weights

from headstart import store
from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError, HeadstartError, StoreError, WeightsError
from headstart.methods import METHODS
from headstart.models.preprocessing import preprocess
from headstart.models.saved import TrainingImages
from headstart.predict.predictor import Predictor, load_predictor
from headstart.predict.saved import find_model, read_model
from headstart.results.metrics import probabilities
from headstart.studies.run import run_study

ARMS = {
    "cnn": "scratch",
    "probe": "linear_probe",
    "knn": "knn",
    "partial": "partial",
    "finetune": "finetune",
    "lp_ft": "lp_ft",
}


@pytest.fixture(scope="module")
def bf16_models(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As models, in bf16, which many processors imitate slowly: narrow networks, with `narrow_resnets`."""
    with narrow():
        return run_models(tmp_path_factory.mktemp("bf16"), photos, "bf16", published=False)


@pytest.fixture(scope="module")
def images(photos: Path) -> np.ndarray:
    return np.asarray(load_dataset(photos).test.images)


def test_every_method_has_a_model_in_these_tests() -> None:
    assert set(ARMS.values()) == set(METHODS)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("arm", ARMS)
def test_a_saved_model_gives_the_bits_that_its_evaluation_stored(
    arm: str, precision: str, models: Path, request: pytest.FixtureRequest, images: np.ndarray
) -> None:
    study = models
    if precision == "bf16":
        request.getfixturevalue("narrow_resnets")
        study = request.getfixturevalue("bf16_models")
    predictor = load_predictor(study, arm=arm)
    stored = store.read_test(find_model(study, arm)).logits
    assert predictor.saved.method == ARMS[arm] and predictor.precision == precision
    np.testing.assert_array_equal(predictor.logits(images), stored)
    found = predictor.probabilities(images)
    assert found.dtype == np.float32 and found.shape == (24, 3)
    np.testing.assert_array_equal(found, probabilities(stored).astype(np.float32))


@pytest.mark.parametrize("arm", ["knn", "partial"])
def test_a_self_contained_model_answers_without_the_weights_that_it_started_from(
    arm: str, models: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_predictor(models, arm=arm).save(tmp_path / arm, self_contained=True)
    here = load_predictor(models, arm=arm).logits(images)
    monkeypatch.setattr("headstart.methods.frozen.load_model", lambda *_, **__: pytest.fail("it was loaded"))
    np.testing.assert_array_equal(load_predictor(tmp_path / arm).logits(images), here)


@pytest.mark.parametrize("arm", ARMS)
def test_in_float32_any_batch_size_gives_the_same_probabilities(
    arm: str, models: Path, images: np.ndarray
) -> None:
    predictor = load_predictor(models, arm=arm)
    whole = predictor.probabilities(images)
    for batch in (1, 7, 24, 500):
        np.testing.assert_allclose(predictor.probabilities(images, batch), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm != "knn"])
def test_the_differentiable_network_is_the_same_model(arm: str, models: Path, images: np.ndarray) -> None:
    predictor = load_predictor(models, arm=arm)
    network = predictor.network()
    with torch.no_grad():
        logits = network(preprocess(images, network.preprocessing)).numpy()
    # frozen features were rounded to float16 in evaluation, nothing else differs
    np.testing.assert_allclose(probabilities(logits), predictor.probabilities(images), rtol=0, atol=2e-3)
    assert (logits.argmax(1) == predictor.logits(images).argmax(1)).mean() > 0.95


def test_the_precision_can_be_another_than_the_stored_one(bf16_models: Path, images: np.ndarray) -> None:
    stored, exact = (
        load_predictor(bf16_models, arm="cnn"),
        load_predictor(bf16_models, arm="cnn", precision="fp32"),
    )
    assert (stored.precision, exact.precision) == ("bf16", "fp32")
    difference = np.abs(stored.probabilities(images) - exact.probabilities(images)).max()
    assert 0 < difference < 0.05


def test_no_image_gives_no_row(models: Path) -> None:
    assert load_predictor(models, arm="cnn").probabilities(np.zeros((0, 32, 32, 3), np.uint8)).shape == (0, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 31, 32, 3), np.uint8),
        np.zeros((2, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
    ],
)
def test_images_of_another_form_are_refused(wrong: np.ndarray, models: Path) -> None:
    with pytest.raises(DataError, match=r"this model takes uint8 \(N, 32, 32, 3\)"):
        load_predictor(models, arm="cnn").logits(wrong)


def test_a_study_of_several_models_asks_which(models: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds 6 models: cnn \(test accuracy 0\.\d{3}\), .*choose one with --arm"
    ):
        find_model(models)
    with pytest.raises(ConfigError, match=r"unknown arm 'prob' .did you mean 'probe'"):
        find_model(models, "prob")
    with pytest.raises(ConfigError, match="is one model, not a study; leave --arm out"):
        find_model(find_model(models, "cnn"), "cnn")
    assert find_model(find_model(models, "cnn") / "model.safetensors") == find_model(models, "cnn")


def test_what_is_no_model_says_so(models: Path, tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "missing"):
        with pytest.raises(StoreError, match="holds no model; give a finished trial's folder"):
            find_model(nothing)
    half = tmp_path / "half"
    shutil.copytree(find_model(models, "cnn"), half)
    (half / "result.json").unlink()
    with pytest.raises(StoreError, match="has not finished"):
        find_model(half)
    (half / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="is no whole safetensors file"):
        read_model(half)
    save_file({"x": torch.zeros(1)}, half / "model.safetensors")
    with pytest.raises(WeightsError, match="was not written by headstart"):
        read_model(half)


@pytest.mark.parametrize("arm", ARMS)
def test_a_saved_copy_needs_no_study_and_no_cached_features(
    arm: str, models: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load_predictor(models, arm=arm)
    folder = predictor.save(tmp_path / "saved")
    want = predictor.logits(images)
    if arm != "probe":  # which needs the published weights from the cache
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]
    np.testing.assert_array_equal(load_predictor(folder).logits(images), want)


def test_a_run_folder_of_an_older_headstart_is_read_with_its_study(
    models: Path, images: np.ndarray, tmp_path: Path
) -> None:
    """Before, the metadata lacked the images' size, the precision and the dataset: trial.json and study.json
    have them."""
    source = find_model(models, "probe")
    old = tmp_path / "study" / source.name
    shutil.copytree(source, old)
    shutil.copy(models / "study.json", old.parent)
    path = old / "model.safetensors"
    description = read_metadata(path)
    for name in ("image_pixels", "precision", "feature_precision", "dataset", "sha256"):
        del description[name]
    save_file(load_file(path), path, {"headstart": json.dumps(description)})
    np.testing.assert_array_equal(load_predictor(old).logits(images), load_predictor(source).logits(images))
    (old.parent / "study.json").unlink()
    with pytest.raises(StoreError, match="does not say its image_pixels"):
        load_predictor(old)


def read_metadata(path: Path) -> dict:
    from headstart.models.weights import read_metadata

    return json.loads(read_metadata(path)["headstart"])


def test_a_knn_model_computes_its_features_again_or_says_what_it_misses(
    models: Path, images: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = load_predictor(models, arm="knn").logits(images)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "empty"))
    np.testing.assert_array_equal(load_predictor(models, arm="knn").logits(images), want)
    assert list((tmp_path / "empty" / "features").glob("*/values.f16"))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "emptier"))
    saved = read_model(find_model(models, "knn"))
    for dataset, message in (
        (TrainingImages(name=str(tmp_path / "gone")), "are not to be had"),
        (replace(saved.dataset, fingerprint="other"), "does not hold the same ones any more"),
    ):
        predictor = Predictor(replace(saved, dataset=dataset), saved.read_state())
        with pytest.raises(DataError, match=message):
            predictor.logits(images)


def test_changed_or_missing_backbones_are_refused(models: Path, images: np.ndarray, tmp_path: Path) -> None:
    saved = read_model(find_model(models, "knn"))
    changed = replace(saved, weights_hash="0" * 64)
    with pytest.raises(WeightsError, match="holds other weights than those that this model was trained on"):
        Predictor(changed, saved.read_state()).logits(images)
    gone = replace(
        saved, architecture=dict(saved.architecture) | {"weights": str(tmp_path / "gone.safetensors")}
    )
    with pytest.raises(HeadstartError, match=r"gone\.safetensors"):
        Predictor(gone, saved.read_state()).logits(images)


def test_a_knn_model_is_no_network(models: Path) -> None:
    with pytest.raises(ConfigError, match='use method "linear_probe"'):
        load_predictor(models, arm="knn").network()


def test_a_predictor_survives_pickling(models: Path, images: np.ndarray) -> None:
    predictor = load_predictor(models, arm="cnn")
    want = predictor.logits(images)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(predictor)).logits(images), want)


def test_a_probe_on_features_of_length_one_answers_as_it_was_evaluated(
    photos: Path, tmp_path: Path, images: np.ndarray
) -> None:
    arm = {"name": "unit", "model": "resnet18", "method": "linear_probe", "weights": random_weights(tmp_path)}
    more = 'recipe = "probe-unit"\ninput_pixels = 48'
    text = MODELS.format(photos=photos, precision="fp32") + ARM.format(more=more, **arm)
    (tmp_path / "unit.toml").write_text(text)
    study = run_study(str(tmp_path / "unit.toml"), tmp_path / "runs")
    predictor = load_predictor(study, arm="unit")
    assert predictor.saved.architecture["scaling"] == "unit"
    stored = store.read_test(find_model(study, "unit")).logits
    np.testing.assert_array_equal(predictor.logits(images), stored)
    network = predictor.network()
    with torch.no_grad():
        logits = network(preprocess(images, network.preprocessing)).numpy()
    np.testing.assert_allclose(probabilities(logits), predictor.probabilities(images), rtol=0, atol=2e-3)
