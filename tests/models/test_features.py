"""The feature cache: equal to the network, interrupted and resumed, keyed by all it depends on."""

from __future__ import annotations

import dataclasses
import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.narrow import narrow

from headstart import store
from headstart.data import load_dataset
from headstart.errors import StoreError
from headstart.models import features, load_model
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.types import ImageSet, Preprocessing

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def narrow_networks() -> Iterator[None]:
    with narrow(8):
        yield


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    return tmp_path


TRAIN = load_dataset("cifar10").train  # with the cache of the machine, not that of a test


def _few(count: int) -> ImageSet:
    return ImageSet(
        images=TRAIN.images[:count],
        labels=TRAIN.labels[:count],
        class_names=TRAIN.class_names,
        fingerprint=f"first {count} of {TRAIN.fingerprint}",
    )


FEW = _few(150)


def _extract(
    images: ImageSet = FEW, *, pixels: int = 32, seed: int = 0, mirrored: bool = False
) -> Extraction:
    return _request(images, pixels=pixels, seed=seed, mirrored=mirrored).extract()


def _request(
    images: ImageSet = FEW,
    *,
    pixels: int = 32,
    seed: int = 0,
    precision: str = "fp32",
    cut: str = "pool",
    **more: Any,
) -> FeatureRequest:
    model = load_model("resnet18", "none", seed=seed, image_pixels=pixels)
    layers = FrozenLayers(network=model, precision=precision, device=CPU, cut=cut)
    return FeatureRequest(layers=layers, images=images, **more)


def test_features_are_those_of_the_whole_network_in_eval_mode(cache: Path) -> None:
    found = _extract()
    model = load_model("resnet18", "none", image_pixels=32).eval()
    with torch.no_grad():
        want = model.forward_features(preprocess(FEW.images, model.preprocessing)).numpy()
    assert found.features.values.shape == (150, 64) and found.features.values.dtype == np.float16
    np.testing.assert_allclose(found.features.values, want, rtol=2e-3, atol=2e-3)


def test_features_of_mirrored_images_are_those_of_the_mirrored_pixels(cache: Path) -> None:
    turned = ImageSet(
        images=np.ascontiguousarray(FEW.images[:, :, ::-1]),
        labels=FEW.labels,
        class_names=FEW.class_names,
        fingerprint="turned",
    )
    np.testing.assert_array_equal(_extract(mirrored=True).features.values, _extract(turned).features.values)


def test_the_second_time_nothing_is_computed(cache: Path) -> None:
    first = _extract()
    again = _extract()
    assert (first.was_cached, again.was_cached) == (False, True)
    assert (first.seconds, first.flops) == (again.seconds, again.flops)
    np.testing.assert_array_equal(first.features.values, again.features.values)


def test_weights_size_side_and_images_each_make_another_key(cache: Path) -> None:
    keys = {
        _extract().features.key,
        _extract(seed=1).features.key,
        _extract(pixels=48).features.key,
        _extract(mirrored=True).features.key,
        _extract(_few(149)).features.key,
    }
    assert len(keys) == 5


def _network_of_the_past() -> Network:
    network = load_model("resnet18", "none")
    network.weights_hash = "ada46350044e4d4afa122253ef0f57cd507b70c0e0abdde72054c87929d9190b"
    network.preprocessing = Preprocessing(
        size_pixels=96, channel_order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
    )
    return network


@pytest.mark.parametrize(
    ("cut", "more", "key"),
    [
        ("pool", {}, "24a3626fb19b341087f24f971d0314cc299a092c77ee78ef041407cd1114191c"),
        (
            "layer3.5",
            {"mirrored": True, "ids": np.array([0, 2, 5])},
            "2f04c05aff4584beef09a36c536a6bdd07edb55a72a4bdda26bddf785e9a994b",
        ),
    ],
)
def test_keys_are_those_of_caches_that_version_0_1_1_wrote(
    cut: str, more: dict[str, Any], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.13.0+cpu")
    layers = FrozenLayers(network=_network_of_the_past(), precision="bf16", device=CPU, cut=cut)
    images = dataclasses.replace(FEW, fingerprint="f" * 64)
    assert FeatureRequest(layers=layers, images=images, **more).key == key


def test_the_bytes_still_missing_are_those_that_extracting_writes(cache: Path) -> None:
    request = _request(ids=np.arange(0, 150, 2))
    assert request.missing_bytes() == 75 * 64 * 2
    request.extract()
    assert request.missing_bytes() == 0
    assert [path.stat().st_size for path in cache.rglob("values.f16")] == [75 * 64 * 2]


def test_an_interrupted_extraction_goes_on_where_it_stopped(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.array(_extract().features.values)
    for path in (cache / "features").rglob("*"):
        if path.is_file():
            path.unlink()
    monkeypatch.setattr(features, "CHUNK", 64)
    seen: list[int] = []

    def counted(images: np.ndarray, *arguments: object, **keywords: object) -> torch.Tensor:
        seen.append(len(images))
        if sum(seen) > 64 + 10:  # the second chunk breaks off
            raise KeyboardInterrupt
        return preprocess(images, *arguments, **keywords)  # type: ignore[arg-type]

    monkeypatch.setattr(features, "preprocess", counted)
    with pytest.raises(KeyboardInterrupt):
        _extract()
    monkeypatch.setattr(features, "preprocess", preprocess)
    (record,) = (cache / "features").glob("*/progress.json")
    assert store.read_json(record)["rows"] == 64
    resumed = _extract()
    np.testing.assert_array_equal(resumed.features.values, whole)
    assert not record.exists()


def _change(path: Path, damage: str) -> None:
    whole = path.read_bytes()
    changed = {"one bit": whole[:9] + bytes([whole[9] ^ 1]) + whole[10:], "cut": whole[:-2], "empty": b""}
    path.write_bytes(changed[damage])


@pytest.mark.parametrize("damage", ["one bit", "cut", "empty"])
@pytest.mark.parametrize("name", ["values.f16", "meta.json"])
def test_damaged_features_are_announced_and_computed_again(
    cache: Path, name: str, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _extract()
    whole = np.array(first.features.values)
    assert _extract().was_cached
    (path,) = (cache / "features").glob(f"*/{name}")
    _change(path, damage)
    again = _extract()
    if (name, damage) != ("meta.json", "one bit"):  # which may fall between two words
        assert not again.was_cached and name in capsys.readouterr().err
    np.testing.assert_array_equal(again.features.values, whole)


def test_whole_features_are_read_from_a_folder_that_cannot_be_locked(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _extract()

    def refused(*_: object, **__: object) -> None:
        raise StoreError("read-only")

    monkeypatch.setattr(features, "lock", refused)
    assert _extract().was_cached


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EIO"])
def test_a_disk_that_fails_while_features_are_written_is_a_store_error(
    cache: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    def fails(_: int) -> None:
        raise OSError(getattr(errno, number), number)

    monkeypatch.setattr(features.os, "fsync", fails)
    with pytest.raises(StoreError, match=f"cannot write .*{number}"):
        _extract()


def test_a_full_disk_is_said_before_anything_is_computed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(StoreError, match="set HEADSTART_CACHE to another disk"):
        _extract()


_READ_ALL = """
import sys
import numpy as np, torch
from headstart.models import Network
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.runtime.cost import peak_memory_bytes, reset_peak_memory
from headstart.types import ImageSet, Preprocessing

class Means(Network):
    preprocessing = Preprocessing(size_pixels=None, mean=(0, 0, 0), std=(1, 1, 1))
    def forward_features(self, x):
        return x.mean((2, 3))

images = np.load(sys.argv[1], mmap_mode="r")
images = ImageSet(images=images, labels=np.zeros(len(images), np.int64), class_names=("a",), fingerprint="f")
few = ImageSet(images=images.images[:64], labels=images.labels[:64], class_names=("a",), fingerprint="few")
network = Means()
network.weights_hash = "none"
layers = FrozenLayers(network=network, precision="fp32", device=torch.device("cpu"))
FeatureRequest(layers=layers, images=few).extract()  # what the first call allocates is not what is asked
reset_peak_memory()
before = peak_memory_bytes()
FeatureRequest(layers=layers, images=images).extract()
print(peak_memory_bytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be read here")
def test_memory_mapped_images_are_let_go_as_they_are_read(cache: Path) -> None:
    path = cache / "images.npy"
    images = np.lib.format.open_memmap(
        path, mode="w+", dtype=np.uint8, shape=(5_000, 96, 96, 3)
    )  # 138 MB, a hole on disk
    del images
    done = subprocess.run(
        [sys.executable, "-c", _READ_ALL, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 100e6  # two blocks of 1,024 images are 57 MB


def test_fused_or_not_bf16_features_are_near_float32s(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want = _request(precision="fp32").extract().features.values.astype(np.float64)
    first = _request(precision="bf16").extract().features.values.astype(np.float64)
    monkeypatch.setattr(features, "fuse", lambda *_: None)
    again = dataclasses.replace(FEW, fingerprint="again")
    plain = _request(again, precision="bf16").extract().features.values.astype(np.float64)
    for found in (first, plain):
        assert np.linalg.norm(found - want) < 0.02 * np.linalg.norm(want)


def test_operations_are_those_of_the_paper_for_every_image_and_precision(cache: Path) -> None:
    # torchvision's 1,814,073,344 multiply-adds at 224 px less the head's 512,000, scaled to 32 px: (32 /
    # 224)^2
    each = 2 * (1_814_073_344 - 512_000) * 32**2 // 224**2
    with narrow(64):
        assert _extract().flops == 150 * each
