"""What several tests need: a small folder of real images, and the command line as a real process."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from tests.support.command_line import Run, run_headstart
from tests.support.narrow import narrow
from tests.support.warm_process import WarmProcess

import headstart as _before_torch  # noqa: F401  (its waiting threads sleep)

# Before torch or a BLAS is imported; the command lines that tests start inherit it, and no study measures how
# many threads are fastest. Two threads in each of two processes on two cores wait for one another.
_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
os.environ.setdefault("OMP_NUM_THREADS", "1" if "PYTEST_XDIST_WORKER" in os.environ else str(_CORES))


# Commands that tests start hear SIGHUP, also where the tests themselves were started by nohup.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


# What torch, pandas and pytest have made stays: a collection need not visit it. An eighth of all time.
gc.set_threshold(100_000, 20, 20)


# Files that take long, the longest first: a process that began one last would end long after the others.
LONGEST = (
    "project/test_published_report.py",
    "project/test_readme.py",
    "tuning/test_search.py",
    "runtime/test_processes.py",
    "predict/test_export.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(LONGEST)))


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes of `pytest -n auto`: usable cores, which xdist itself does not ask for; at most 8, for
    memory."""
    return min(8, _CORES)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 3 classes x 40 real CIFAR-10 training images as PNG."""
    from headstart.data import load_dataset

    train = load_dataset("cifar10").train
    folder = tmp_path_factory.mktemp("photos") / "photos"
    for label in (0, 5, 9):
        home = folder / train.class_names[label]
        home.mkdir(parents=True)
        for number, place in enumerate((train.labels == label).nonzero()[0][:40]):
            Image.fromarray(train.images[place]).save(home / f"{number:03d}.png")
    return folder


@pytest.fixture
def narrow_resnets() -> Iterator[None]:
    """ResNets of an eighth of the channels: see narrow."""
    with narrow():
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread for torch in this process, as a process with OMP_NUM_THREADS=1 has."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def models(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished study in float32 with a model of every method: see run_models."""
    from tests.support.models_study import run_models

    return run_models(tmp_path_factory.mktemp("models"), photos, "fp32")


@pytest.fixture(scope="session")
def advised(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `headstart advise` wrote for the small folder, within a few seconds."""
    from headstart.advise.command import advise

    return Path(advise(photos, minutes=0.1, out=tmp_path_factory.mktemp("advice") / "photos").model).parent


@pytest.fixture(scope="session")
def warm_process() -> Iterator[WarmProcess]:
    with WarmProcess() as process:
        yield process


@pytest.fixture
def headstart(tmp_path: Path, warm_process: WarmProcess) -> Run:
    """Runs `headstart ARGUMENTS` in an empty folder as a real process, whose libraries are loaded already;
    environment variables as keywords."""

    def run(*arguments: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
        return warm_process.run(arguments, tmp_path, os.environ | environment, timeout)

    return run


@pytest.fixture
def cold_headstart(tmp_path: Path) -> Run:
    """As `headstart`, from an interpreter that has loaded nothing: what a user's shell starts."""
    return partial(run_headstart, cwd=tmp_path)
