"""A study's number of threads: said, kept or measured; a resumed trial keeps its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from headstart import store
from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.runtime.cores import processor_name
from headstart.store import ThreadsRecord
from headstart.studies import threads, trial
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.studies.trials import trials_of

STUDY = """name = "small"
dataset = "{photos}"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "2 steps", batch_size = 8, widths = [8, 8, 8] }}
"""


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[int]]:
    """Nobody says a number, and the second that is tried is the fastest; what was tried, a list each time."""
    tried: list[list[int]] = []

    def seconds_by_count(step: object, counts: list[int]) -> dict[int, float]:
        tried.append(counts)
        return {count: 0.25 if count == counts[1] else 0.5 for count in counts}

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    monkeypatch.setattr(threads, "seconds_by_count", seconds_by_count)
    monkeypatch.setattr(store.threads, "_last", lambda: tmp_path / "threads.json")
    return tried


@pytest.fixture
def study_file(tmp_path: Path, photos: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(STUDY.format(photos=photos))
    return path


def _result(folder: Path) -> store.FinishedTrial:
    (finished,) = store.finished_trials(folder)
    return finished


def test_a_study_measures_once_keeps_the_fastest_and_does_not_measure_again(
    measured: list[list[int]], study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    run_study(study_file, tmp_path / "out")
    assert measured == [[4, 2, 1]]
    assert _result(tmp_path / "out").environment["threads"] == 2
    stored = json.loads((tmp_path / "out" / "study.json").read_text())["threads"]
    assert stored == {
        "count": 2,
        "seconds": {"4": 0.5, "2": 0.25, "1": 0.5},
        "processor": processor_name(),
        "cores": 4,
    }
    assert "threads: 2, the fastest a step of 4: 0.50 s, 2: 0.25 s, 1: 0.50 s" in capsys.readouterr().err
    assert torch.get_num_threads() == before
    assert store.last_measured() == ThreadsRecord.from_stored(stored)
    run_study(study_file, tmp_path / "out", seeds=2)  # another trial, and then none
    run_study(study_file, tmp_path / "out", seeds=2)
    assert measured == [[4, 2, 1]]
    assert json.loads((tmp_path / "out" / "study.json").read_text())["threads"] == stored


def test_a_number_that_is_said_is_taken(
    measured: list[list[int]], study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(study_file, tmp_path / "out", threads=3)
    assert _result(tmp_path / "out").environment["threads"] == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert threads.threads_of(tmp_path / "out", None, "auto").count == torch.get_num_threads()
    assert measured == []


def test_no_threads_are_refused(study_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="threads must be 1 or more, got 0"):
        run_study(study_file, tmp_path / "out", threads=0)
    with pytest.raises(ConfigError, match="threads must be 4,096 or less, got 1000000000000"):
        run_study(study_file, tmp_path / "out", threads=10**30)


@pytest.mark.parametrize("change", [{"processor": "another"}, {"cores": 64}])
def test_what_another_machine_measured_is_measured_anew(
    change: dict[str, object], measured: list[list[int]], tmp_path: Path
) -> None:
    kept = ThreadsRecord(count=1, seconds={4: 0.5, 1: 0.25}, processor=processor_name(), cores=4)
    store.write_json(tmp_path / "study.json", {"threads": store.as_stored(kept)})
    assert threads.threads_of(tmp_path, None, "auto") == kept
    elsewhere = dataclasses.replace(kept, **change)
    store.write_json(tmp_path / "study.json", {"threads": store.as_stored(elsewhere)})
    assert threads.threads_of(tmp_path, None, "auto").count == 2
    assert measured == [[4, 2, 1]]


@pytest.mark.parametrize("text", [None, "{}", '{"name": "old"}', "not JSON", '{"threads": {"count": 1}}'])
def test_a_study_file_without_a_number_is_measured(
    text: str | None, measured: list[list[int]], tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "study.json").write_text(text)
    assert threads.kept_threads(tmp_path) is None
    assert threads.threads_of(tmp_path, None, "auto").count == 2


def test_the_timed_step_computes_in_the_studys_precision_and_disturbs_no_generator() -> None:
    before = torch.random.get_rng_state()
    threads._step("fp32")()
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("begun", "count"), [({"threads": 3}, 3), ({}, 2)])
def test_a_resumed_trial_keeps_its_number(
    begun: dict[str, int],
    count: int,
    study_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study, _ = load_study(study_file)
    (one,) = trials_of(study)
    key = trial.trial_key(trial.resolve(one, load_dataset(study.dataset)))
    folder = tmp_path / "out" / key
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text(json.dumps(begun))
    monkeypatch.setattr(trial, "_run", lambda *_: torch.get_num_threads())
    with trial.use_threads(2):
        assert trial.run_trial(one, "small", tmp_path / "out") == 2  # nothing of it is there yet
        (folder / "checkpoint.safetensors").touch()
        assert trial.run_trial(one, "small", tmp_path / "out") == count
    said = "a trial that began with 3 threads goes on with as many, not with 2"
    assert (said in capsys.readouterr().err) == (count == 3)
