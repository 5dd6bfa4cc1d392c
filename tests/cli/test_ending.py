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


def _ended_by(program: str, name: str, code: int) -> str:
    """What a program that says when it is ready writes to stderr once a signal has ended it with a code."""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    return said


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_every_signal_that_asks_for_an_end_is_one_line_and_its_code(name: str, code: int) -> None:
    said = _ended_by(_WAITS, name, code)
    assert said.startswith("headstart: interrupted; finished trials are kept") and said.count("\n") == 1


@pytest.mark.parametrize("name", ["ENOSPC", "EDQUOT", "EIO", "EROFS", "ENAMETOOLONG"])
def test_every_error_of_the_system_is_one_line_and_exit_6(name: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FAILS.format(name=name)], capture_output=True, text=True)
    assert done.returncode == 6
    assert done.stderr.startswith("headstart: /a/file") and done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "headstart.cli", "--help"], stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert done.returncode in (0, 141) and done.stderr == ""


_LOADS = """
import sys, time
class Slow:
    def find_spec(self, name, *_):
        if name == "headstart.cli.app":
            print("ready", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
from headstart.cli.start import main
sys.argv = ["headstart", "list"]
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_while_the_command_line_is_loaded_is_one_line_and_its_code(name: str, code: int) -> None:
    said = _ended_by(_LOADS, name, code)
    assert said.startswith("headstart: interrupted") and said.count("\n") == 1


def test_nohup_is_heard() -> None:
    command = f"trap '' HUP; exec {sys.executable} -c '{_WAITS}'"
    process = subprocess.Popen(
        ["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.terminate()
    assert process.wait(timeout=60) == 143
    process.communicate()


@pytest.mark.parametrize(
    ("to", "code", "says"),
    [
        (">&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("> /dev/full", 6, "headstart: the output: No space left on device\n"),
    ],
)
def test_where_the_version_cannot_be_printed_there_is_no_traceback(to: str, code: int, says: str) -> None:
    command = f"{sys.executable} -m headstart.cli --version {to}"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, says)


def test_the_version_into_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "headstart.cli", "--version"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_command_whose_output_is_closed_writes_into_no_other_file(tmp_path) -> None:
    """The first file that is opened would become standard output."""
    (tmp_path / "code.py").write_text(
        "import sys\n"
        "from headstart.cli import start\n"
        "start._open_closed_streams()\n"
        "file = open('mine', 'w')\n"
        "print('words')\n"
        "sys.stdout.flush()\n"
    )
    done = subprocess.run(["sh", "-c", f"{sys.executable} code.py >&-"], cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "mine").read_text() == ""


def test_an_error_that_cannot_be_printed_keeps_its_code() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m headstart.cli findings no-such-study 2> /dev/full"]
    )
    assert done.returncode == 6
