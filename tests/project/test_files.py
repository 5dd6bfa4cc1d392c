"""The files that people expect of a repository say what the package says; the hooks run what `make` runs."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import yaml

import headstart

ROOT = Path(__file__).parents[2]


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest, date = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M
    )[0]
    assert project()["version"] == headstart.__version__ == citation["version"] == newest
    assert citation["date-released"] == date


def test_the_licence_is_named_and_there() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License") and "The Headstart authors" in text
    assert project()["license"] == "MIT" and project()["license-files"] == ["LICENSE"]


def test_every_section_of_the_changelog_is_one_that_the_form_has() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## [Unreleased]") < text.index("## [0.1.1]")
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, flags=re.M)) <= kinds


def test_the_hooks_are_local_and_run_what_make_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"  # nothing is fetched
    hooks = {hook["id"]: shlex.split(hook["entry"]) for hook in repository["hooks"]}
    assert all(hook["language"] == "system" for hook in repository["hooks"])
    assert set(hooks) == {"ruff", "ruff-format", "mypy", "imports", "dead-code"}
    made = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    for name in set(hooks) - {"imports"}:  # `make test` checks the imports as a test
        assert " ".join(hooks[name]) in made, name
    assert all(pattern.startswith("^") for pattern in (hook["files"] for hook in repository["hooks"]))


def test_every_python_that_is_promised_is_named() -> None:
    named = [line.rpartition(" ")[2] for line in project()["classifiers"] if "Python :: 3." in line]
    assert named == ["3.11", "3.12", "3.13"] and project()["requires-python"] == ">=3.11"
