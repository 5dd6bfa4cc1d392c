"""Of many images a sample is compared on; the best candidate learns from all of them where there is time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headstart.advise import images, whole
from headstart.advise.command import advise
from headstart.data.folders import size


@pytest.fixture(scope="module")
def advised(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What advise wrote of 120 images where 100 are many: first with time for a sample of 60 alone, then for
    all."""
    folder = tmp_path_factory.mktemp("many") / "photos"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "MANY", 100)
        patch.setattr(size, "MANY", 100)
        patch.setattr(images, "SAMPLE", 60)
        patch.setattr(whole, "_REST_SECONDS", 1e9)
        advise(photos, minutes=0.05, out=folder)
        (folder / "advice.json").rename(folder / "first.json")
        patch.setattr(whole, "_REST_SECONDS", -1e9)
        advise(photos, minutes=0.05, out=folder)
    return folder


def _read(path: Path) -> dict:
    return json.loads(path.read_text())


def test_without_time_the_model_learned_from_the_sample_and_that_is_said(advised: Path) -> None:
    first = _read(advised / "first.json")
    assert first["test_images"] == 12 and first["train_images"] + first["val_images"] == 48
    assert first["sample"].startswith("Candidates were compared on a sample of 60 of 120 images")
    assert "the model learned from it alone" in first["sample"]
    assert any("the final model from all 120 images: it needs about" in why for why in first["dropped"])


def test_with_time_the_chosen_candidate_learns_from_all_images(advised: Path) -> None:
    answer, first = _read(advised / "advice.json"), _read(advised / "first.json")
    assert answer["chosen"]["name"] == first["chosen"]["name"]
    assert answer["test_images"] == 24 and answer["train_images"] + answer["val_images"] == 96
    assert "the model learned from all but 24 held-out ones" in answer["sample"]
    assert answer["sample"] in answer["lines"]
    assert len(list((advised / "whole").glob("*/result.json"))) == 1


def test_what_the_sample_held_out_is_held_out_of_all_images(advised: Path) -> None:
    from headstart.data import load_dataset

    sample, everything = load_dataset(advised / "images.toml"), load_dataset(advised / "whole.toml")
    assert len(sample.train) + len(sample.test) == 60 and len(everything.train) + len(everything.test) == 120
    assert {str(name) for name in sample.test.names} & {str(name) for name in everything.test.names}
