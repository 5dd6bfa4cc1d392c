"""Several processes on one study's folder: no trial twice, none lost, the bits of one process."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from tests.support.shards import Shards, assert_equal_trials, events

from headstart import store
from headstart.errors import BusyError, StoreError
from headstart.studies.run import run_study
from headstart.studies.shard import Shard
from headstart.studies.sharded import run_shard

ARM = """[[arms]]
name = "cnn{number}"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "{epochs} epochs", batch_size = 16, widths = [8, 8, 8] }}
"""


def _file(folder: Path, photos: Path, *, seeds: int, epochs: int) -> str:
    head = f'name = "small"\ndataset = "{photos}"\nseeds = {list(range(seeds))}\nprecision = "fp32"\n'
    arms = [ARM.format(number=number, epochs=epochs + number) for number in range(2)]
    (folder / "small.toml").write_text(head + "".join(arms))
    return str(folder / "small.toml")


def _assert_none_lost_or_twice(shards: Shards, trials: int) -> None:
    """Each trial ended once; one that began again had been cut off by a kill."""
    seen = events(shards.folder)
    ends = Counter(event.key for event in seen if event.what == "end")
    assert len(ends) == trials == len(store.finished_trials(shards.folder))
    running: dict[str, int] = {}
    for event in seen:
        if event.what == "begin":
            assert running.get(event.key) in (None, *shards.killed), "two processes ran it at once"
            running[event.key] = event.pid
        else:
            # A kill may fall between the result and the process's line about it, never the other way round.
            assert running.pop(event.key) == event.pid and ends[event.key] == 1
    assert not running
    assert len(list(shards.folder.glob("ended-*"))) >= 1
    assert (shards.folder / "results.csv").read_text().count("\n") == trials + 1
    assert not list(shards.folder.rglob(".*.part")) and not list(shards.folder.glob("*/checkpoint*"))


def _run_with_kills(shards: Shards, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    done = 0
    for kill in range(kills):
        done += shards.kill_in_a_trial(1 + kill % 3, chance.uniform(0, 0.15))
    assert done == kills, "a process had ended before it could be killed: give the study more trials"
    assert shards.join() == [0] * shards.count


def test_four_shards_of_which_three_are_killed_give_the_trials_of_one_process(
    photos: Path, tmp_path: Path
) -> None:
    file = _file(tmp_path, photos, seeds=5, epochs=2)
    shards = Shards(file, tmp_path / "shards", 4)
    _run_with_kills(shards, kills=3, seed=7)
    _assert_none_lost_or_twice(shards, 10)
    alone = run_study(file, tmp_path / "alone", threads=1)
    assert_equal_trials(alone, shards.folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_many_kills_at_random_change_no_bit(photos: Path, tmp_path: Path, seed: int) -> None:
    file = _file(tmp_path, photos, seeds=24, epochs=6)
    shards = Shards(file, tmp_path / "shards", 4)
    _run_with_kills(shards, kills=15, seed=seed)
    _assert_none_lost_or_twice(shards, 48)
    assert_equal_trials(run_study(file, tmp_path / "alone", threads=1), shards.folder)


def test_shards_and_an_ordinary_run_exclude_each_other(photos: Path, tmp_path: Path) -> None:
    file, folder = _file(tmp_path, photos, seeds=1, epochs=1), tmp_path / "runs"
    with (
        store.shared_lock(folder / "lock", "the folder"),
        store.shared_lock(folder / "lock", "the folder"),
        pytest.raises(BusyError, match=r"the study folder .*runs is in use by another headstart process: "),
    ):
        run_study(file, folder)
    with (
        store.lock(folder / "lock", "the folder"),
        pytest.raises(BusyError, match="the folder is in use by another headstart process: process"),
        store.shared_lock(folder / "lock", "the folder"),
    ):
        pass


def test_a_shard_leaves_what_another_runs_and_the_last_one_ends_the_study(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, folder = _file(tmp_path, photos, seeds=1, epochs=1), tmp_path / "runs"
    first = run_shard(file, folder, shard=Shard(number=1, count=2), minutes=0)
    assert (first.left, first.is_last) == (2, False)
    assert not (folder / "results.csv").exists() and not (folder / "gallery.npz").exists()
    capsys.readouterr()
    key = _key_of_first_trial(file)
    with store.lock(folder / key / "lock", "a trial"):
        second = run_shard(file, folder, shard=Shard(number=2, count=2), threads=1)
    assert (second.left, second.is_last) == (1, False)
    assert "shard 2/2: ran 1 of 2 trials; 1 are left (1 were with other shards)" in capsys.readouterr().err
    with store.shared_lock(folder / "lock", "another shard"):
        third = run_shard(file, folder, shard=Shard(number=1, count=2), threads=1)
    assert (third.left, third.is_last) == (0, False)
    last = run_shard(file, folder, shard=Shard(number=1, count=2), threads=1)
    assert (last.left, last.is_last) == (0, True)
    assert (folder / "gallery.npz").exists()


def _key_of_first_trial(file: str) -> str:
    from headstart.data import load_dataset
    from headstart.studies.study_file import load_study
    from headstart.studies.trial import resolve, trial_key
    from headstart.studies.trials import trials_of

    trial = trials_of(load_study(file)[0])[0]
    return trial_key(resolve(trial, load_dataset(trial.arm.dataset)))


def test_a_folder_whose_locks_stay_on_one_machine_is_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.store.shared._has_locks", lambda folder: False)
    with pytest.raises(
        StoreError, match=r"runs cannot be shared by several processes: its file system has no"
    ):
        run_shard(
            _file(tmp_path, photos, seeds=1, epochs=1), tmp_path / "runs", shard=Shard(number=1, count=2)
        )
