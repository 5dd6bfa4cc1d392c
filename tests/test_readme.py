"""The README stays true: every `headstart` command that it shows runs, and its make targets exist."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# A shown study takes minutes; here it runs on a small folder of images with a short training, by its own options.
SHORT = ("--set", "arms.cnn.recipe.duration='2 steps'", "--set", "arms.cnn.recipe.batch_size=16", "--set",
         "arms.probe.input_pixels=32")  # fmt: skip


def _shown_commands(tool: str) -> list[str]:
    found: list[str] = []
    for document in DOCS:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", document.read_text(), flags=re.S):
            lines = re.sub(r"\\\n\s*", " ", block).splitlines()
            found += [line.split("#")[0].strip() for line in lines if re.match(rf"\s*\$?\s*{tool}\b", line)]
    return sorted({line.removeprefix("$").strip() for line in found})


@pytest.mark.parametrize("command", _shown_commands("headstart"))
def test_every_shown_command_runs(command: str, headstart, photos: Path, advised: Path, tmp_path: Path) -> None:
    words = shlex.split(command)[1:]
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "mine.toml").write_text(_shown_study().replace('dataset = "cifar10"', f'dataset = "{photos}"'))
    if words[0] == "study":
        words += [*SHORT, "--set", f"dataset={photos}"]
    if words[0] in ("report", "publish", "findings"):  # take what `headstart study` wrote
        made = headstart("study", "cifar10-quick", *SHORT, "--set", f"dataset={photos}", "--out", words[1])
        assert made.returncode == 0, made.stderr
    if words[0] == "advise":
        words[words.index("--minutes") + 1] = "0.2"
    words = [str(word) for given in words for word in (sorted(tmp_path.glob(given)) if "*" in given else [given])]
    if any("advice/photos/model" in word for word in words):  # take what `headstart advise` wrote
        shutil.copytree(advised, tmp_path / "advice" / "photos")
    done = headstart(*words)
    assert done.returncode == 0, done.stderr


def _shown_study() -> str:
    """The study file that the README shows."""
    (text,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    return text


def test_every_shown_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    shown = {command.split()[1] for command in _shown_commands("make")}
    assert {"study", "test", "test-full"} <= shown
    assert shown <= targets


def test_the_exit_codes_are_those_of_the_errors() -> None:
    from headstart import errors

    table = dict(re.findall(r"^\| (\d+) \| (.*?) \|", (ROOT / "README.md").read_text(), flags=re.M))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.HeadstartError)]
    codes = {str(kind.exit_code) for kind in kinds if kind is not errors.HeadstartError}
    assert set(table) == codes | {"0", "130"}


def test_every_pictured_file_and_link_is_there() -> None:
    for document in (ROOT / "README.md",):  # those of docs/ are checked as built, tests/test_docs.py
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links {target}"
