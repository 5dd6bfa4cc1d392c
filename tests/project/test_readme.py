"""The README stays true: every `headstart` command that it shows runs, and its make targets exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.support.warm_process import WarmProcess

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A shown study takes minutes; here it runs on a small folder of images with a short training, by its own
# options.
SHORT = (
    "--set",
    "arms.cnn.recipe.duration='2 steps'",
    "--set",
    "arms.cnn.recipe.batch_size=16",
    "--set",
    "arms.probe.input_pixels=32",
)
QUICK = (  # what the quick study has beside the shown study's two arms
    "--set",
    "arms.lp-ft.recipe.duration='1 steps'",
    "--set",
    "arms.lp-ft.recipe.batch_size=4",
    "--set",
    "arms.lp-ft.input_pixels=32",
)


def _shown_commands(tool: str) -> list[str]:
    found: list[str] = []
    for document in DOCS:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", document.read_text(), flags=re.S):
            lines = re.sub(r"\\\n\s*", " ", block).splitlines()
            found += [line.split("#")[0].strip() for line in lines if re.match(rf"\s*\$?\s*{tool}\b", line)]
    shown = {line.removeprefix("$").strip() for line in found}
    # Those that answer until they are ended are run by tests/serve and tests/app.
    return sorted(line for line in shown if not line.startswith(("headstart serve", "headstart app")))


# What other shown commands read: run once, and checked as any other.
STUDY, ADVISE = "headstart study cifar10-quick", "headstart advise photos --minutes 10"


def _run_shown(command: str, folder: Path, photos: Path, process: WarmProcess) -> None:
    """Runs a shown command in a folder, with a small folder of images and a short training in place of long
    ones."""
    words = shlex.split(command)[1:]
    (folder / "photos").symlink_to(photos)
    (folder / "mine.toml").write_text(_shown_study().replace('dataset = "cifar10"', f'dataset = "{photos}"'))
    if words[0] == "study":
        words += [
            *SHORT,
            *(() if "mine.toml" in words else QUICK),
            "--set",
            f"dataset={photos}",
            *(() if "--seeds" in words else ("--seeds", "1")),
        ]
    if words[0] == "advise":
        words[words.index("--minutes") + 1] = "0.2"
    words = [
        str(word) for given in words for word in (sorted(folder.glob(given)) if "*" in given else [given])
    ]
    done = process.run(words, folder, dict(os.environ))
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def made(
    photos: Path, warm_process: WarmProcess, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder in which a shown command was run, once for all tests."""

    @cache
    def run(command: str) -> Path:
        folder = tmp_path_factory.mktemp("made")
        _run_shown(command, folder, photos, warm_process)
        return folder

    return run


def _with_costs(command: str) -> object:
    """Variants of the quick study, itself run every time, are slow tests: 9 s of a processor each."""
    again = command.startswith(f"{STUDY} ") and "--plan" not in command
    return pytest.param(command, marks=pytest.mark.slow) if again else command


@pytest.mark.parametrize("command", [_with_costs(each) for each in _shown_commands("headstart")])
def test_every_shown_command_runs(
    command: str, made: Callable[[str], Path], photos: Path, warm_process: WarmProcess, tmp_path: Path
) -> None:
    if command in (STUDY, ADVISE):
        made(command)
        return
    if command.split()[1] in ("report", "publish", "findings"):
        shutil.copytree(made(STUDY) / "runs", tmp_path / "runs")
    if "advice/photos/model" in command:
        shutil.copytree(made(ADVISE) / "advice", tmp_path / "advice")
    _run_shown(command, tmp_path, photos, warm_process)


def _shown_study() -> str:
    """The study file that the how-to shows."""
    page = ROOT / "docs" / "how-to" / "own-study.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text(), flags=re.S)
    return text


def test_the_readme_is_at_most_150_lines_with_the_answer_on_its_first_screen() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    first = "\n".join(lines[:40])
    for needed in ("**On CIFAR-10 with all", "| Test accuracy |", "| Claim |", "Can I trust it?"):
        assert needed in first


def test_every_shown_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    shown = {command.split()[1] for command in _shown_commands("make")}
    assert {"study", "test", "test-full"} <= shown
    assert shown <= targets


def test_the_exit_codes_are_those_of_the_errors() -> None:
    from headstart import errors

    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    table = {code for row in re.findall(r"^\| ([\d, ]+) \|", page, flags=re.M) for code in row.split(", ")}
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HeadstartError)
    ]
    codes = {str(kind.exit_code) for kind in kinds if kind is not errors.HeadstartError}
    ended = {"129", "130", "141", "143"}  # by a signal, or by who reads the output
    assert table == codes | {"0", "10"} | ended  # 10: data check --exit-code


def test_every_pictured_file_and_link_is_there() -> None:
    """Those of docs/ are checked as built, by tests/project/test_docs.py."""
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links {target}"
