"""Pretrained networks that are fine-tuned, from their first fold to the saved model."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import save_file
from tests.support.narrow import narrow

from headstart.advise import folds, from_folds
from headstart.advise.advice import Advice
from headstart.advise.from_folds import answer_from_folds
from headstart.advise.images import prepare_images
from headstart.advise.rung import BACKBONE, BACKBONE_WEIGHTS, Rung, pretrained_networks
from headstart.advise.search import Search
from headstart.advise.timekeeper import Timekeeper
from headstart.data.folders import DEFAULT_OPTIONS
from headstart.models import load_model
from headstart.predict.predictor import load_predictor
from headstart.training.loop import DivergedError


def _search(photos: Path, folder: Path, backbone: tuple[str, str] = (BACKBONE, BACKBONE_WEIGHTS)) -> Search:
    images = prepare_images(photos, folder, DEFAULT_OPTIONS, "few", hold_out=False)
    return Search(images, folder, time=Timekeeper(minutes=600), balance=False, backbones=(backbone,))


def _only_network(search: Search, rung: Rung, least_steps: int = 4) -> Advice:
    """Trains the network on every fold and on all images, as the chosen one."""
    search._first_answer()
    tried = search._try_network(rung, 600.0, epochs=1, least_steps=least_steps)
    assert tried is not None
    search._other_folds(tried)
    network = next(each for each in search.candidates() if each.name == rung.name)
    search.best = lambda: network  # type: ignore[method-assign]
    return answer_from_folds(search)


def _rung(backbone: tuple[str, str], method: str) -> Rung:
    planned = pretrained_networks(*backbone, 32, flips=True)
    return dataclasses.replace(next(rung for rung, _ in planned if rung.method == method), batch_size=16)


@pytest.mark.parametrize("method", ["partial", "lp_ft", "finetune"])
def test_a_fine_tuned_network_is_judged_on_all_folds_and_fitted_on_all_images(
    photos: Path, tmp_path: Path, method: str
) -> None:
    with narrow():
        backbone = ("resnet18", str(tmp_path / "weights.safetensors"))
        state = load_model("resnet18", "none", seed=1).state_dict()
        save_file({name: value.contiguous() for name, value in state.items()}, backbone[1])
        search = _search(photos, tmp_path / "out", backbone)
        found = _only_network(search, _rung(backbone, method), least_steps=1)
        assert found.how == "folds" and found.test_images == 120
        assert found.refitted and found.train_images == 120
        assert found.chosen.name == method and found.chosen.folds == 5
        images = np.array(search.images.dataset.train.images[:10])
        assert np.isfinite(load_predictor(found.model).logits(images)).all()


def _diverging(*_: object) -> None:
    raise DivergedError("the loss became NaN at step 3")


def test_a_network_that_diverges_on_another_fold_is_passed_over() -> None:
    search, said = Search.__new__(Search), list[str]()
    rung = Rung(name="lp_ft", label="LP-FT, ResNet-50", method="lp_ft", pixels=64, duration="4 steps")
    search.rungs, search.folds, search.read = [rung], 5, {"lp_ft": {0: SimpleNamespace(seconds=1, steps=4)}}  # type: ignore[dict-item]
    search.reader = SimpleNamespace(has=lambda *_: False, read=_diverging)  # type: ignore[assignment]
    search.pace = SimpleNamespace(left=lambda: 1000.0)  # type: ignore[assignment]
    search.pass_over = said.append  # type: ignore[method-assign]
    search._other_folds(rung)
    assert search.rungs == []
    assert said == ["LP-FT, ResNet-50: fold 2 of 5: the loss became NaN at step 3"]


def test_a_network_that_diverges_on_all_images_is_that_of_its_first_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = Rung(name="lp_ft", label="LP-FT, ResNet-50", method="lp_ft", pixels=64, duration="4 steps")
    said: list[str] = []
    first = SimpleNamespace(seconds=1, steps=4, model_kept=True, folder=tmp_path / "first")
    search = SimpleNamespace(
        read={"lp_ft": {0: first}},
        pace=SimpleNamespace(left=lambda: 1000.0),
        folder=tmp_path,
        reader=SimpleNamespace(refit=_diverging, dataset=SimpleNamespace(train=range(120)), refit_key=str),
        fixed=lambda rung, times: rung,
        pass_over=said.append,
    )
    monkeypatch.setattr(from_folds, "load_predictor", lambda folder: folder)
    assert from_folds._final_model(search, rung) == (tmp_path / "first", False)  # type: ignore[arg-type]
    assert said == ["LP-FT, ResNet-50, fitted on all images: the loss became NaN at step 3"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["partial", "lp_ft", "finetune"])
def test_a_network_is_judged_fitted_on_all_images_and_kept(
    photos: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = _rung((BACKBONE, BACKBONE_WEIGHTS), method)
    search = _search(photos, tmp_path / "out")
    found = _only_network(search, rung)
    judged = search.judged(rung.name)
    assert len(judged.ids) == 120 and judged.score(False) > 0.4  # guessing: 0.33
    assert found.refitted and found.train_images == 120 and found.how == "folds"
    images = np.array(search.images.dataset.train.images[:40])
    before = load_predictor(found.model).logits(images)

    again = _search(photos, tmp_path / "out")
    monkeypatch.setattr(folds, "fit", lambda *_, **__: pytest.fail("trained again"))
    second = _only_network(again, rung)
    assert second.refitted and second.accuracy == found.accuracy
    np.testing.assert_array_equal(load_predictor(second.model).logits(images), before)
