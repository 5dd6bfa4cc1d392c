"""Images named without a size are stored at one that fits them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from PIL import Image

from headstart.data import load_dataset
from headstart.data.folders import find_entries
from headstart.data.folders import size as stored
from headstart.data.folders.size import Storage, default_budget, disk_bytes, fitting_side, storage_of
from headstart.errors import StoreError


@pytest.mark.parametrize(
    ("sides", "count", "side"),
    [
        ([128] * 9, 9, 128),
        ([100, 100, 400], 3, 96),
        ([20], 1, 32),
        ([4000] * 3, 3, 224),
        ([4000], 100_000, 32),
        ([], 0, 32),
    ],
)
def test_the_side_is_what_most_images_have_within_memory(sides, count, side):
    assert fitting_side(sides, count) == side


def test_a_folder_is_stored_at_the_size_of_its_images_and_that_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for name, level in (("cat", 0), ("dog", 100)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(5):
            image = Image.new("RGB", (130, 140), (level + 9 * number, 0, 0))
            image.paste((0, 255, 0), (number * 20, 0, number * 20 + 30, 60))
            image.save(tmp_path / "pets" / name / f"{number}.png")
    assert load_dataset(tmp_path / "pets").test.images.shape[1:] == (128, 128, 3)
    assert "images are stored at 128 x 128 pixels, which fits their size" in capsys.readouterr().err
    assert load_dataset(tmp_path / "pets", image_pixels=32).test.images.shape[1:] == (32, 32, 3)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Two classes of three images of 100 x 140 pixels."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (100, 140), (40 * number, 0, 0)).save(tmp_path / "pets" / name / f"{number}.png")
    return find_entries(tmp_path / "pets")


def test_images_are_stored_at_the_largest_side_that_the_budget_holds_and_it_is_said(source):
    # 3 bytes a pixel of the square, and of the copy of 32 x 32
    assert disk_bytes(6, 64) == 6 * 3 * (64 * 64 + 32 * 32) == 92_160
    roomy = storage_of(source, 10**6, most=224)
    assert (roomy.side, roomy.wanted_side, roomy.bytes) == (96, 96, 6 * 3 * (96 * 96 + 1024))
    assert roomy.words("1 s") == "6 images are decoded at 96 px: 0.2 MB of disk (1.0 MB allowed), about 1 s"
    tight = storage_of(source, 92_160, most=224)
    assert (tight.side, tight.wanted_side) == (64, 96)
    assert "at 96 px they would take 0.2 MB: --cache-gb 0.00019 allows it" in tight.words("1 s")
    assert storage_of(source, 92_159, most=224).side == 32
    assert storage_of(source, 10**6, most=64).wanted_side == 64
    assert storage_of(source, 10**6, most=224, longer=True).side == 128
    assert storage_of(source, 92_160, most=224, side=96).side == 96  # as an earlier run had it


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (22_000, "0.7 GB: --cache-gb 0.68"),
        (33_000, "1.0 GB: --cache-gb 1.1"),
        (325_520, "10.0 GB: --cache-gb 10 "),
    ],
)
def test_the_budget_that_is_named_allows_the_larger_side(images, words):
    storage = Storage(side=64, wanted_side=96, images=images, bytes=1, budget_bytes=1, seconds=1)
    assert f"at 96 px they would take {words}" in storage.words("1 s")
    assert float(words.split()[-1]) * 1e9 >= images * 3 * (96 * 96 + 1024)


def test_a_budget_that_holds_no_side_is_refused(source):
    with pytest.raises(
        StoreError, match=r"6 images take 36\.9 kB .* at 32 px, and 36\.9 kB are allowed; allow more"
    ):
        storage_of(source, 36_863, most=224)


def test_the_default_budget_is_a_quarter_of_the_free_disk(source, monkeypatch):
    monkeypatch.setattr(stored.shutil, "disk_usage", lambda _: SimpleNamespace(free=40 * 10**9))
    assert default_budget(20_000) == 10**10
    assert default_budget(1000) == 10**9 + 1000 * 3 * 32 * 32
    monkeypatch.setattr(stored.shutil, "disk_usage", lambda _: SimpleNamespace(free=400))
    assert default_budget(1000) == 100


def test_that_a_gigabyte_makes_images_small_is_said(tmp_path, monkeypatch, capsys, source):
    monkeypatch.setattr(stored, "_STORED_BYTES", 3 * 6 * 40 * 40)
    for number, path in enumerate(sorted((tmp_path / "pets").rglob("*.png"))):
        image = Image.new("RGB", (100, 140))
        image.paste((255, 9 * number, 0), (10 * number, 0, 10 * number + 40, 60))
        image.save(path)
    assert load_dataset(tmp_path / "pets").train.images.shape[1] == 32
    assert "stored at 32 x 32 pixels, not 96, so that they take up to 1 GB" in capsys.readouterr().err
