"""What travels to a node and comes back: the same trial, weights known by their hash, equal versions."""

from __future__ import annotations

import dataclasses
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support.shards import assert_equal_trials
from tests.support.transfer_trials import random_weights

from headstart.cluster.connect import Node, connected, slots
from headstart.cluster.identity import differences, identity
from headstart.cluster.inputs import content_hash, place_weights, sendable, weights_files
from headstart.cluster.work import Setting, TrialWork, run_trial_work, write_trial
from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError
from headstart.models.weights import file_hash, local_file
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.studies.trial import resolve, trial_key
from headstart.studies.trials import trials_of

STUDY = """name = "small"
dataset = "{photos}"
precision = "fp32"
feature_precision = "fp32"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "1 epochs", batch_size = 16, widths = [8, 8, 8] }}
[[arms]]
name = "probe"
model = "resnet18"
weights = "{weights}"
method = "linear_probe"
input_pixels = 32
"""


def test_trials_on_a_node_without_data_and_weights_are_those_of_one_machine(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(random_weights(tmp_path))
    (tmp_path / "small.toml").write_text(STUDY.format(photos=photos, weights=weights))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    alone = run_study(tmp_path / "small.toml", tmp_path / "alone", threads=1)
    study = load_study(str(tmp_path / "small.toml"))[0]
    dataset = load_dataset(study.dataset)
    files = weights_files(study.arms)
    contents = [np.fromfile(path, dtype=np.uint8) for path in files.values()]
    setting = Setting(
        identity=identity(), threads=1, jobs=2, content=content_hash(dataset), weights=tuple(files)
    )
    sent = pickle.loads(pickle.dumps(sendable(dataset)))
    assert type(sent.train.images) is np.ndarray
    # The node: another cache, and no file of weights at that path.
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "node"))
    weights.rename(tmp_path / "elsewhere")
    monkeypatch.setattr("headstart.cluster.work.progress.be_quiet", lambda: None)
    monkeypatch.setattr("headstart.cluster.work.energy.count_nothing", lambda: None)
    for trial in trials_of(study):
        work = pickle.loads(pickle.dumps(TrialWork(setting=setting, trial=trial, study=study.name)))
        came = run_trial_work(work, sent, *contents)
        assert isinstance(came, dict), came
        write_trial(tmp_path / "node-runs" / trial_key(resolve(trial, dataset)), came)
    assert_equal_trials(alone, tmp_path / "node-runs")
    assert len(list((tmp_path / "node" / "weights" / "sent").iterdir())) == 1
    other = run_trial_work(
        dataclasses.replace(work, setting=dataclasses.replace(setting, content="0")), sent, *contents
    )
    assert isinstance(other, DataError) and "came damaged" in str(other)


def test_weights_that_came_damaged_are_refused_and_whole_ones_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mine.pth"
    path.write_bytes(b"weights")
    (arm,) = [each for each in load_study("cifar10-quick")[0].arms if each.name == "probe"]
    ((file, _),) = weights_files([dataclasses.replace(arm, weights=str(path))]).items()
    assert file.place == "" and file.sha256 == file_hash(path)
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    place_weights(file, content)
    assert not (tmp_path / "cache").exists()  # the file is here already
    path.unlink()
    with pytest.raises(DataError, match=r"the weights .*mine\.pth came damaged"):
        place_weights(file, content[1:])
    place_weights(file, content)
    copy = Path(local_file(str(path)))
    assert copy.read_bytes() == b"weights" and copy.is_relative_to(tmp_path / "cache")
    place_weights(file, content[1:])  # it is there: what comes is not even looked at


def test_a_node_with_other_versions_is_named_with_what_differs() -> None:
    mine = identity()
    other = dataclasses.replace(mine, torch="1.0", code="f" * 64)
    assert differences(mine, mine) == []
    assert differences(mine, other) == [
        f"code ffffffffffff instead of {mine.code[:12]}",
        f"torch 1.0 instead of {mine.torch}",
    ]


@pytest.mark.parametrize(("threads", "gpus", "expected"), [(1, 0, [4, 2]), (3, 0, [1, 0]), (1, 1, [1, 0])])
def test_a_node_takes_as_many_trials_as_its_cores_and_gpus_allow(
    threads: int, gpus: int, expected: list[int]
) -> None:
    machines = [
        Node(id="a", address="10.0.0.1", cores=4, gpus=1),
        Node(id="b", address="10.0.0.2", cores=2, gpus=0),
    ]
    assert slots(machines, threads, gpus) == expected


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match=r"^--cluster needs Ray: pip install 'headstart\[ray\]'$"),
        connected("local"),
    ):
        pass
