"""`headstart app` as a real process on a free port."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running_server import RunningServer


def start_app(*arguments: str, cwd: Path, port: int = 0, **environment: str) -> RunningServer:
    """The app, answering."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headstart.cli", "app", *arguments, "--no-browser", "--port", str(port)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line.startswith("headstart app: "), process.stderr.read()
    return RunningServer(process, int(line.split("/")[2].rpartition(":")[2]))


@contextmanager
def running_app(*arguments: str, cwd: Path, **environment: str) -> Iterator[RunningServer]:
    """The app, until the block ends."""
    running = start_app(*arguments, cwd=cwd, **environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()
