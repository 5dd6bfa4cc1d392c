"""A small package adds a method, a recipe, a model and a data set, and every command works with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from PIL import Image
from tests.support.command_line import run_headstart
from tests.support.plugin_package import install_project, write_package
from tests.support.warm_process import WarmProcess

TOY = Path(__file__).parents[1] / "support" / "toy_plugin"
STUDY = """
name = "toys"
dataset = "colours"
seeds = [0, 1]

[[arms]]
name = "centroids"
model = "toy-net"
weights = "drawn"
method = "centroids"

[[arms]]
name = "control"
model = "toy-net"
weights = "none"
method = "centroids"

[[arms]]
name = "scratch"
model = "toy-net"
method = "scratch"
recipe = "resnet-scratch"
recipe_changes = { duration = "8 steps", batch_size = 16 }

[[arms]]
name = "partial"
model = "toy-net"
weights = "drawn"
method = "partial"
recipe_changes = { duration = "4 steps", batch_size = 16, trainable_from = "layer1" }

[[claims]]
sentence = "Drawn weights help centroids"
a = "centroids"
b = "control"
metric = "test_accuracy"
"""


class Toys:
    """A folder with a study of the toy package's entries, and the command line in it."""

    def __init__(self, home: Path, process: WarmProcess, path: str) -> None:
        self.home, self._process = home, process
        self.environment = {"PYTHONPATH": path, "HEADSTART_CACHE": str(home / "cache")}

    def __call__(self, *arguments: str) -> CompletedProcess[str]:
        return self._process.run(arguments, self.home, os.environ | self.environment)

    def lines(self, *arguments: str) -> str:
        """Standard output of a command that must succeed."""
        done = self(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refusal(self, *arguments: str) -> str:
        """The one line of a command that must be refused as a user's mistake."""
        done = self(*arguments)
        assert done.returncode == 2 and done.stdout == "", done.stderr
        (line,) = done.stderr.splitlines()
        return line


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toys]:
    home = tmp_path_factory.mktemp("toys")
    install_project(TOY, home / "site")
    (home / "toys.toml").write_text(STUDY, encoding="utf-8")
    path = os.pathsep.join([str(home / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch, WarmProcess() as process:
        patch.setenv("PYTHONPATH", path)  # the process that commands are forked from finds the package too
        yield Toys(home, process, path)


@pytest.fixture(scope="module")
def planned(toys: Toys) -> str:
    return toys.lines("study", "toys.toml", "--plan")


@pytest.fixture(scope="module")
def study(toys: Toys, planned: str) -> Path:
    """The study's folder, run by two processes at once."""
    toys.lines("study", "toys.toml", "--jobs", "2")
    return toys.home / "runs" / "toys"


@pytest.fixture(scope="module")
def image(toys: Toys) -> str:
    Image.new("RGB", (20, 20), (40, 90, 30)).save(toys.home / "green.png")
    return "green.png"


def test_list_shows_what_the_package_adds(toys: Toys) -> None:
    shown = [line.strip().split(maxsplit=1) for line in toys.lines("list").splitlines() if line.strip()]
    by_name: dict[str, list[str]] = {}
    for name, *words in shown:
        by_name.setdefault(name, []).extend(words)
    assert by_name["colours"] == ["Colours: 16 px squares of three colours"]
    assert by_name["toy-net"][0].startswith("Toy network: 0.00 million parameters")
    assert by_name["centroids"] == ["frozen backbone, nearest class mean of its features", "for centroids"]


def test_a_plan_counts_trials_features_and_time(planned: str) -> None:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in planned.splitlines() if "│" in line]
    assert [row[:4] for row in rows if row[0] == "centroids"] == [["centroids", "all", "1", "0"]]
    frozen = {row[0] for row in rows if row[0].startswith("toy-net")}
    assert frozen == {
        "toy-net (drawn) at its own px, pool",
        "toy-net (drawn) at its own px, stem",
        "toy-net (none) at its own px, pool",
    }
    assert "left for 6 trials" in planned


def test_a_study_runs_every_trial_once(study: Path) -> None:
    trials = [json.loads(path.read_text())["trial"] for path in study.glob("*/result.json")]
    run = sorted((trial["arm"]["name"], trial["seed"]) for trial in trials)
    # at all labels every seed gives the same centroids
    assert run == [
        ("centroids", 0),
        ("control", 0),
        *((arm, n) for arm in ("partial", "scratch") for n in (0, 1)),
    ]


def test_the_report_has_the_words_of_the_method(toys: Toys, study: Path) -> None:
    toys.lines("report", str(study))
    page = (study / "report.html").read_text(encoding="utf-8")
    assert "the class whose mean feature is nearest at 16×16 pixels." in page
    assert "centroids" in page and "Drawn weights help centroids" in page


def test_tuning_searches_the_space_of_the_method(toys: Toys) -> None:
    toys.lines("tune", "toys.toml", "--arm", "centroids", "--tries", "3", "--out", "tuned")
    stored = json.loads((toys.home / "tuned/tuning/centroids-all/tuning.json").read_text())
    values = [each["values"]["sharpness"] for each in stored["tries"]]
    assert values[0] == 4.0 and all(0.5 <= value <= 50 for value in values) and len(set(values)) == 3
    recipe = toys.home / "tuned/tuning/centroids-all/recipe.toml"
    study = STUDY.replace('method = "centroids"', f'method = "centroids"\nrecipe = "{recipe}"', 1)
    (toys.home / "tuned.toml").write_text(study, encoding="utf-8")
    assert "left for 6 trials" in toys.lines("study", "tuned.toml", "--plan", "--out", "empty")


@pytest.mark.parametrize("arm", ["centroids", "partial"])
def test_predict_answers(toys: Toys, study: Path, image: str, arm: str) -> None:
    (row,) = toys.lines("predict", str(study), "--arm", arm, image, "--json").splitlines()
    answer = json.loads(row)
    assert answer["path"] == image and answer["predictions"][0]["class"] in ("red", "green", "blue")


def test_a_network_of_the_package_is_explained_and_exported(toys: Toys, study: Path, image: str) -> None:
    toys.lines("explain", str(study), image, "--arm", "partial", "--out", "why.png")
    assert (toys.home / "why.png").stat().st_size > 10_000
    toys.lines("export", str(study), "--arm", "scratch", "--format", "torchscript", "--out", "toy.pt")
    assert "Toy network" in (toys.home / "toy.pt.md").read_text(encoding="utf-8")


def test_a_method_without_a_network_is_refused_in_one_line(toys: Toys, study: Path, image: str) -> None:
    reason = (
        "headstart: a centroids model answers by comparing with class means and is no network to export or "
        'explain; use method "linear_probe" on the same backbone'
    )
    assert toys.refusal("explain", str(study), image, "--arm", "centroids") == reason
    assert toys.refusal("export", str(study), "--arm", "centroids") == reason


def test_a_broken_package_is_named_and_stops_nothing_else(toys: Toys, study: Path, tmp_path: Path) -> None:
    entries = {"methods": {"centroids": "entries:METHOD"}, "datasets": {"colours": "entries:DATASET"}}
    write_package(tmp_path, "headstart_broken", {"entries": "import nowhere"}, entries)
    broken = {"PYTHONPATH": toys.environment["PYTHONPATH"].replace(str(toys.home / "site"), str(tmp_path))}

    def run(*arguments: str) -> CompletedProcess[str]:
        return run_headstart(*arguments, cwd=toys.home, **broken)

    listed = run("list")
    line = (
        "the package headstart_broken 1.0 adds a {} that cannot be loaded (ModuleNotFoundError: No module "
        "named 'nowhere'); update the package or uninstall it"
    )
    wanted = [line.format("dataset 'colours'"), line.format("method 'centroids'")]
    assert listed.returncode == 0 and listed.stderr.splitlines() == wanted
    report = run("report", str(study))
    assert report.returncode == 0 and report.stderr.splitlines().count(wanted[1]) == 1
    assert "method centroids." in (study / "report.html").read_text(encoding="utf-8")
