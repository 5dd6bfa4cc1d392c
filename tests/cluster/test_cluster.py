"""Studies on a real Ray cluster of two nodes on this machine: the results of no cluster, whatever is
killed."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.support.ray_cluster import RayCluster
from tests.support.searches import PLANNED, assert_equal_searches
from tests.support.shards import assert_equal_trials

from headstart import store
from headstart.cluster.connect import connected
from headstart.cluster.doctor import examine_nodes
from headstart.cluster.readings import robustness_on_cluster
from headstart.cluster.searches import tune_on_cluster
from headstart.cluster.study import run_on_cluster
from headstart.errors import ConfigError, TrialsFailedError
from headstart.evaluation.records import ROBUSTNESS
from headstart.evaluation.robustness import run_robustness
from headstart.runtime.threads import use_threads
from headstart.studies.run import run_study
from headstart.tuning.search import tune
from headstart.types import Robustness

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own
pytest.importorskip("ray")

ARM = """[[arms]]
name = "cnn{number}"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "{epochs} epochs", batch_size = 16, widths = [8, 8, 8]{more} }}
"""


def _file(folder: Path, photos: Path, *, seeds: int, more: str = "") -> str:
    head = f'name = "small"\ndataset = "{photos}"\nseeds = {list(range(seeds))}\nprecision = "fp32"\n'
    arms = [ARM.format(number=number, epochs=2 + number, more=more) for number in range(2)]
    (folder / "small.toml").write_text(head + "".join(arms))
    return str(folder / "small.toml")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    made = RayCluster(nodes=2)
    yield made
    made.close()


def test_sixty_trials_survive_ten_killed_nodes_and_a_killed_driver(
    photos: Path, tmp_path: Path, cluster: RayCluster
) -> None:
    file, folder = _file(tmp_path, photos, seeds=30), tmp_path / "ray"
    call = f"run_on_cluster({cluster.address!r}, {file!r}, {str(folder)!r}, threads=1)"
    script = f"from headstart.cluster.study import run_on_cluster\n{call}"
    command = [sys.executable, "-c", script]
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while len(list(folder.glob("*/result.json"))) < 5:
        assert driver.poll() is None, driver.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.communicate()
    before = len(list(folder.glob("*/result.json")))
    assert 5 <= before < 60
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    chance = random.Random(0)
    for number in range(10):
        time.sleep(chance.uniform(1, 3))
        assert driver.poll() is None, f"it ended before ten nodes were killed: {driver.communicate()[1]}"
        cluster.kill(number % 2)
    said = driver.communicate(timeout=1200)[1]
    assert driver.returncode == 0, said
    assert len(store.finished_trials(folder)) == 60
    assert_equal_trials(run_study(file, tmp_path / "alone", threads=1), folder)


def test_a_trial_that_fails_is_named_and_is_not_tried_again(
    photos: Path, tmp_path: Path, cluster: RayCluster
) -> None:
    diverges = ', optimizer = "sgd", learning_rate = 1e30, bias_learning_rate = 1e30'
    file = _file(tmp_path, photos, seeds=1, more=diverges)
    with pytest.raises(TrialsFailedError, match=r"^2 of 2 trials failed \(cnn[01], .*: the loss became"):
        run_on_cluster(cluster.address, file, tmp_path / "ray", threads=1)


def test_every_node_is_looked_at_and_too_many_threads_are_refused(
    photos: Path, tmp_path: Path, cluster: RayCluster
) -> None:
    with connected(cluster.address):
        found = examine_nodes()
    assert sorted(each.node.cores for each in found) == [0, 1, 1]
    assert all(each.machine is not None and each.differs == () for each in found)
    with pytest.raises(ConfigError, match=r"no node of the cluster has 64 cores for one trial"):
        run_on_cluster(cluster.address, _file(tmp_path, photos, seeds=1), tmp_path / "ray", threads=64)


def test_searches_on_a_cluster_are_those_of_one_machine(
    photos: Path, tmp_path: Path, cluster: RayCluster
) -> None:
    (tmp_path / "small.toml").write_text(PLANNED.format(photos=photos))
    file = str(tmp_path / "small.toml")
    with use_threads(1):
        alone = tune(file, out=tmp_path / "alone")
        away = tune_on_cluster(cluster.address, file, out=tmp_path / "ray")
    assert [done.arm for done in away] == [done.arm for done in alone] == ["a", "b", "a"]
    for ours, theirs in zip(alone, away, strict=True):
        assert_equal_searches(ours.recipe_file.parent, theirs.recipe_file.parent)
    seconds = [done.seconds for done in away]
    with use_threads(1):
        again = tune_on_cluster(cluster.address, file, out=tmp_path / "ray")
    assert [done.seconds for done in again] == seconds  # nothing was tried anew


def test_readings_on_a_cluster_are_those_of_one_machine(
    photos: Path, tmp_path: Path, cluster: RayCluster
) -> None:
    folder = run_study(_file(tmp_path, photos, seeds=1), tmp_path / "alone", threads=1)
    shutil.copytree(folder, tmp_path / "ray")
    wanted = Robustness(images=4, seed=0)
    with use_threads(1):
        assert run_robustness(folder, wanted) == 2
        assert robustness_on_cluster(cluster.address, tmp_path / "ray", wanted) == 2
    written = sorted((folder / ROBUSTNESS).glob("*.npz"))
    assert len(written) == 3  # two arms and the sheet
    for path in written:
        ours, theirs = np.load(path), np.load(tmp_path / "ray" / ROBUSTNESS / path.name)
        for name in set(ours.files) - {"seconds"}:
            np.testing.assert_array_equal(ours[name], theirs[name])
