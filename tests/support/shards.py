"""Shards of a study as processes of their own, which can be killed at any moment.

They are forked from a process that has loaded the libraries. What each trial does is logged: a line when it
begins and one when it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart import store
from headstart.store import FinishedTrial

LOG = "log.txt"
PRELOADED = ("headstart.studies.sharded", "pandas", "sklearn.metrics", "scipy.stats", "torch._dynamo")


def run_one(file: str, folder: str, shard: str) -> None:
    """One shard from start to end. It writes `ended-SHARD` where it ended the study."""
    from headstart.studies import trial
    from headstart.studies.shard import Shard
    from headstart.studies.sharded import run_shard

    real = trial._run

    def logged(*arguments):  # type: ignore[no-untyped-def]
        key = arguments[3].name
        _log(folder, f"begin {key} {os.getpid()}")
        result = real(*arguments)
        _log(folder, f"end {key} {os.getpid()}")
        return result

    trial._run = logged
    with open(Path(folder) / f"err-{os.getpid()}.txt", "w") as err, contextlib.redirect_stderr(err):
        done = run_shard(file, folder, shard=Shard.of(shard), threads=1)
    if done.is_last:
        (Path(folder) / f"ended-{shard.replace('/', '-')}").touch()


def _log(folder: str, line: str) -> None:
    with open(Path(folder) / LOG, "a", encoding="ascii") as file:
        file.write(line + "\n")  # one write of a few bytes, appended whole


@dataclass(frozen=True)
class Event:
    what: str
    key: str
    pid: int


def events(folder: Path) -> list[Event]:
    """What the trials did, in order."""
    path = folder / LOG
    lines = path.read_text().splitlines() if path.exists() else []
    return [Event(what, key, int(pid)) for what, key, pid in (line.split() for line in lines)]


class Shards:
    """The processes that run a study file in one folder."""

    def __init__(self, file: str, folder: Path, count: int) -> None:
        self.file, self.folder, self.count = file, folder, count
        self.killed: set[int] = set()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([*PRELOADED, "tests.support.shards"])
        folder.mkdir()
        self.processes = [self._start(number) for number in range(count)]

    def _start(self, number: int):  # type: ignore[no-untyped-def]
        shard = f"{number + 1}/{self.count}"
        process = self._context.Process(target=run_one, args=(self.file, str(self.folder), shard))
        process.start()
        return process

    def kill_in_a_trial(self, number: int, after_seconds: float, timeout_seconds: float = 120) -> bool:
        """Kills a process some time after it has begun a trial and starts it anew; False where it had
        ended."""
        process, deadline = self.processes[number], time.monotonic() + timeout_seconds
        while not self._is_in_a_trial(process.pid):
            if process.exitcode is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.005)
        time.sleep(after_seconds)
        process.kill()
        process.join()
        if process.exitcode != -9:
            return False
        self.killed.add(process.pid)
        self.processes[number] = self._start(number)
        return True

    def _is_in_a_trial(self, pid: int) -> bool:
        own = [event for event in events(self.folder) if event.pid == pid]
        return bool(own) and own[-1].what == "begin"

    def join(self, timeout_seconds: float = 300) -> list[int | None]:
        """The exit codes once all have ended; those that do not end in time are killed."""
        deadline = time.monotonic() + timeout_seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.exitcode is None:
                process.kill()
                process.join()
        return [process.exitcode for process in self.processes]


def assert_equal_trials(one: Path, other: Path) -> None:
    """Both folders hold the same trials: keys, predictions, models and histories (their seconds apart), and
    results but for cost and environment."""
    ours, theirs = store.finished_trials(one), store.finished_trials(other)
    assert [trial.key for trial in ours] == [trial.key for trial in theirs]
    for a, b in zip(ours, theirs, strict=True):
        _assert_equal(a, b)


def _assert_equal(a: FinishedTrial, b: FinishedTrial) -> None:
    models = [(trial.folder / "model.safetensors").read_bytes() for trial in (a, b)]
    assert models[0] == models[1]
    ours, theirs = store.read_predictions(a.folder), store.read_predictions(b.folder)
    assert ours.keys() == theirs.keys()
    for part in ours:
        for field in ("logits", "labels", "example_ids", "flip_logits"):
            np.testing.assert_array_equal(getattr(ours[part], field), getattr(theirs[part], field))
    assert [_timeless(row) for row in a.history] == [_timeless(row) for row in b.history]
    for field in ("study", "trial", "metrics", "train_images", "selected"):
        assert getattr(a.result, field) == getattr(b.result, field)
    assert (a.cost.examples, a.cost.flops) == (b.cost.examples, b.cost.flops)


def _timeless(row: object) -> dict[str, float]:
    assert isinstance(row, dict)
    return {name: value for name, value in row.items() if name != "seconds"}
