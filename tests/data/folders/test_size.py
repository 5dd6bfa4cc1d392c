"""Images named without a size are stored at one that fits them."""

from __future__ import annotations

import pytest
from PIL import Image

from headstart.data import load_dataset
from headstart.data.folders.size import fitting_side


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
