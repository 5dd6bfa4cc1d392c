"""However a command is ended: one line, a documented exit code, no traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

_WAITS = """
import time
from headstart.cli import app
app.app = lambda standalone_mode: (print("ready", flush=True), time.sleep(60))
app.main()
"""
_FAILS = """
import errno, os
from headstart.cli import app
def fail(standalone_mode):
    raise OSError(getattr(errno, {name!r}), os.strerror(getattr(errno, {name!r})), "/a/file")
app.app = fail
app.main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_every_signal_that_asks_for_an_end_is_one_line_and_its_code(name: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.startswith("headstart: interrupted; finished trials are kept") and said.count("\n") == 1


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "ENAMETOOLONG"])
def test_every_error_of_the_system_is_one_line_and_exit_6(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FAILS.format(name=name)], capture_output=True, text=True)
    assert done.returncode == 6
    assert done.stderr.startswith("headstart: /a/file: ") and done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "headstart.cli", "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.returncode in (0, 141) and done.stderr == ""
