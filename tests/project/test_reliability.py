"""The page on reliability names tests that there are, and shows commands that find them."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def _commands() -> list[list[str]]:
    """Every command of the page: in its blocks, and in its sentences."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    lines += re.findall(r"`((?:\w+=\S+ )*python [^`]+)`", PAGE)
    return [[word for word in shlex.split(line, comments=True) if "=" not in word[:20]] for line in lines]


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"(?:tests|tools|docs|src)/[\w/.-]+\.\w+", PAGE))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def _shown_paths() -> list[str]:
    wanted = [command[3:] for command in _commands() if command[:3] == ["python", "-m", "pytest"]]
    assert wanted and all(any(word.startswith("tests/") for word in words) for words in wanted)
    return sorted({word for words in wanted for word in words if word.startswith("tests/")})


def test_every_shown_command_names_files_of_tests() -> None:
    for path in _shown_paths():
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert [node for node in tree.body if getattr(node, "name", "").startswith("test_")], path


@pytest.mark.slow
def test_every_shown_command_finds_its_tests() -> None:
    """Collected, all at once; each file of them is run by `make test` or `make test-full`."""
    words = ["--collect-only", "-n0", "-p", "no:cacheprovider", "-m", "", *_shown_paths()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = {line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("tests/")}
    assert found == set(_shown_paths())


def test_every_shown_tool_takes_the_options_that_are_shown() -> None:
    tools = [command[1:] for command in _commands() if command[1].startswith("tools/")]
    assert tools
    for tool, *words in tools:
        said = subprocess.run(
            [sys.executable, str(ROOT / tool), "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert [word for word in words if word.startswith("--") and word not in said] == [], tool
