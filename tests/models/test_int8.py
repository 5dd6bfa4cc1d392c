"""Int8 features: near float32's, calibrated on training images only, the same bits each time, kept in the
cache."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.narrow import narrow
from tests.support.networks import KERAS_FORM, random_images, with_random_statistics

from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.methods import METHODS
from headstart.models import int8, load_model
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.models.resnet import ResNet
from headstart.models.resnet_onnx import resnet_graph
from headstart.recipes import recipe_named
from headstart.studies.trial import make_context
from headstart.types import ALL_LABELS, Arm, Dataset, ImageSet, Trial

CPU = torch.device("cpu")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def few(images: ImageSet, count: int, start: int = 0) -> ImageSet:
    stop = start + count
    return ImageSet(
        images=images.images[start:stop],
        labels=images.labels[start:stop],
        class_names=images.class_names,
        fingerprint=f"{start} to {stop} of {images.fingerprint}",
    )


CIFAR10: Dataset = load_dataset("cifar10")
TRAIN, TEST = few(CIFAR10.train, 150), few(CIFAR10.test, 70)


def extract(
    images: ImageSet = TEST,
    calibration: ImageSet | None = TRAIN,
    *,
    seed: int = 0,
    precision: str = "int8",
    **options: object,
) -> Extraction:
    return request(images, calibration, seed=seed, precision=precision, **options).extract()


def request(
    images: ImageSet,
    calibration: ImageSet | None,
    *,
    seed: int = 0,
    precision: str = "int8",
    cut: str = "pool",
    mirrored: bool = False,
) -> FeatureRequest:
    model = with_random_statistics(load_model("resnet18", "none", seed=seed, image_pixels=32))
    layers = FrozenLayers(network=model, precision=precision, device=CPU, cut=cut, calibration=calibration)
    return FeatureRequest(layers=layers, images=images, mirrored=mirrored)


@pytest.fixture(scope="module", autouse=True)
def narrow_networks() -> Iterator[None]:
    with narrow(8):
        yield


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder))
        yield folder


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "fresh"))
    return tmp_path / "fresh"


@pytest.mark.parametrize(("depth", "form"), [(18, {}), (50, KERAS_FORM), (50, {}), (18, {"small_stem": 7})])
def test_the_graph_before_quantisation_is_the_network(depth: int, form: dict) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    model, x = (
        with_random_statistics(ResNet(depth, num_classes=2, **form)).eval(),
        random_images(3, pixels=40),
    )
    session = onnxruntime.InferenceSession(
        resnet_graph(model, 40).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    with torch.no_grad():
        want = model.forward_features(x).numpy()
    np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], want, rtol=1e-3, atol=1e-4)


def test_features_are_near_float32s(shared_cache: Path) -> None:
    int8, fp32 = extract().features.values, extract(precision="fp32").features.values
    assert int8.shape == (70, 64) and int8.dtype == np.float16 and not np.array_equal(int8, fp32)
    assert cosines(int8, fp32).mean() > 0.99


def test_an_image_has_the_same_features_in_any_batch(shared_cache: Path) -> None:
    last = few(TEST, 6, start=64)  # alone here, in a second batch of 6 there
    np.testing.assert_array_equal(extract(last).features.values, extract().features.values[64:])


def test_training_and_test_features_share_one_network_calibrated_on_training_images(
    shared_cache: Path,
) -> None:
    before = set((shared_cache / "int8").glob("*/model.onnx"))
    extract()
    extract(TRAIN)
    extract(mirrored=True)
    assert len(set((shared_cache / "int8").glob("*/model.onnx")) | before) == 1


def test_calibrating_is_a_cost_of_the_training_features_alone(shared_cache: Path) -> None:
    one = extract(precision="fp32").flops // 70
    assert extract(TRAIN).flops == (150 + 150) * one  # 150 images calibrate: all there are
    assert extract().flops == 70 * one
    assert extract(TRAIN, mirrored=True).flops == 150 * one


def test_other_calibration_images_make_another_key_in_int8_only(fresh_cache: Path) -> None:
    other = few(CIFAR10.train, 40, start=1000)

    def key(precision: str, calibration: ImageSet) -> str:
        return request(TEST, calibration, precision=precision).key

    assert key("int8", TRAIN) != key("int8", other)
    assert key("bf16", TRAIN) == key("bf16", other)


def test_quantising_again_gives_the_same_bits_and_leaves_no_other_file(
    shared_cache: Path, fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    again = np.array(extract().features.values)
    names = sorted(path.name for path in (fresh_cache / "int8").rglob("*") if path.is_file())
    assert names == ["lock", "meta.json", "model.onnx"] and list(scratch.iterdir()) == []
    monkeypatch.setenv("HEADSTART_CACHE", str(shared_cache))
    np.testing.assert_array_equal(extract().features.values, again)


@pytest.mark.parametrize(
    ("count", "first", "last"), [(3, [0, 1, 2], 2), (512, [0, 2, 4], 510), (50_000, [0, 195, 390], 49_804)]
)
def test_calibration_images_are_spread_evenly(count: int, first: list[int], last: int) -> None:
    ids = int8.calibration_ids(count)
    assert len(ids) == min(count, 256) and ids[:3].tolist() == first and ids[-1] == last


@pytest.mark.parametrize("name", ["onnxruntime", "onnx"])
def test_without_the_extra_the_message_says_how_to_install_it(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as caught:
        extract()
    assert (
        str(caught.value)
        == f"int8 features need {name}, which is not installed: pip install 'headstart[int8]'"
    )


def test_without_training_images_there_is_no_calibration(fresh_cache: Path) -> None:
    with pytest.raises(ConfigError, match=r"none were given; pass calibration=dataset\.train"):
        extract(calibration=None)


def test_an_inner_cut_is_refused(fresh_cache: Path) -> None:
    with pytest.raises(
        ConfigError,
        match="int8 features are pooled ones on the CPU, not 'layer1' on cpu; choose bf16 or fp32",
    ):
        extract(cut="layer1")


def test_another_architecture_is_refused(fresh_cache: Path) -> None:
    with pytest.raises(ConfigError, match="int8 features are for this project's ResNets, not for CNN"):
        int8.load_int8(load_model("cnn"), TRAIN)


@pytest.mark.parametrize("damage", ["one bit", "cut", "empty", "meta.json cut"])
def test_a_damaged_network_is_announced_and_made_again(
    shared_cache: Path, tmp_path: Path, damage: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    extract()
    fresh_cache = shutil.copytree(shared_cache, tmp_path / "copy")
    monkeypatch.setenv("HEADSTART_CACHE", str(fresh_cache))
    shutil.rmtree(fresh_cache / "features")
    (path,) = (fresh_cache / "int8").glob("*/model.onnx")
    whole = path.read_bytes()
    if damage == "meta.json cut":
        meta = path.with_name("meta.json")
        meta.write_bytes(meta.read_bytes()[:40])
    else:
        flipped = whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]
        path.write_bytes({"one bit": flipped, "cut": whole[:1000], "empty": b""}[damage])
    extract(few(TEST, 2))
    assert "is damaged" in capsys.readouterr().err
    assert path.read_bytes() == whole


def test_a_linear_probe_on_int8_features_calibrates_on_its_training_images(
    shared_cache: Path, tmp_path: Path
) -> None:
    arm = Arm(
        name="probe",
        label="probe",
        dataset="few",
        model="resnet18",
        weights="none",
        method="linear_probe",
        recipe=recipe_named("probe"),
        input_pixels=32,
    )
    trial = Trial(arm=arm, label_budget=ALL_LABELS, seed=0, precision="fp32", feature_precision="int8")
    dataset = Dataset(
        name="few", title="few", train=few(CIFAR10.train, 300), test=TEST, source="", fingerprint="few"
    )
    stored = shared_cache / "features"
    before = set(stored.glob("*/meta.json"))
    outcome = METHODS["linear_probe"].implementation.run(make_context(trial, dataset, tmp_path, CPU))
    assert outcome.predictions["test"].logits.shape == (70, 10)
    keys = [json.loads(path.read_text())["key"] for path in set(stored.glob("*/meta.json")) - before]
    assert len(keys) == 3 and all(key["precision"] == "int8" for key in keys)  # training, test, mirrored test
    assert {key["int8"]["calibration"] for key in keys} == {dataset.train.fingerprint}


@pytest.mark.slow
def test_real_resnet50_features_of_real_images_are_near_float32s(
    fresh_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, narrow(64):
        patch.delenv("HEADSTART_CACHE")
        model = load_model("resnet50", "imagenet-keras", image_pixels=64)
    int8, fp32 = (
        FeatureRequest(
            layers=FrozenLayers(network=model, precision=precision, device=CPU, calibration=CIFAR10.train),
            images=few(CIFAR10.test, 200),
        )
        .extract()
        .features.values
        for precision in ("int8", "fp32")
    )
    found = cosines(int8, fp32)
    assert found.mean() > 0.98 and found.min() > 0.94
