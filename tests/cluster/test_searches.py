"""Searches and readings as a node of a cluster makes them: the results of one machine."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.searches import PLANNED, assert_equal_searches

from headstart import store
from headstart.cluster.identity import identity
from headstart.cluster.inputs import content_hash, sendable
from headstart.cluster.readings import ReadingWork, run_reading_work, without_training
from headstart.cluster.searches import SearchWork, run_search_work
from headstart.cluster.work import Setting, files_in
from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.evaluation.records import ROBUSTNESS
from headstart.evaluation.robustness import run_robustness
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.tuning.question import without_test
from headstart.tuning.search import Searches, SearchRequest, tune
from headstart.types import Dataset, Robustness


@pytest.fixture(autouse=True)
def this_process_goes_on(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """What a node's process changes for good is left alone here; both compute with one thread, as asked."""
    monkeypatch.setattr("headstart.cluster.work.progress.be_quiet", lambda: None)


def _setting(dataset: Dataset) -> Setting:
    return Setting(identity=identity(), threads=1, jobs=1, content=content_hash(dataset), weights=())


def test_a_search_on_a_node_is_that_of_one_machine_and_goes_on_where_one_stopped(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(PLANNED.format(photos=photos))
    tune(tmp_path / "small.toml", SearchRequest(arms=("a",)), out=tmp_path / "alone")
    study = load_study(str(tmp_path / "small.toml"))[0]
    searches = Searches(
        study=replace(study, searches=()), request=SearchRequest(), folder=tmp_path / "nowhere"
    )
    dataset = sendable(without_test(load_dataset(study.dataset)))
    due = (study.arms[0], study.searches[0])
    stored = tmp_path / "alone" / "tuning" / "a-all"
    begun = store.read_json(stored / "tuning.json")
    store.write_sealed(tmp_path / "one.json", {**begun, "tries": begun["tries"][:1], "best": 1})
    for start in (b"", (tmp_path / "one.json").read_bytes()):
        work = SearchWork(setting=_setting(dataset), due=due, searches=searches, begun=start)
        came = run_search_work(pickle.loads(pickle.dumps(work)), dataset)
        assert isinstance(came, dict), came
        here = tmp_path / f"node{len(start)}"
        for name, content in came.items():
            store.write_bytes(here / name, content)
        assert_equal_searches(here, stored)
    kept = store.read_search(here / "tuning.json").candidates[0]
    assert kept.seconds == store.read_search(stored / "tuning.json").candidates[0].seconds
    other = replace(work, due=(replace(due[0], recipe=due[0].recipe.replace(batch_size=8)), due[1]))
    refused = run_search_work(other, dataset)
    assert isinstance(refused, ConfigError) and "holds tries of another recipe" in str(refused)


def test_a_reading_on_a_node_without_training_images_is_that_of_one_machine(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(
        PLANNED.format(photos=photos).split("[[tuning]]")[0].replace("[5, ", "[")
    )
    folder = run_study(tmp_path / "small.toml", tmp_path / "alone", threads=1)
    wanted = Robustness(arms=("a",), images=4, seed=0)
    run_robustness(folder, wanted)
    dataset = sendable(without_training(load_dataset(str(photos))))
    assert len(dataset.train) == 0
    (trial,) = [each for each in store.finished_trials(folder) if each.arm.name == "a"]
    work = ReadingWork(
        setting=_setting(dataset), wanted=wanted, key=trial.key, trial=files_in(trial.folder), begun=b""
    )
    came = run_reading_work(pickle.loads(pickle.dumps(work)), dataset)
    assert isinstance(came, dict), came
    shutil.copytree(folder / ROBUSTNESS, tmp_path / "node")
    for name, content in came.items():
        (tmp_path / "node" / name).write_bytes(content)
    ours, theirs = (np.load(place / f"{trial.key}.npz") for place in (folder / ROBUSTNESS, tmp_path / "node"))
    assert ours.files == theirs.files and "frost" in ours.files
    for name in set(ours.files) - {"seconds"}:
        np.testing.assert_array_equal(ours[name], theirs[name])
