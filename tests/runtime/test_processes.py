"""Trials side by side in processes of their own: the results of one process, their times told apart, errors
and ends alike."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from tests.support.transfer_trials import random_weights

from headstart import store
from headstart.errors import ConfigError, TrialsFailedError
from headstart.report.words import machines
from headstart.results.pairing import machine_of, one_machine
from headstart.runtime.cores import usable_cores
from headstart.runtime.processes import attempts
from headstart.store import FinishedTrial
from headstart.studies.run import run_study

ARM = """[[arms]]
name = "{name}"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "{duration}", batch_size = 16, widths = [8, 8, 8]{more} }}
"""
NO_NUMBER = ', optimizer = "sgd", learning_rate = 1e30, bias_learning_rate = 1e30'


def _file(folder: Path, photos: Path, *arms: str) -> str:
    head = (
        f'name = "small"\ndataset = "{photos}"\nseeds = [0, 1]\nprecision = "fp32"\nfeature_precision = '
        '"fp32"\n'
    )
    (folder / "small.toml").write_text(head + "".join(arms or [_cnn("cnn")]))
    return str(folder / "small.toml")


def _cnn(name: str, duration: str = "2 epochs", more: str = "") -> str:
    return ARM.format(name=name, duration=duration, more=more)


def _results(folder: Path) -> list[FinishedTrial]:
    return store.finished_trials(folder)


@pytest.fixture(scope="module")
def alone(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials, one after the other in this process, with the threads that each of two processes takes."""
    folder, threads = tmp_path_factory.mktemp("alone"), torch.get_num_threads()
    torch.set_num_threads(max(1, usable_cores() // 2))
    try:
        return run_study(_file(folder, photos), folder / "runs")
    finally:
        torch.set_num_threads(threads)


class Mixed(NamedTuple):
    """A study's folder, the error that ended it, and what was printed meanwhile."""

    folder: Path
    error: str
    printed: str


@pytest.fixture(scope="module")
def mixed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Mixed:
    """By two processes: the trials of `alone`, an arm that fails, and two on the same features, in a cache
    that has none yet."""
    folder = tmp_path_factory.mktemp("mixed")
    small = f'model = "resnet18"\nweights = "{random_weights(folder)}"\ninput_pixels = 48\n'
    frozen = [f'[[arms]]\nname = "{name}"\nmethod = "{name}"\n{small}' for name in ("linear_probe", "knn")]
    study = _file(folder, photos, _cnn("cnn"), _cnn("bad", more=NO_NUMBER), *frozen)
    printed = folder / "printed"
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(TrialsFailedError) as caught,
        printed.open("w") as file,
        contextlib.redirect_stderr(file),
    ):
        patch.setenv("HEADSTART_CACHE", str(folder / "cache"))
        run_study(study, folder / "runs", jobs=2)
    return Mixed(folder / "runs", str(caught.value), printed.read_text())


def test_two_processes_give_the_bits_of_one_and_say_so_in_the_environment(alone: Path, mixed: Mixed) -> None:
    one, two = _results(alone), [trial for trial in _results(mixed.folder) if trial.arm.name == "cnn"]
    assert [(r.key, r.metrics) for r in two] == [(r.key, r.metrics) for r in one]
    for result in one:
        theirs = (mixed.folder / result.key / "model.safetensors").read_bytes()
        assert (alone / result.key / "model.safetensors").read_bytes() == theirs
    assert [r.environment.get("jobs") for r in one + two] == [None, None, 2, 2]
    assert {r.environment["threads"] for r in one + two} == {max(1, usable_cores() // 2)}
    assert (mixed.folder / "results.csv").read_text().count("\n") == 5
    lines = [line for line in mixed.printed.splitlines() if re.match(r"trial \d of 6 \(cnn, ", line)]
    assert sorted(re.findall(r"\((.*?)\)", line)[0] for line in lines) == [
        "cnn, all labels, seed 0",
        "cnn, all labels, seed 1",
    ]
    assert " steps in " not in mixed.printed


def test_times_of_trials_side_by_side_compare_with_no_others(alone: Path) -> None:
    first = _results(alone)[0]
    environment = {**first.environment, "jobs": 2}
    beside = dataclasses.replace(first, result=dataclasses.replace(first.result, environment=environment))
    assert machine_of(beside) != machine_of(first) == machine_of(_results(alone)[1])
    assert not one_machine([first, beside])
    assert [line.split(", fp32", 1)[1] for line in machines([first, beside, beside])] == [
        " (1 trial)",
        ", 2 trials side by side (2 trials)",
    ]


def test_what_is_finished_needs_no_other_process(
    alone: Path, photos: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", None)
    folder = run_study(_file(tmp_path, photos), tmp_path / "runs", jobs=2, published=alone)
    assert [r.key for r in _results(folder)] == [r.key for r in _results(alone)]


def test_a_trial_that_fails_is_named_and_the_others_are_kept(mixed: Mixed) -> None:
    assert re.match(
        r"2 of 6 trials failed \(bad, all labels, seed [01]: the loss became .*; bad, all labels, seed",
        mixed.error,
    )
    assert sorted({trial.arm.name for trial in _results(mixed.folder)}) == ["cnn", "knn", "linear_probe"]


def test_features_that_two_want_are_computed_once(mixed: Mixed) -> None:
    knn, probe = (trial for trial in _results(mixed.folder) if trial.arm.name != "cnn")
    assert knn.cost.seconds["features"] == probe.cost.seconds["features"] > 0
    # Each part of the features (training, test, mirrored test) was computed by one of the two and read by the
    # other.
    read = sum(result.cost.total_seconds - result.cost.spent_seconds for result in (knn, probe))
    assert read == pytest.approx(knn.cost.seconds["features"], abs=0.01)


def test_a_process_that_is_gone_ends_the_study_with_a_clear_line() -> None:
    due: Any = [(1, 7), (2, 7), (3, 7)]
    with pytest.raises(
        TrialsFailedError, match=r"a trial's process ended before its trial .* with fewer --jobs where memory"
    ):
        list(attempts(due, os._exit, 2, lambda trial: False))


def test_after_its_minutes_none_is_begun(photos: Path, tmp_path: Path, capsys) -> None:
    run_study(_file(tmp_path, photos), tmp_path / "runs", jobs=2, minutes=0)
    assert "0 minutes are over: 2 of 2 trials are left" in capsys.readouterr().err
    assert _results(tmp_path / "runs") == []


def test_an_impossible_number_of_jobs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^jobs must be 1 or more, got 0$"):
        run_study("cifar10-quick", tmp_path, jobs=0)
    with pytest.raises(ConfigError, match=r"^jobs must be 4,096 or less, got 1000000000000"):
        run_study("cifar10-quick", tmp_path, jobs=10**30)


@pytest.mark.parametrize(
    ("ended_by", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow)],
)
def test_processes_end_with_the_one_that_began_them(
    photos: Path, tmp_path: Path, ended_by: signal.Signals, code: int
) -> None:
    """The signal reaches the first process alone; no other is left to hold a trial's lock."""
    runs = tmp_path / "runs"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "headstart.cli",
            "study",
            _file(tmp_path, photos, _cnn("cnn", "5000 epochs")),
            "--jobs",
            "2",
            "--out",
            str(runs),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while len(begun := list(runs.glob("*/trial.json"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, "it ended before its trials"
        time.sleep(0.02)
    process.send_signal(ended_by)
    _, told = process.communicate(timeout=60)  # until no process holds the pipe
    assert process.returncode == code and "Traceback" not in told
    for path in begun:
        store.lock(path.with_name("lock"), "a trial that nobody runs").release()
