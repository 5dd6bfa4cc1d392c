"""The feature cache: equal to the network, interrupted and resumed, keyed by all it depends on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from headstart import features, store
from headstart.data import load_dataset
from headstart.models import load_model
from headstart.models.preprocess import preprocess
from headstart.types import ImageSet

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    return tmp_path


def _few(count: int) -> ImageSet:
    train = load_dataset("cifar10").train
    return ImageSet(images=train.images[:count], labels=train.labels[:count], class_names=train.class_names,
                    fingerprint=f"first {count} of {train.fingerprint}")  # fmt: skip


FEW = _few(150)


def _extract(images: ImageSet = FEW, *, pixels: int = 32, seed: int = 0, mirrored: bool = False) -> features.Extraction:
    model = load_model("resnet18", "none", seed=seed, image_pixels=pixels)
    return features.extract(model, images, weights_hash=f"random {seed}", precision="fp32", device=CPU, mirrored=mirrored)


def test_features_are_those_of_the_whole_network_in_eval_mode(cache: Path) -> None:
    found = _extract()
    model = load_model("resnet18", "none", image_pixels=32).eval()
    with torch.no_grad():
        want = model.forward_features(preprocess(FEW.images, model.preprocessing)).numpy()
    assert found.features.values.shape == (150, 512) and found.features.values.dtype == np.float16
    np.testing.assert_allclose(found.features.values, want, rtol=2e-3, atol=2e-3)


def test_features_of_mirrored_images_are_those_of_the_mirrored_pixels(cache: Path) -> None:
    turned = ImageSet(images=np.ascontiguousarray(FEW.images[:, :, ::-1]), labels=FEW.labels, class_names=FEW.class_names,
                      fingerprint="turned")  # fmt: skip
    np.testing.assert_array_equal(_extract(mirrored=True).features.values, _extract(turned).features.values)


def test_the_second_time_nothing_is_computed(cache: Path) -> None:
    first = _extract()
    again = _extract()
    assert (first.was_cached, again.was_cached) == (False, True)
    assert (first.seconds, first.flops) == (again.seconds, again.flops)
    np.testing.assert_array_equal(first.features.values, again.features.values)


def test_weights_size_side_and_images_each_make_another_key(cache: Path) -> None:
    keys = {_extract().features.key, _extract(seed=1).features.key, _extract(pixels=48).features.key,
            _extract(mirrored=True).features.key, _extract(_few(149)).features.key}  # fmt: skip
    assert len(keys) == 5


def test_an_interrupted_extraction_goes_on_where_it_stopped(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.array(_extract().features.values)
    for path in (cache / "features").rglob("*"):
        if path.is_file():
            path.unlink()
    monkeypatch.setattr(features, "_CHUNK", 64)
    seen: list[int] = []

    def counted(images: np.ndarray, *arguments: object, **keywords: object) -> torch.Tensor:
        seen.append(len(images))
        if sum(seen) - 64 > 64 + 10:  # the first call counts operations; then the second chunk breaks off
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


def test_a_full_disk_is_said_before_anything_is_computed(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(store.StoreError, match="set HEADSTART_CACHE to another disk"):
        _extract()
