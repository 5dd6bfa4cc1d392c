"""The locks hold every package that is installed, each with its version and the SHA-256 of its files; the
set-up takes nothing else."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "locks"
FILES = ("study", "all", "torch-cpu", "torch-gpu")
ENTRY = re.compile(r"\S+==[^ ;]+(?: ; [^\\]+)? \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+")


def entries(name: str) -> list[str]:
    lines = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("#"))
    assert ENTRY.sub("", text) == "", f"{name}: not a pinned requirement with digests"
    return ENTRY.findall(text)


def pins(*names: str) -> dict[str, str]:
    """Versions by package."""
    requirements = [Requirement(entry.partition("\\")[0]) for name in names for entry in entries(name)]
    return {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in requirements}


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_with_digests_and_comes_from_no_address(name: str) -> None:
    assert entries(name)
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text and "--index" not in text and "--find" not in text


def test_versions_are_those_of_the_constraints() -> None:
    for build in ("cpu", "gpu"):
        lines = (ROOT / f"constraints-{build}.txt").read_text(encoding="utf-8").splitlines()[1:]
        pinned = {
            canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)
        }
        locked = pins("all", f"torch-{build}")
        on_linux = {name: version for name, version in pinned.items() if name not in ("colorama", "py-spy")}
        assert {name: locked.get(name) for name in on_linux} == on_linux


def test_a_study_s_lock_is_a_part_of_the_whole_one() -> None:
    study, everything = pins("study"), pins("all", "study")
    assert study.items() <= everything.items() and "torch" not in everything
    assert pins("torch-cpu") == {"torch": pins("torch-gpu")["torch"] + "+cpu"}


def _needed(extras: frozenset[str], python: str) -> set[str]:
    """Names of all that the project needs on Linux, by what the installed packages say."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    environment = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}

    def wanted(lines: list[str], extras: frozenset[str]) -> Iterator[Requirement]:
        for requirement in map(Requirement, lines):
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate(environment | {"extra": each}) for each in extras | {""}
            ):
                yield requirement

    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    waiting = [(each.name, frozenset(each.extras)) for each in wanted(lines, frozenset())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name == "headstart":
            lines = [line for extra in extras for line in project["optional-dependencies"][extra]]
        else:
            lines = metadata.requires(name) or []
        waiting += [(each.name, frozenset(each.extras)) for each in wanted(lines, extras)]
    return {canonicalize_name(name) for name, _ in seen} - {"headstart"}


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_locks_hold_all_that_is_needed(python: str) -> None:
    build = "torch-gpu"
    for lock, extras in (("study", {"app", "explain", "int8"}), ("all", {"all", "dev"})):
        missing = _needed(frozenset(extras), python) - set(pins(lock, build))
        assert missing == set(), f"run `python tools/lock.py`: {lock} lacks these"


def test_a_python_of_none_that_the_project_names_is_left_out_of_a_lock() -> None:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "tools" / "lock.py")
    assert spec is not None and spec.loader is not None
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    assert lock._is_of_use("appnope==1.0.0 ; sys_platform == 'darwin' \\\n    --hash=sha256:00\n")
    assert not lock._is_of_use("brotlicffi==1 ; platform_python_implementation != 'CPython' \\\n")
    assert not lock._is_of_use("httpx2-jsfetch==1 ; sys_platform == 'emscripten' \\\n")


def _set_up(folder: Path, *, cpu: bool, driver: bool = False) -> tuple[list[str], str]:
    """What install.sh asks of pip, and says on stderr, where a stand-in is the environment's Python."""
    calls = folder / "calls"
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in *--dry-run*) exit {int(not cpu)};; esac\n',
        encoding="utf-8",
    )
    python.chmod(0o755)
    path = folder / "path"
    path.mkdir()
    (path / "python3").symlink_to(python)
    (path / "date").symlink_to(shutil.which("date") or "")
    if driver:
        (path / "nvidia-smi").symlink_to("/bin/true")
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "tools" / "install.sh"), "python3", str(folder / ".venv"), "all"],
        env={"PATH": str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in calls.read_text(encoding="utf-8").splitlines() if "pip" in line], done.stderr


@pytest.mark.parametrize(
    ("cpu", "driver", "build"), [(True, False, "cpu"), (False, False, "gpu"), (True, True, "gpu")]
)
def test_the_set_up_takes_nothing_without_a_digest(
    cpu: bool, driver: bool, build: str, tmp_path: Path
) -> None:
    calls, said = _set_up(tmp_path, cpu=cpu, driver=driver)
    *probe, packages, ours = calls
    assert all("--require-hashes" in call for call in [*probe, packages])
    assert f"-r locks/torch-{build}.txt -r locks/all.txt" in packages and "--only-binary :all:" in packages
    assert "--no-deps" in packages
    assert "--no-deps --no-build-isolation --editable ." in ours
    assert ("the CPU build of torch is not to be had here" in said) == (not cpu)
