"""The wheel in an environment of what it asks for alone: `headstart list` and `study` work from there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

STUDY = """name = "tiny"
dataset = "{photos}"
seeds = [0, 1]

[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "2 steps", batch_size = 16, widths = [8, 8, 8] }}

[[arms]]
name = "knn"
model = "resnet18"
weights = "none"
method = "knn"
input_pixels = 32
"""


def required(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """What a distribution needs, extras left out, and all that those need."""
    here = distribution(name)
    found[name.lower()] = here
    for text in here.requires or ():
        need = Requirement(text)
        if need.name.lower() not in found and (need.marker is None or need.marker.evaluate({"extra": ""})):
            required(need.name, found)
    return found


def install_links(distributions: dict[str, Distribution], site: Path) -> None:
    """Each file and folder at the top of a distribution as a link: torch again would be gigabytes."""
    for each in distributions.values():
        home = Path(str(each.locate_file("")))
        for top in {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(home / top)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment with the wheel, built from a copy of the sources."""
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    build = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(home), str(source))
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    (wheel,) = home.glob("headstart-*.whl")
    venv.create(home / "env", with_pip=True)
    (site,) = (home / "env").glob("lib/python*/site-packages")
    needed = required("headstart", {})
    del needed["headstart"]
    assert {"torch", "numpy", "typer", "markupsafe"} <= set(needed)
    assert {"pytest", "optuna", "onnx"}.isdisjoint(needed)
    install_links(needed, site)
    # Without an index: what the wheel asks for is there, in the versions that it asks for, or this fails.
    python = home / "env" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", wheel]
    subprocess.run(install, env=clean_environment(), check=True)
    return home / "env" / "bin"


def clean_environment() -> dict[str, str]:
    """This process's variables without those that lead Python elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(installed: Path, cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [installed / "headstart", *arguments],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_installed_program_lists_what_there_is(installed: Path, tmp_path: Path) -> None:
    shown = run(installed, tmp_path, "list")
    for name in ("cifar10-quick", "resnet50", "linear_probe", "cnn-fast"):
        assert name in shown
    code = "import headstart; print(headstart.__file__)"
    where = subprocess.run(
        [installed / "python", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert Path(where.stdout.strip()).is_relative_to(installed.parent)


@pytest.mark.slow
def test_a_study_runs_from_the_installed_program_and_ends_in_its_report(
    installed: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.toml").write_text(STUDY.format(photos=photos))
    shown = run(installed, tmp_path, "study", "tiny.toml")
    assert "report.html" in shown
    assert (
        len(list((tmp_path / "runs" / "tiny").glob("*/result.json"))) >= 3
    )  # the CNN's two seeds, kNN's trials
    assert "<html" in (tmp_path / "runs" / "tiny" / "report.html").read_text(encoding="utf-8")[:500]
