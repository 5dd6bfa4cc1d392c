"""Programs that download end with the command that started them, or where they bring too much."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import headstart
from headstart.data import fetchers
from headstart.data.fetchers import Fetcher
from headstart.errors import DownloadError
from headstart.runtime.interrupts import interrupts_wait

# The command line as it is, but for what it does: a download through npm.
_FETCHES = """
from headstart.cli import app
from headstart.data.download import fetch_npm_package
app.app = lambda standalone_mode: fetch_npm_package("toy", "1.0.0", "sha512-AAAA")
app.main()
"""
# A process that starts one that starts one, each with one that stays behind it; each notes its number.
_TREE = """#!/bin/sh
{note}
sh -c '{note}; sleep 600 & echo $! >> {pids}; sh -c "{note}; sleep 600" ; true' &
sleep 600
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait_for(condition) -> None:  # type: ignore[no-untyped-def]
    give_up = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="asks /proc who is alive")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_npm_and_all_that_it_has_started(name: str, code: int, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    npm = tmp_path / "npm"
    npm.write_text(_TREE.format(note=f"echo $$ >> {pids}", pids=pids), encoding="utf-8")
    npm.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HEADSTART_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(headstart.__file__).parents[1]),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", _FETCHES], env=environment, stderr=subprocess.PIPE, text=True
    )
    _wait_for(lambda: pids.exists() and len(pids.read_text(encoding="utf-8").split()) == 4)
    process.send_signal(getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == code and said.count("\n") == 1, said
    tree = [int(pid) for pid in pids.read_text(encoding="utf-8").split()]
    _wait_for(lambda: not any(_alive(pid) for pid in tree))
    assert [path.name for path in (tmp_path / "cache" / "downloads").iterdir()] == ["toy-1.0.0.tgz.lock"]


def _fetcher(folder: Path, script: str, size_bytes: int = 1000) -> Fetcher:
    return Fetcher(
        command=["/bin/sh", "-c", script],
        folder=folder,
        name="fetch toy",
        size_bytes=size_bytes,
        by_hand="put toy there",
    )


def test_a_program_that_brings_too_much_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetchers, "_SPARE_BYTES", 0)
    script = "mkdir cache; while true; do head -c 100000 /dev/zero >> cache/part; sleep 0.01; done"
    with pytest.raises(DownloadError) as caught:
        _fetcher(tmp_path, script, size_bytes=1_000_000).run()
    assert str(caught.value) == (
        "`fetch toy` brings more than 2 MB, 1 MB were expected: given up, nothing is kept; try again, or "
        "put toy there"
    )
    size = (tmp_path / "cache" / "part").stat().st_size
    time.sleep(0.1)
    assert (tmp_path / "cache" / "part").stat().st_size == size  # nobody writes any more


def test_what_a_program_leaves_running_ends_with_it(tmp_path: Path) -> None:
    code, said = _fetcher(tmp_path, "sleep 600 & echo $! > pid; echo done >&2; exit 3").run()
    assert (code, said) == (3, "done\n")
    _wait_for(lambda: not _alive(int((tmp_path / "pid").read_text(encoding="utf-8"))))


def test_a_signal_between_starting_and_remembering_is_answered_later() -> None:
    happened = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with pytest.raises(KeyboardInterrupt):
        with interrupts_wait():
            signal.raise_signal(signal.SIGINT)
            happened.append("the rest of the block")
        happened.append("after it")
    signal.signal(signal.SIGINT, before)
    assert happened == ["the rest of the block"]
