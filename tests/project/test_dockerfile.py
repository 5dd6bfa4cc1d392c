"""The Dockerfile's steps are ones that this repository and its command line take; docker is not asked."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def steps() -> list[tuple[str, str]]:
    """Each instruction with its argument."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    found = [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]
    return [(instruction, argument) for instruction, argument in found]


def arguments(instruction: str) -> list[str]:
    return [argument for name, argument in steps() if name == instruction]


def test_every_copied_file_is_there() -> None:
    for argument in arguments("COPY"):
        *sources, _ = argument.split()
        assert [source for source in sources if not (ROOT / source).exists()] == []


def test_every_step_is_a_shell_command_and_installs_a_lock_that_there_is() -> None:
    for command in arguments("RUN"):
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0, command
    (install,) = [command for command in arguments("RUN") if "tools/install.sh" in command]
    lock = ROOT / "locks" / f"{shlex.split(install)[-1]}.txt"
    packages = re.findall(r"^[^ #=]+", lock.read_text(encoding="utf-8"), re.MULTILINE)
    assert {"fastapi", "onnxruntime", "captum"} <= set(packages)


def test_the_server_that_it_starts_is_one_that_the_command_line_takes() -> None:
    import typer.main

    from headstart.cli.app import app

    (entry,), (command,) = arguments("ENTRYPOINT"), arguments("CMD")
    program, name, *words = json.loads(entry) + json.loads(command)
    assert program == ".venv/bin/headstart" and name == "serve"
    parsed = typer.main.get_command(app).commands[name].make_context(name, words)  # type: ignore[attr-defined]
    assert str(parsed.params["port"]) in arguments("EXPOSE")
    assert parsed.params["models"] == ["/model"]


def test_it_runs_as_nobody() -> None:
    assert arguments("USER") == ["65534"]
    assert [name for name, _ in steps()][-1] == "CMD"


@pytest.mark.slow
def test_its_steps_give_a_server_that_says_what_it_lacks(tmp_path: Path) -> None:
    """The steps without docker, in a folder: COPY as copying, RUN and ENTRYPOINT as processes."""
    for argument in arguments("COPY"):
        *sources, target = argument.split()
        for source in sources:
            goal = tmp_path / (source if target == "./" else target)
            goal.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (ROOT / source).is_dir() else shutil.copyfile)(ROOT / source, goal)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HEADSTART_CACHE": str(tmp_path / "cache"), "HEADSTART_TOKEN": "0123456789abcdef"}
    for command in arguments("RUN"):
        if "chown" not in command:  # needs root
            subprocess.run(command, shell=True, cwd=tmp_path, env=environment, check=True)
    (entry,) = arguments("ENTRYPOINT")
    words = [*json.loads(entry), str(tmp_path / "no-model"), "--port", "0"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 6 and "no-model holds no model" in done.stderr
