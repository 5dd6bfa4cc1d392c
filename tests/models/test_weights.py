"""Weights: files of them, published ones by name, and the messages about bad ones."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tests.support.local_server import serving
from torch import Tensor, nn

from headstart.errors import ConfigError, DownloadError, WeightsError
from headstart.models import load, load_model, preprocessing_of
from headstart.models import weights as files
from headstart.models.resnet import ResNet
from headstart.models.resnet_models import TORCHVISION_PREPROCESSING

# --- files ---


@pytest.fixture(scope="module")
def network() -> ResNet:
    """ResNet-18 in torchvision's form, random, 7 classes."""
    return load_model("resnet18", "none", num_classes=7, seed=5)


def same_backbone(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(value, b.state_dict()[name])
        for name, value in a.state_dict().items()
        if not name.startswith("fc.")
    )


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_torchvision_state_dict_loads_with_its_head_and_preprocessing(
    network: ResNet, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(network.state_dict(), path)
    else:
        safetensors.torch.save_file(
            {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path
        )
    loaded = load_model("resnet18", str(path))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(x), network(x))
    assert loaded.preprocessing == TORCHVISION_PREPROCESSING


def test_a_file_takes_a_new_head_where_classes_are_given(network: ResNet, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pth")
    loaded = load_model("resnet18", str(tmp_path / "w.pth"), num_classes=7)
    assert same_backbone(loaded, network)
    assert not torch.equal(loaded.fc.weight, network.fc.weight)


def test_old_files_without_batch_counters_load(network: ResNet, tmp_path: Path) -> None:
    torch.save(
        {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")},
        tmp_path / "w.pth",
    )
    loaded = load_model("resnet18", str(tmp_path / "w.pth"))
    assert same_backbone(loaded, network)
    assert loaded.bn1.num_batches_tracked.item() == 0


def test_the_form_of_a_file_is_seen_in_its_names(tmp_path: Path) -> None:
    torch.save({"conv1.bias": torch.zeros(64)}, tmp_path / "keras.pth")
    torch.save({"conv1.weight": torch.zeros(64)}, tmp_path / "torchvision.pth")
    assert preprocessing_of("resnet50", str(tmp_path / "keras.pth"), 96).channel_order == "bgr"
    assert preprocessing_of("resnet50", str(tmp_path / "torchvision.pth"), 96).channel_order == "rgb"


def test_a_file_of_ours_keeps_the_preprocessing_it_was_trained_with(tmp_path: Path) -> None:
    stored = {
        "size_pixels": 48,
        "interpolation": "bilinear",
        "channel_order": "bgr",
        "scale": 1.0,
        "mean": [1, 2, 3],
        "std": [1, 1, 1],
    }
    content = safetensors.torch.save(
        {"x": torch.zeros(1)}, {"headstart": json.dumps({"preprocessing": stored})}
    )
    (tmp_path / "model.safetensors").write_bytes(content)
    found = preprocessing_of("resnet18", str(tmp_path / "model.safetensors"))
    assert (found.size_pixels, found.channel_order, found.mean) == (48, "bgr", (1, 2, 3))


class _Dangerous:
    def __reduce__(self) -> tuple:
        return (print, ("code in a weights file was run",))


def bad_file(kind: str, folder: Path, state: dict[str, Tensor]) -> Path:
    path = folder / ("w.safetensors" if "safetensors" in kind else "w.pth")
    if kind == "truncated safetensors":
        path.write_bytes(safetensors.torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)})[:-1000])
    elif kind == "empty safetensors":
        path.write_bytes(b"")
    elif kind == "truncated torch":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:100_000])
    elif kind == "pickled object":
        torch.save(_Dangerous(), path)
    elif kind == "nested torch":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif kind == "other shape":
        torch.save({**state, "layer1.0.conv2.weight": torch.zeros(64, 64, 1, 1)}, path)
    elif kind == "tensor missing":
        torch.save({name: tensor for name, tensor in state.items() if name != "layer3.1.bn2.bias"}, path)
    elif kind == "tensor too many":
        torch.save({**state, "layer5.0.conv1.weight": torch.zeros(2, 3)}, path)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "missing",
            r"w\.pth is not a file; give a \.safetensors or \.pth file, or one of: torchvision, none",
        ),
        ("truncated safetensors", r"w\.safetensors is no whole safetensors file"),
        ("empty safetensors", r"w\.safetensors is no whole safetensors file"),
        ("truncated torch", r"w\.pth (is no whole torch file|holds more than tensors, or is damaged)"),
        ("pickled object", r"w\.pth holds more than tensors, or is damaged; save the state_dict\(\) alone"),
        (
            "nested torch",
            r"w\.pth is no flat table of tensors by name; save the model's state_dict\(\) alone",
        ),
        ("other shape", r"layer1\.0\.conv2\.weight has shape \(64, 64, 1, 1\), expected \(64, 64, 3, 3\)$"),
        ("tensor missing", r"layer3\.1\.bn2\.bias is missing, expected with shape \(256,\)$"),
        ("tensor too many", r"layer5\.0\.conv1\.weight with shape \(2, 3\) has no place in this network$"),
    ],
)
def test_a_bad_file_gets_one_line_that_says_what_is_wrong(
    network: ResNet, tmp_path: Path, capsys: pytest.CaptureFixture, kind: str, message: str
) -> None:
    path = bad_file(kind, tmp_path, network.state_dict())
    with pytest.raises(WeightsError, match=message) as caught:
        load_model("resnet18", str(path))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5
    assert "code in a weights file was run" not in capsys.readouterr().out


def test_weights_of_another_depth_name_the_first_tensor_that_does_not_fit(
    network: ResNet, tmp_path: Path
) -> None:
    torch.save(network.state_dict(), tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"layer1\.0\.conv1\.weight has shape \(64, 64, 3, 3\), expected \(64, 64, 1, 1\)"
    ):
        load_model("resnet50", str(tmp_path / "w.pth"))


def test_offline_torchvision_weights_name_what_to_give_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    monkeypatch.setattr("headstart.data.download.is_reachable", lambda url: False)
    with pytest.raises(
        DownloadError, match=r"f37072fd\.pth: its server cannot be reached.* --weights FILE$"
    ) as caught:
        load_model("resnet18")
    assert "\n" not in str(caught.value)


def test_a_small_stem_is_another_network_with_the_same_file(tmp_path: Path) -> None:
    torch.save(load_model("resnet50", "none").state_dict(), tmp_path / "w.pth")
    file, small = str(tmp_path / "w.pth"), "resnet50-small-stem"
    assert (preprocessing_of("resnet50", file).size_pixels, preprocessing_of(small, file).size_pixels) == (
        224,
        32,
    )
    for weights in (file, "imagenet-keras"):
        assert files.weights_hash(weights, small) != files.weights_hash(weights, "resnet50")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a real server of its files."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with serving(handler) as running:
        yield folder, f"http://127.0.0.1:{running.server_port}"


def test_weights_load_from_a_url_and_stay_in_the_cache(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    folder, address = served
    wanted = load_model("resnet18", "none", seed=3)
    torch.save(wanted.state_dict(), tmp_path / "w.pth")
    name = f"resnet18-{files.file_hash(tmp_path / 'w.pth')[:8]}.pth"
    (tmp_path / "w.pth").rename(folder / name)
    loaded = load_model("resnet18", f"{address}/{name}")
    assert loaded.preprocessing == TORCHVISION_PREPROCESSING
    assert all(torch.equal(value, wanted.state_dict()[key]) for key, value in loaded.state_dict().items())
    (folder / name).unlink()
    assert files.weights_hash(f"{address}/{name}", "resnet18")[:8] in name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.pth", "its file name does not end in 8 or more digits of its SHA-256"),
        ("resnet18-00000000.pth", "is not the expected sha256:00000000"),
    ],
)
def test_weights_from_a_url_are_verified(
    served: tuple[Path, str], name: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    (served[0] / name).write_bytes(b"something else")
    with pytest.raises((WeightsError, DownloadError), match=said):
        load_model("resnet18", f"{served[1]}/{name}")


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/x-12345678.pth",
        "http://127.0.0.1:bad/x-12345678.pth",
        "http://127.0.0.1:99999/x-12345678.pth",
        "http:///x-12345678.pth",
        "http://127.0.0.1/x\0-12345678.pth",
        f"http://127.0.0.1/{'y' * 5000}-12345678.pth",
        "HTTP://127.0.0.1:bad/x-12345678.pth",
    ],
)
def test_what_is_no_address_is_one_short_line(url: str) -> None:
    assert files.is_url(url)
    with pytest.raises(WeightsError, match="is no address") as error:
        files.local_file(url)
    assert len(str(error.value)) < 400


# --- names, seeds, identity ---


def test_an_unknown_model_gets_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError,
        match=r"unknown model 'resnet5' \(did you mean 'resnet50'\?\); choose from: cnn, efficientnet-lite0, "
        r"res",
    ):
        load_model("resnet5")


def test_unknown_weights_get_the_nearest_name() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown weights of resnet50 'imagenet' \(did you mean 'imagenet-keras'\?\)"
    ):
        load_model("resnet50", "imagenet")


def test_random_weights_depend_on_the_seed_alone() -> None:
    first = load_model("resnet18", "none", num_classes=4, seed=1)
    torch.rand(3)  # the global generator moves on
    again, other = (load_model("resnet18", "none", num_classes=4, seed=seed) for seed in (1, 2))
    assert files.tensors_hash(first.state_dict()) == files.tensors_hash(again.state_dict())
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert not torch.equal(first.fc.weight, other.fc.weight)


def test_loading_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    load_model("resnet18", "none", seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_cnn_is_built_for_the_images_and_classes_at_hand() -> None:
    model = load_model("cnn", num_classes=3, image_pixels=48, widths=(16, 32, 32))
    assert model.preprocessing.size_pixels == 48
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 48, 48)).shape == (2, 3)


def test_the_identity_of_a_file_is_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"abc")
    # SHA-256 of "abc": FIPS 180-2, appendix B.1
    assert (
        files.weights_hash(str(tmp_path / "a.pth"))
        == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_the_identity_of_published_weights_needs_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "nothing"))
    names = ("none", "imagenet-keras", "torchvision", "torchvision-v2")
    assert len({files.weights_hash(name) for name in names}) == 4
    assert files.weights_hash("none") == "none"
    with pytest.raises(WeightsError, match=r"cannot read .*absent\.pth"):
        files.weights_hash(str(tmp_path / "absent.pth"))


@pytest.mark.parametrize(
    "description",
    ["[]", "7", "{", "[" * 100_000, '{"preprocessing": 7}', '{"preprocessing": {"size_pixels": 1000000}}'],
)
def test_a_damaged_description_of_a_model_is_one_line(tmp_path: Path, description: str) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, {"headstart": description})
    with pytest.raises(WeightsError, match="is damaged") as error:
        preprocessing_of("cnn", str(path))
    assert "\n" not in str(error.value)


def test_a_pickle_that_takes_from_an_empty_stack_is_one_line(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    content = (tmp_path / "x.pth").read_bytes()
    for place in range(0, len(content), 7):
        (tmp_path / "x.pth").write_bytes(content[:place] + b"s" + content[place + 1 :])
        try:
            files.load_state_file(tmp_path / "x.pth")
        except WeightsError as error:
            assert "\n" not in str(error)


def test_a_network_with_weights_leaves_the_global_generator_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load.model_spec("resnet50")

    def build(*given: object, **options: object) -> object:
        torch.randn(3)  # as networks of other packages draw
        return spec.build(*given, **options)

    monkeypatch.setattr(load, "model_spec", lambda name: dataclasses.replace(spec, build=build))
    before = torch.get_rng_state()
    network = load.load_model("resnet50")
    load.rebuild_model("resnet50", network.state_dict(), network.preprocessing, image_pixels=32)
    assert torch.equal(torch.get_rng_state(), before)
