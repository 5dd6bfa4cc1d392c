"""What earlier versions wrote is read unchanged: keys, run folders, saved models, published trials."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from headstart.data import load_dataset
from headstart.predict.predictor import load_predictor
from headstart.report import write_report
from headstart.results.table import results_table
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.studies.trial import resolve, trial_key
from headstart.studies.trials import as_finished, trials_of

GOLDEN = Path(__file__).parent / "golden"
REPORTS = Path(__file__).parents[1] / "report"
PUBLISHED = {"cifar10": REPORTS, "cifar10-cnn": REPORTS / "cnn", "cifar10-cpu": REPORTS / "cpu"} | {
    f"cifar10-{name}": REPORTS / name for name in ("equal", "gpu")
}


@pytest.fixture
def golden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the golden files, entered: the study names its images by a relative path."""
    folder = tmp_path / "golden"
    shutil.copytree(GOLDEN, folder)
    monkeypatch.chdir(folder)
    return folder


def _keys(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("*/result.json")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_trial_of_a_built_in_study_has_its_key_still(name: str) -> None:
    study, _ = load_study(name)
    folder = PUBLISHED[name] / "trials"
    dataset = load_dataset("cifar10")
    trials = [as_finished(trial, study, dataset, [folder]) for trial in trials_of(study)]
    assert {trial_key(resolve(trial, dataset)) for trial in trials} <= _keys(folder)


@pytest.mark.parametrize("folder", ["run", "published"])
def test_a_trials_key_is_the_digest_of_what_was_stored(folder: str) -> None:
    for path in (GOLDEN / folder).glob("*/result.json"):
        stored = json.loads(path.read_text())
        resolved = stored["trial"]
        for for_people in ("label", "name", "recipe_name"):
            del resolved["arm"][for_people]
        assert trial_key(resolved) == stored["key"] == path.parent.name


def test_an_old_study_folder_is_finished_and_renders(golden: Path) -> None:
    before = {key: (golden / "run" / key / "result.json").read_bytes() for key in _keys(golden / "run")}
    run_study("study.toml", golden / "run")
    after = {key: (golden / "run" / key / "result.json").read_bytes() for key in _keys(golden / "run")}
    assert len(before) == 7 and after == before  # nothing was run again
    write_report(golden / "run")
    assert "Small CNN" in (golden / "run" / "report.html").read_text(encoding="utf-8")


def test_old_published_trials_are_adopted(golden: Path) -> None:
    run_study("study.toml", golden / "again", published=golden / "published")
    for key in _keys(golden / "published"):
        old, new = (
            json.loads((golden / name / key / "result.json").read_text()) for name in ("published", "again")
        )
        assert new == old
    assert _keys(golden / "again") == _keys(golden / "published") and len(_keys(golden / "again")) == 7


def test_old_saved_models_answer_as_they_did(golden: Path) -> None:
    images = np.load(GOLDEN / "images.npy")
    expected = json.loads((GOLDEN / "probabilities.json").read_text())
    assert len(expected) == 7
    for key, probabilities in expected.items():
        answers = load_predictor(golden / "run" / key).probabilities(images)
        np.testing.assert_allclose(answers, probabilities, atol=2e-4)  # another processor rounds otherwise


def test_old_results_hold_what_they_held() -> None:
    table = results_table(GOLDEN / "run")
    rows = table[["arm", "labels_per_class", "seed", "train_images"]].astype(str).agg(" ".join, axis=1)
    assert rows.tolist() == [
        "cnn 5 0 15",
        "cnn 5 1 15",
        "cnn all 0 44",
        "knn all 0 44",
        "probe 5 0 15",
        "probe 5 1 15",
        "probe all 0 44",
    ]
