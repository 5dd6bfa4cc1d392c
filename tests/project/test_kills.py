"""A study that is killed, or whose disk fails, at any write: nothing finished is lost, and the same command
then gives the same bits.

A study of two trials is run to its end once; then it is killed just before a write, or the disk is full from
that write on, for every write that it makes (a few of them in `make test`). Beside those, kills at random
moments.

The slow tests may be cut to a part of the writes, HEADSTART_WRITES=FIRST:LAST:STEP as in Python's slices, and
to fewer random kills, HEADSTART_KILLS=NUMBER: 40 where nothing is said.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.interrupted import failing_at, in_process, killed_at, writes_of

from headstart import store
from headstart.studies.run import run_study

GOLDEN = Path(__file__).parents[1] / "golden"
STUDY = """name = "small"
dataset = "photos"
labels_per_class = [5]
seeds = [0, 1]
precision = "fp32"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = { duration = "3 epochs", batch_size = 8, widths = [8, 16, 16] }
"""
Bits = dict[str, bytes]


def _run() -> None:
    run_study("small.toml", "run", threads=1)


def _bits() -> Bits:
    """Of every finished trial, its model and its logits."""
    return {
        trial.key: (trial.folder / "model.safetensors").read_bytes()
        + store.read_test(trial.folder).logits.tobytes()
        for trial in (store.finished_trials(Path("run")) if Path("run").is_dir() else ())
    }


@pytest.fixture(scope="module", autouse=True)
def a_checkpoint_each_epoch() -> Iterator[None]:
    """However slow the machine is at the moment, so that every run makes the same writes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.training.loop._CHECKPOINT_SHARE", 1e9)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Bits, int]:
    """A folder with the study and its images, what an undisturbed run gives, and how many writes it makes."""
    folder = tmp_path_factory.mktemp("kills")
    shutil.copytree(GOLDEN / "photos", folder / "photos")
    (folder / "small.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert in_process(_run) == (0, "")  # the images are decoded into the cache
        bits = _bits()
        shutil.rmtree("run")
        writes = writes_of(_run)
        assert _bits() == bits and len(bits) == 2
        shutil.rmtree("run")
    return folder, bits, writes


@pytest.fixture
def here(whole: tuple[Path, Bits, int], monkeypatch: pytest.MonkeyPatch) -> tuple[Bits, int]:
    folder, bits, writes = whole
    monkeypatch.chdir(folder)
    shutil.rmtree(folder / "run", ignore_errors=True)
    return bits, writes


def _finishes_the_same(bits: Bits) -> None:
    """What is finished has its bits now, and the same command gives the rest; nothing else is left."""
    finished = _bits()
    assert finished.items() <= bits.items()
    assert in_process(_run) == (0, "")
    assert _bits() == bits
    assert not list(Path("run").rglob(".*.part")) and not list(Path("run").rglob("checkpoint*"))


def _all_or_asked(writes: int) -> Sequence[int]:
    """Every write, or those of HEADSTART_WRITES."""
    parts = os.environ.get("HEADSTART_WRITES", ":").split(":")
    return range(writes)[slice(*(int(part) if part else None for part in parts))]


def _spread(writes: int, count: int) -> Sequence[int]:
    return sorted({round(place * (writes - 1) / (count - 1)) for place in range(count)})


def _kill_at(bits: Bits, places: Sequence[int]) -> None:
    for write in places:
        shutil.rmtree("run", ignore_errors=True)
        assert killed_at(_run, write) == (-signal.SIGKILL, ""), write
        _finishes_the_same(bits)


def _fail_at(bits: Bits, places: Sequence[int], names: Sequence[str]) -> None:
    for write, name in zip(places, names * len(places), strict=False):
        shutil.rmtree("run", ignore_errors=True)
        code, text = failing_at(_run, write, name)
        assert code == 6 and "\n" not in text, (write, name, code, text)
        assert "free space or choose another folder" in text
        assert not list(Path("run").rglob(".*.part"))
        _finishes_the_same(bits)


def test_killed_before_a_few_writes(here: tuple[Bits, int]) -> None:
    bits, writes = here
    assert writes > 30
    _kill_at(bits, _spread(writes, 3))


@pytest.mark.slow
def test_killed_before_every_write(here: tuple[Bits, int]) -> None:
    bits, writes = here
    _kill_at(bits, _all_or_asked(writes))


def test_a_full_disk_from_a_few_writes_on(here: tuple[Bits, int]) -> None:
    bits, writes = here
    _fail_at(bits, _spread(writes, 3), ["ENOSPC", "EDQUOT", "EIO"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO"])
def test_a_full_disk_from_every_write_on(here: tuple[Bits, int], name: str) -> None:
    bits, writes = here
    _fail_at(bits, _all_or_asked(writes), [name])


def _kill_at_random(bits: Bits, count: int) -> None:
    drawn = random.Random(0)
    shutil.rmtree("run", ignore_errors=True)
    begin = time.perf_counter()
    assert in_process(_run) == (0, "")
    seconds = time.perf_counter() - begin
    for _ in range(count):
        shutil.rmtree("run", ignore_errors=True)
        wait = drawn.uniform(0, seconds)
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                _run()
            finally:
                os._exit(0)
        time.sleep(wait)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _finishes_the_same(bits)


@pytest.mark.slow
def test_killed_at_many_random_moments(here: tuple[Bits, int]) -> None:
    _kill_at_random(here[0], int(os.environ.get("HEADSTART_KILLS", "40")))
