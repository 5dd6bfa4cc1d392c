"""Unfamiliar images: the score is calibrated on held-out images, stored with the model, said by predict."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import NearestNeighbors

from headstart.predict import familiar
from headstart.predict.familiar import NEIGHBOURS, learn
from headstart.predict.predictor import load_predictor


def _cone(count: int, seed: int) -> np.ndarray:
    """Features around one direction in 64 dimensions."""
    generator = np.random.default_rng(seed)
    return (np.ones(64) + 0.3 * generator.normal(size=(count, 64))).astype(np.float32)


def test_a_twentieth_of_held_out_images_is_refused_and_others_are_told() -> None:
    known = learn(_cone(400, 0), np.arange(400) % 5)
    assert known.refused <= 0.05
    others = _cone(2000, 1)
    assert 0.02 < float((known.scores(others) > known.threshold).mean()) < 0.09
    strangers = np.random.default_rng(2).normal(size=(200, 64))
    assert (known.scores(strangers) > known.threshold).all()


def test_of_many_images_a_twentieth_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of held-out images are to the images that are kept: to all of them they would be smaller."""
    monkeypatch.setattr(familiar, "MOST_ROWS", 100)
    known = learn(_cone(4000, 0), np.arange(4000) % 5)
    assert len(known.values) == 100 and known.refused <= 0.05
    assert 0.02 < float((known.scores(_cone(2000, 1)) > known.threshold).mean()) < 0.09


def test_the_score_is_the_cosine_distance_to_the_nearest_training_images() -> None:
    bank, queries = _cone(60, 0), _cone(7, 1)
    known = learn(bank, np.arange(60) % 5)
    peer = NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(bank)
    np.testing.assert_allclose(known.scores(queries), peer.kneighbors(queries)[0].mean(axis=1), atol=1e-3)


def test_a_model_of_advise_says_which_images_are_unfamiliar(
    advised: Path, photos: Path, headstart, tmp_path: Path
) -> None:
    predictor = load_predictor(advised / "model")
    if predictor.familiar is None:
        pytest.skip("a network was recommended here: it has no score")
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(noise)
    own = next((photos / "dog").iterdir())
    model = str(advised / "model")
    done = headstart("predict", model, str(own), str(noise), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["unfamiliar"] for row in rows] == [False, True]
    text = headstart("predict", model, str(noise)).stdout
    assert text.strip().endswith("unfamiliar: unlike the images that the model learned from")
    table = list(csv.DictReader(headstart("predict", model, str(noise), "--csv").stdout.splitlines()))
    assert table[0]["unfamiliar"] == "true"


def test_a_model_of_advise_needs_no_file_but_its_own(
    advised: Path, photos: Path, headstart, tmp_path: Path
) -> None:
    """An empty cache and no network: the backbone lies in the model."""
    own = str(next((photos / "dog").iterdir()))
    model = str(advised / "model")
    here = headstart("predict", model, own, "--json").stdout
    elsewhere = headstart("predict", model, own, "--json", HEADSTART_CACHE=str(tmp_path / "empty"))
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert elsewhere.stdout == here
