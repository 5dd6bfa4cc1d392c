"""A pretrained network that goes on learning, from its first fold to the saved model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from headstart.advise import folds
from headstart.advise.from_folds import answer_from_folds
from headstart.advise.images import prepare_images
from headstart.advise.rung import BACKBONE, BACKBONE_WEIGHTS, Rung, pretrained_networks
from headstart.advise.search import Search
from headstart.advise.timekeeper import Timekeeper
from headstart.data.folders import DEFAULT_OPTIONS
from headstart.predict.predictor import load_predictor


def _search(photos: Path, folder: Path) -> Search:
    images = prepare_images(photos, folder, DEFAULT_OPTIONS, "few", hold_out=False)
    return Search(images, folder, time=Timekeeper(minutes=600), balance=False)


def _only_network(search: Search, rung: Rung) -> None:
    search._first_answer()
    tried = search._try_network(rung, 600.0, epochs=1, least_steps=4)
    assert tried is not None
    search._other_folds(tried)
    network = next(each for each in search.candidates() if each.name == rung.name)
    search.best = lambda: network  # type: ignore[method-assign]


@pytest.mark.slow
def test_a_network_is_judged_fitted_on_all_images_and_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = pretrained_networks(BACKBONE, BACKBONE_WEIGHTS, 32, flips=True)
    rung = next(rung for rung, _ in planned if rung.method == "partial")
    rung = dataclasses.replace(rung, batch_size=16)
    search = _search(photos, tmp_path / "out")
    _only_network(search, rung)
    judged = search.judged(rung.name)
    assert len(judged.ids) == 120 and judged.score(False) > 0.4  # guessing: 0.33
    found = answer_from_folds(search)
    assert found.refitted and found.train_images == 120 and found.how == "folds"
    images = np.array(search.images.dataset.train.images[:40])
    before = load_predictor(found.model).logits(images)

    again = _search(photos, tmp_path / "out")
    _only_network(again, rung)
    monkeypatch.setattr(folds, "fit", lambda *_, **__: pytest.fail("trained again"))
    second = answer_from_folds(again)
    assert second.refitted and second.accuracy == found.accuracy
    np.testing.assert_array_equal(load_predictor(second.model).logits(images), before)
