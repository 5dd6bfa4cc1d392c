"""Beside a quick study stands what the full one found, and where the order is another."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.results import full_study
from headstart.results.full_study import beside_the_full_study, published_answer
from headstart.studies.study_file import load_study


def trial(arm: str, accuracy: float, seed: int = 0) -> Any:
    named = SimpleNamespace(name=arm, label=f"The {arm}")
    return SimpleNamespace(arm=named, seed=seed, metrics={"test_accuracy": accuracy})


@pytest.fixture
def full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = published_answer(
        "Tuned wins.", [trial("cnn", 0.9), trial("tuned", 0.96), trial("tuned", 0.94, 1)]
    )
    assert answer == {"sentence": "Tuned wins.", "test_accuracy": {"cnn": 0.9, "tuned": 0.95}}
    (tmp_path / "full.json").write_text(json.dumps({"cifar10": answer}))
    monkeypatch.setattr(full_study, "FILE", tmp_path / "full.json")


def test_another_order_is_said(full: None) -> None:
    quick: Any = SimpleNamespace(name="cifar10-quick")
    assert beside_the_full_study(quick, [trial("cnn", 0.8), trial("tuned", 0.7), trial("other", 0.1)]) == (
        "One seed proves nothing. The full study, published: Tuned wins. Here The cnn is ahead of The tuned, "
        "there it is the other way round: believe the full study."
    )


def test_the_same_order_and_more_seeds_say_less(full: None) -> None:
    quick: Any = SimpleNamespace(name="cifar10-quick")
    trials = [trial("cnn", 0.7), trial("tuned", 0.8), trial("tuned", 0.8, 1)]
    assert beside_the_full_study(quick, trials) == "The full study, published: Tuned wins."


def test_a_study_of_its_own_has_nothing_beside_it() -> None:
    assert beside_the_full_study(SimpleNamespace(name="mine"), [trial("cnn", 0.7)]) == ""


def test_the_packages_file_is_of_every_full_study() -> None:
    stored = json.loads(full_study.FILE.read_text())
    assert set(stored) == set(full_study.FULL.values())
    assert "Fine-tuned ResNet-50" in stored["cifar10"]["sentence"]


@pytest.mark.parametrize("quick", full_study.FULL)
def test_every_arm_of_a_quick_study_stands_in_the_full_one(quick: str) -> None:
    stored = json.loads(full_study.FILE.read_text())[full_study.FULL[quick]]
    arms = {arm.name for arm in load_study(quick)[0].arms}
    assert arms <= set(stored["test_accuracy"]) and {"cnn", "probe", "lp-ft"} <= arms


@pytest.mark.slow
def test_the_packages_answers_are_those_of_the_published_trials() -> None:
    sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
    made = importlib.import_module("update_readme").full_answers()
    assert json.loads(full_study.FILE.read_text()) == json.loads(json.dumps(made))
