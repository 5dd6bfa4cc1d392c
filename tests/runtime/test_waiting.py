"""Waiting threads sleep, whichever way headstart is entered; what the environment says of it stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings

import pytest

from headstart.runtime import waiting

SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python in which nothing says how to wait; its OpenMP prints its settings on standard error."""
    own = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        [sys.executable, *arguments],
        env=own | {"OMP_DISPLAY_ENV": "VERBOSE"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )


def _policies(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What each OpenMP that was loaded says of waiting."""
    return [line.split("=")[1].strip(" '") for line in done.stderr.splitlines() if "OMP_WAIT_POLICY" in line]


DOCTOR = """
import sys
from headstart.cli.start import main
sys.argv = ["headstart", "doctor"]
try:
    main()
except SystemExit:
    import torch  # which doctor itself need not load
"""


def test_threads_of_the_command_line_sleep_and_doctor_says_so() -> None:
    done = _run("-c", DOCTOR)
    assert set(_policies(done)) == {"PASSIVE"}
    assert re.search(r"^ok +waiting threads +sleep \(OMP_WAIT_POLICY=PASSIVE\)", done.stdout, re.MULTILINE)


WORKERS = """
import headstart
from headstart.runtime.processes import attempts
if __name__ == "__main__":
    print([result() for *_, result in attempts([(1, -1)], abs, 2)])
"""


def test_threads_of_worker_processes_sleep(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(WORKERS)
    done = _run(str(script))
    assert done.stdout == "[1]\n"
    assert _policies(done) == ["PASSIVE"] * 2  # this process and another


@pytest.mark.parametrize(("name", "value"), [("OMP_WAIT_POLICY", "ACTIVE"), ("GOMP_SPINCOUNT", "1000")])
def test_what_the_environment_says_stays(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in SETTINGS:
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, value)
    waiting.sleep_while_waiting()
    assert {each: os.environ[each] for each in SETTINGS if each in os.environ} == {name: value}
    assert waiting.waiting_in_words() == f"as the environment says: {name}={value}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        waiting.warn_of_spinning()


def test_a_torch_that_was_first_is_warned_of_once_and_doctor_tells() -> None:
    done = _run(
        "-c",
        "import torch, headstart\n"
        "from headstart.cli.doctor import examine\n"
        "from headstart.runtime.waiting import warn_of_spinning\n"
        "warn_of_spinning()\n"
        "warn_of_spinning()\n"
        "print([row.remedy for row in examine() if row.what == 'waiting threads' and not row.fine])",
    )
    assert done.stderr.count("RuntimeWarning: torch was imported before headstart") == 1
    assert done.stdout == "['import headstart before torch, or set OMP_WAIT_POLICY=PASSIVE']\n"


@pytest.mark.parametrize(("policy", "spinning"), [("PASSIVE", "0"), ("ACTIVE", "1"), (None, "0")])
def test_threads_of_onnxruntime_wait_as_those_of_openmp(
    policy: str | None, spinning: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    options = waiting.onnxruntime_options(onnxruntime, 2)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == spinning
    assert options.intra_op_num_threads == 2
