"""What several tests need: a small folder of real images, and the command line as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Run = Callable[..., "subprocess.CompletedProcess[str]"]


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
def headstart(tmp_path: Path) -> Run:
    """Runs `headstart ARGUMENTS` in an empty folder as a real process; environment variables as keywords."""

    def run(
        *arguments: str, cwd: Path | None = None, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headstart.cli", *arguments], cwd=cwd or tmp_path, capture_output=True, text=True,
            timeout=timeout, env=os.environ | environment, check=False,
        )  # fmt: skip

    return run
