"""Exported files: they answer as PyTorch does, take any number of images, say what they are, or do not
appear."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError, StoreError
from headstart.estimator import TransferClassifier
from headstart.models.inference import predict_logits
from headstart.models.preprocessing import preprocess
from headstart.models.saved import TrainingImages
from headstart.predict import export
from headstart.predict.export import export_model, images_to_compare, open_onnx, open_torchscript
from headstart.predict.modelcard import Exported
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import find_model, read_model
from headstart.results import metrics
from headstart.types import Preprocessing


@pytest.fixture(scope="module")
def cifar() -> np.ndarray:
    return load_dataset("cifar10").train.images


@pytest.fixture(scope="module")
def exported(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Exported]:
    """An arm's model in a format, written once for all tests."""

    @cache
    def write(arm: str, format: str) -> Exported:
        return export_model(
            load_predictor(models, arm=arm), format, tmp_path_factory.mktemp(format) / f"{arm}.model"
        )

    return write


def _in_pytorch(predictor, images: np.ndarray) -> np.ndarray:
    return metrics.probabilities(
        predict_logits(predictor.network(), images, device=torch.device("cpu"), precision="fp32")
    )


@pytest.mark.parametrize(
    ("arm", "format"),
    [
        ("cnn", "onnx"),
        ("cnn", "torchscript"),
        ("probe", "onnx"),  # a published ResNet-50
        ("finetune", "torchscript"),
        pytest.param("probe", "torchscript", marks=pytest.mark.slow),
        pytest.param("finetune", "onnx", marks=pytest.mark.slow),
        *(pytest.param("partial", each, marks=pytest.mark.slow) for each in ("onnx", "torchscript")),
    ],
)
def test_a_file_answers_as_pytorch_does_for_any_number_of_images(
    arm: str, format: str, exported: Callable[[str, str], Exported], models: Path, cifar: np.ndarray
) -> None:
    predictor = load_predictor(models, arm=arm)
    done = exported(arm, format)
    assert done.images == 96 and done.difference < 1e-4 and done.source == "training images of photos"
    run = (open_onnx if format == "onnx" else open_torchscript)(str(done.path))
    images = np.asarray(cifar[1000:1040])
    want = _in_pytorch(predictor, images)
    for count in (40, 1, 7):
        found = run(images[:count])
        assert found.dtype == np.float32 and found.shape == (count, 3)
        np.testing.assert_allclose(found, want[:count], rtol=0, atol=1e-4)
        assert (found.argmax(1) == want[:count].argmax(1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["cnn", "probe"])
def test_a_thousand_images_get_the_same_answer_from_onnx(
    arm: str, models: Path, cifar: np.ndarray, tmp_path: Path
) -> None:
    predictor = load_predictor(models, arm=arm)
    run = open_onnx(str(export_model(predictor, "onnx", tmp_path / "it.onnx").path))
    images = np.asarray(cifar[20_000:21_000])
    found, want = np.concatenate([run(part) for part in np.split(images, 10)]), _in_pytorch(predictor, images)
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-4)
    assert (found.argmax(1) == want.argmax(1)).all()


@pytest.mark.slow
def test_a_thousand_images_of_ten_classes_get_the_probes_answer_from_onnx(
    cifar: np.ndarray, photos: Path, tmp_path: Path
) -> None:
    """The published ResNet-50 at 96 px with a head for all ten classes: more near-ties than three classes
    leave."""
    labels = load_dataset("cifar10").train.labels
    probe = TransferClassifier(input_pixels=96, precision="fp32", feature_precision="fp32").fit(
        cifar[:1000], labels[:1000]
    )
    done = export_model(probe.predictor_, "onnx", tmp_path / "probe.onnx", images=photos)
    images = np.asarray(cifar[20_000:21_000])
    run = open_onnx(str(done.path))
    found, want = (
        np.concatenate([run(part) for part in np.split(images, 10)]),
        _in_pytorch(probe.predictor_, images),
    )
    right = float((found.argmax(1) == labels[20_000:21_000]).mean())
    print(f"largest difference of a probability {np.abs(found - want).max():.2g}; {right:.3f} right")
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-4)
    assert (found.argmax(1) == want.argmax(1)).all()
    assert right > 0.7  # a head that has learned


@pytest.mark.parametrize(
    ("interpolation", "size", "order"),
    [("bicubic", 96, "bgr"), ("bilinear", 64, "rgb"), ("bicubic", 20, "rgb")],
)
def test_resizing_inside_gives_the_bits_of_the_resizing_outside(
    interpolation: str, size: int, order: str, cifar: np.ndarray, tmp_path: Path
) -> None:
    class Inputs(torch.nn.Module):
        preprocessing = Preprocessing(
            size_pixels=size,
            interpolation=interpolation,
            channel_order=order,
            scale=1.0,
            mean=(3.0, 5.0, 7.0),
            std=(1.0, 1.0, 1.0),
        )

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return preprocess(images, self.preprocessing, by_products=True) * 1.0

    content = export._build_onnx(Inputs(), torch.zeros(2, 32, 32, 3, dtype=torch.uint8), {"labels": "none"})
    images = np.asarray(cifar[:50])
    np.testing.assert_array_equal(
        open_onnx(content)(images), preprocess(images, Inputs.preprocessing).numpy()
    )


def test_the_onnx_file_says_its_labels_its_licence_and_its_input(
    exported: Callable[[str, str], Exported],
) -> None:
    done = exported("probe", "onnx")
    model = onnx.load(done.path)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["labels"]) == ["airplane", "dog", "truck"]
    assert "imagenet-keras under MIT" in told["licence"] and "images in the folder photos" in told["licence"]
    assert told["input"] == "images: uint8 (N, 32, 32, 3), RGB" and told["image_pixels"] == "32"
    (given,), (answer,) = model.graph.input, model.graph.output
    shape = given.type.tensor_type.shape.dim
    assert given.name == "images" and given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert shape[0].dim_param == "batch" and [dim.dim_value for dim in shape[1:]] == [32, 32, 3]
    assert answer.name == "probabilities" and answer.type.tensor_type.shape.dim[1].dim_value == 3


def test_torchscript_carries_the_same_words(exported: Callable[[str, str], Exported]) -> None:
    done = exported("cnn", "torchscript")
    files = {"labels.txt": "", "licence.txt": ""}
    with export._exporters_own_warnings():
        torch.jit.load(done.path, _extra_files=files)
    assert json.loads(files["labels.txt"]) == ["airplane", "dog", "truck"]
    assert files["licence.txt"].decode().startswith("weights trained from a random start")


def test_torchscript_refuses_what_it_was_not_made_for(exported: Callable[[str, str], Exported]) -> None:
    run = export.open_torchscript(exported("cnn", "torchscript").path)
    assert run(np.zeros((3, 32, 32, 3), np.uint8)).shape == (3, 3)
    for wrong in (np.zeros((1, 24, 24, 3), np.uint8), np.zeros((1, 32, 32, 3), np.float32)):
        with pytest.raises(torch.jit.Error, match=r"takes uint8 images \(N, 32, 32, 3\)"):
            run(wrong)


@pytest.mark.parametrize("format", ["onnx", "torchscript"])
def test_the_cards_own_lines_of_code_run(
    format: str, exported: Callable[[str, str], Exported], models: Path, photos: Path
) -> None:
    import re
    import shutil
    import subprocess

    done = exported("cnn", format)
    folder = done.path.parent
    assert done.card == folder / ("cnn.md" if format == "onnx" else "cnn.model.md")
    card = done.card.read_text()
    for words in (
        "Custom CNN",
        "airplane, dog, truck",
        "uint8 (N, 32, 32, 3)",
        "Accuracy on test images",
        "Licence:",
    ):
        assert words in card
    shutil.copy(photos / "truck" / "001.png", folder / "photo.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.S)
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    label, probability = ran.stdout.split()
    pixels = np.asarray(__import__("PIL.Image").Image.open(folder / "photo.jpg"))[None]
    want = load_predictor(models, arm="cnn").probabilities(pixels)[0]
    assert label == ("airplane", "dog", "truck")[want.argmax()]
    assert float(re.search(r"[\d.]+", probability)[0]) == pytest.approx(want.max(), abs=1e-4)


def test_a_file_that_would_answer_otherwise_does_not_appear(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is built from a network that was changed after the reference had been fixed: as a faulty
    exporter would."""
    honest = export._build_onnx

    def faulty(model, example, description):
        with torch.no_grad():
            model.network.head.weight.mul_(3)
        content = honest(model, example, description)
        with torch.no_grad():
            model.network.head.weight.div_(3)
        return content

    monkeypatch.setitem(export.FORMATS, "onnx", replace(export.FORMATS["onnx"], build=faulty))
    with pytest.raises(
        StoreError, match=r"differ from PyTorch's by up to 0\.\d+, more than 0\.0001.*not written"
    ):
        export_model(load_predictor(models, arm="cnn"), "onnx", tmp_path / "it.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_images_to_check_on(models: Path, photos: Path, tmp_path: Path) -> None:
    saved = read_model(find_model(models, "cnn"))
    found, source = images_to_compare(saved)
    assert found.shape == (96, 32, 32, 3) and source == "training images of photos"
    found, source = images_to_compare(saved, photos / "dog")
    assert found.shape == (40, 32, 32, 3) and source == f"images in {photos / 'dog'}"
    moved = replace(saved, dataset=TrainingImages(name=str(tmp_path / "gone")))
    found, source = images_to_compare(moved)
    assert len(found) > 0 and source == "test images in the study's gallery"
    with pytest.raises(DataError, match="give some with --images FOLDER"):
        images_to_compare(replace(moved, folder=tmp_path / "alone"))


def test_without_the_extra_it_is_one_line(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(
        ConfigError, match=r"needs onnxscript, which is not installed: pip install 'headstart\[export\]'"
    ):
        export_model(load_predictor(models, arm="cnn"), "onnx", tmp_path / "it.onnx")
    with pytest.raises(ConfigError, match="a kNN model answers by comparing"):
        export_model(load_predictor(models, arm="knn"), "torchscript", tmp_path / "it.pt")
