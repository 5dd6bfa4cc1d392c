"""Tuning: only validation is read, each arm gets its tries, an interrupted search goes on as if it had never
stopped."""

from __future__ import annotations

import csv
import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.narrow import narrow
from tests.support.searches import PLANNED
from tests.support.transfer_trials import SHORT, random_weights, tiny_dataset

from headstart import store
from headstart.data import DATASETS
from headstart.data.splits import label_subset, validation_count, validation_split
from headstart.errors import ConfigError
from headstart.methods import METHODS
from headstart.methods.base import Context, Outcome
from headstart.methods.knn import KNN
from headstart.recipes import RECIPES, all_recipes, load_recipes, provenance_of, recipe_named
from headstart.recipes.spaces import Choice, Range, described, grid, holds, rounded
from headstart.runtime.cores import usable_cores
from headstart.store import Candidate
from headstart.studies.run import run_study
from headstart.studies.shard import Shard
from headstart.studies.study_file import load_study
from headstart.tuning import search as search_module
from headstart.tuning.candidates import best_candidate
from headstart.tuning.question import without_test
from headstart.tuning.sampler import propose
from headstart.tuning.search import SearchRequest, Sharing, tune
from headstart.types import ALL_LABELS, Arm, Cell, Dataset, LabelBudget, Proxy, Study

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The path of a file of random weights; these tests' ResNets are narrow."""
    with narrow():
        yield random_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, photos: Path):
    """The tiny dataset; features of these tests stay out of the user's cache (`photos` is made before the
    cache moves)."""
    data = tiny_dataset()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield data


def _study(*methods: str, weights: str, **changes: Any) -> Study:
    arms = tuple(
        Arm(
            name=method,
            label=method,
            dataset="tiny",
            model="resnet18",
            weights="none" if method == "scratch" else weights,
            method=method,
            recipe_name=name,
            input_pixels=32,
            recipe=recipe_named(name).replace(**(SHORT[method] | _two_steps(name) | changes)),
        )
        for method in methods
        for name in ["resnet-scratch" if method == "scratch" else METHODS[method].default_recipe]
    )
    return Study(
        name="tiny",
        title="",
        question="",
        dataset="tiny",
        arms=arms,
        label_budgets=(ALL_LABELS,),
        seeds=(0,),
        precision="fp32",
        feature_precision="fp32",
    )


def _two_steps(name: str) -> dict[str, Any]:
    return {"duration": "2 steps"} if hasattr(recipe_named(name), "duration") else {}


def _tune(data: Dataset, study: Study, out: Path, **options: Any) -> list[list[dict[str, Any]]]:
    """The tries of each arm without their seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.tuning.search.load_dataset", lambda name: data)
        patch.setitem(DATASETS, "tiny", DATASETS["cifar10"])  # a name that a study may say
        done = tune(study, _request(**options), out=out)
    return [
        [
            {name: value for name, value in each.stored().items() if name != "seconds"}
            for each in tuned.candidates
        ]
        for tuned in done
    ]


def _request(tries: int | None = None, labels_per_class: int | None = None, **options: Any) -> SearchRequest:
    budget = None if labels_per_class is None else LabelBudget(labels_per_class)
    return SearchRequest(candidates=tries, label_budget=budget, **options)


# --- what is read ---


@pytest.mark.parametrize(
    ("method", "labels"),
    [("scratch", None), ("linear_probe", None), ("knn", 6), ("finetune", None), ("partial", 6), ("lp_ft", 6)],
)
def test_the_test_set_is_never_read(
    method: str, labels: int | None, tiny: Dataset, weights: str, tmp_path: Path
) -> None:
    test = tiny.test
    poisoned = dataclasses.replace(
        tiny, test=dataclasses.replace(test, images=255 - test.images, labels=(test.labels + 1) % 3)
    )
    absent = dataclasses.replace(tiny, test=None)  # type: ignore[arg-type]
    study = _study(method, weights=weights)
    tries = [
        _tune(
            data,
            study,
            tmp_path / name,
            tries=1,
            labels_per_class=labels,
            proxy=Proxy(folds=1 if labels else None),
        )
        for name, data in (("poisoned", poisoned), ("absent", absent))
    ]
    assert tries[0] == tries[1]
    assert all(0 <= row["accuracy"] <= 1 for row in tries[0][0])


def test_the_test_set_given_to_methods_is_empty(tiny: Dataset) -> None:
    assert len(without_test(tiny).test) == 0 and without_test(tiny).train is tiny.train


@pytest.mark.parametrize("method", ["linear_probe", "knn", "finetune", "lp_ft"])
def test_no_label_outside_the_budget_is_read(
    method: str, tiny: Dataset, weights: str, tmp_path: Path
) -> None:
    train = tiny.train
    inside, _ = validation_split(train.labels, train.fingerprint, validation_count(len(train)))
    budget = label_subset(train.labels, inside, train.fingerprint, 0, 5)
    wrong = (train.labels + 1) % 3
    wrong[budget] = train.labels[budget]
    poisoned = dataclasses.replace(tiny, train=dataclasses.replace(train, labels=wrong))
    # The subset itself is drawn from the labels: hold it fixed, as it would be where the others are not
    # known.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.studies.trial.label_subset", lambda *arguments: budget)
        study = _study(method, weights=weights)
        honest, misled = (
            _tune(data, study, tmp_path / name, tries=1, labels_per_class=5, proxy=Proxy(folds=2))
            for name, data in (("honest", tiny), ("poisoned", poisoned))
        )
    assert honest == misled
    assert {(row["train_images"], row["validation_images"]) for row in honest[0]} == {
        (12, 6)
    }  # folds of 15, the others fitted


def test_below_five_labels_a_class_nothing_is_tuned(tiny: Dataset, weights: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"with 4 labels a class nothing is tuned: .*5 labels a class or more"
    ):
        _tune(tiny, _study("linear_probe", weights=weights), tmp_path, tries=2, labels_per_class=4)
    assert not list(tmp_path.rglob("tuning.json"))


# --- tries ---


def test_every_arm_gets_its_tries_and_the_first_is_its_own_recipe(
    tiny: Dataset, weights: str, tmp_path: Path
) -> None:
    study = _study("knn", "finetune", weights=weights)
    knn, finetune = _tune(tiny, study, tmp_path, tries=3)
    assert [row["number"] for row in knn] == [row["number"] for row in finetune] == [1, 2, 3]
    assert knn[0]["values"] == {"temperature": 0.07}
    recipe = study.arms[1].recipe
    assert finetune[0]["values"] == {name: getattr(recipe, name) for name in finetune[0]["values"]}
    assert len({str(row["values"]) for row in finetune}) == 3
    with open(tmp_path / "tuning" / "finetune-all" / "tuning.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == [
        row["values"]["learning_rate"] for row in finetune
    ]


def test_a_search_that_was_interrupted_goes_on_as_if_it_had_never_stopped(
    tiny: Dataset, weights: str, tmp_path: Path
) -> None:
    study = _study("knn", weights=weights)
    _tune(tiny, study, tmp_path / "stopped", tries=3)
    (tmp_path / "stopped" / "tuning" / "knn-all" / ".try-left").mkdir()  # what a killed try leaves behind
    stopped = _tune(tiny, study, tmp_path / "stopped", tries=6)
    assert stopped == _tune(tiny, study, tmp_path / "whole", tries=6)
    assert len(stopped[0]) == 6
    assert not list((tmp_path / "stopped").rglob(".try-*"))


def test_ctrl_c_loses_only_the_try_that_runs(
    tiny: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = _study("knn", weights=weights)
    calls = []

    class Interrupted(KNN):
        def run(self, context: Context) -> Outcome:
            calls.append(context)
            if len(calls) == 3:
                raise KeyboardInterrupt
            return super().run(context)

    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "knn", dataclasses.replace(METHODS["knn"], implemented_by=Interrupted))
        with pytest.raises(KeyboardInterrupt):
            _tune(tiny, study, tmp_path, tries=4)
    assert len(store.read_json(tmp_path / "tuning" / "knn-all" / "tuning.json")["tries"]) == 2
    assert len(_tune(tiny, study, tmp_path, tries=4)[0]) == 4


def test_a_shard_begins_with_its_searches_and_leaves_those_of_another(
    tiny: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, names = _study("knn", "linear_probe", weights=weights), []
    monkeypatch.setattr("headstart.tuning.search.load_dataset", lambda name: tiny)
    monkeypatch.setitem(DATASETS, "tiny", DATASETS["cifar10"])
    real = search_module.Searches.one
    monkeypatch.setattr(
        search_module.Searches, "one", lambda self, due: (names.append(due[0].name), real(self, due))[1]
    )
    with store.lock(tmp_path / "tuning" / "knn-all" / "lock", "it"):
        second = tune(study, _request(tries=1), out=tmp_path, sharing=Sharing(shard=Shard.of("2/2")))
    assert names == ["linear_probe", "knn"] and [tuned.arm for tuned in second] == ["linear_probe"]
    both = tune(study, _request(tries=1), out=tmp_path, sharing=Sharing(shard=Shard.of("1/2")))
    assert [tuned.arm for tuned in both] == ["knn", "linear_probe"]
    assert both[1].candidates == second[0].candidates


def test_tries_of_another_question_are_not_taken_over(tiny: Dataset, weights: str, tmp_path: Path) -> None:
    _tune(tiny, _study("knn", weights=weights), tmp_path, tries=1)
    with pytest.raises(
        ConfigError, match="knn-all holds tries of another recipe, search space or proxy; give another --out"
    ):
        _tune(tiny, _study("knn", weights=weights, smoothing=0.5), tmp_path, tries=1)


def test_a_training_that_diverges_is_a_failed_try(tiny: Dataset, weights: str, tmp_path: Path) -> None:
    study = _study("finetune", weights=weights, learning_rate=1e20, batchnorm="frozen", duration="6 steps")
    (tries,) = _tune(tiny, study, tmp_path, tries=2)
    assert tries[0]["accuracy"] is None and "use a smaller learning rate" in tries[0]["failed"]
    assert tries[1]["accuracy"] is not None and tries[1]["failed"] == ""
    best = best_candidate([Candidate(**row) for row in tries])
    assert best is not None and best.number == 2
    assert provenance_of(str(tmp_path / "tuning" / "finetune-all" / "recipe.toml"))["failed_tries"] == 1


def test_the_best_try_is_the_most_accurate_then_the_surest_then_the_first() -> None:
    read = [(0.5, 1.0), (None, None), (0.7, 0.9), (0.7, 0.8), (0.7, 0.8)]
    rows = [
        Candidate(number=number, values={}, accuracy=accuracy, nll=nll)
        for number, (accuracy, nll) in enumerate(read, 1)
    ]
    best = best_candidate(rows)
    assert best is not None and best.number == 4
    assert best_candidate(rows[1:2]) is None


def test_a_small_space_is_compared_whole(tiny: Dataset, weights: str, tmp_path: Path) -> None:
    (tries,) = _tune(tiny, _study("linear_probe", weights=weights), tmp_path, tries=9, pixels=(32, 48, 64))
    assert [row["values"] for row in tries] == [
        {"input_pixels": 32},
        {"input_pixels": 48},
        {"input_pixels": 64},
    ]
    (alone,) = _tune(tiny, _study("linear_probe", weights=weights), tmp_path / "alone", tries=9)
    assert [row["values"] for row in alone] == [{}]  # its L2 is chosen by the method itself


# --- proxies ---


def test_a_proxy_changes_the_tries_and_not_the_recipe(tiny: Dataset, weights: str, tmp_path: Path) -> None:
    proxy = Proxy(duration="1 epochs", images=12, validation_images=3)
    (tries,) = _tune(tiny, _study("finetune", weights=weights), tmp_path, tries=1, proxy=proxy)
    assert (tries[0]["train_images"], tries[0]["validation_images"]) == (12, 3)
    ((recipe, provenance),) = load_recipes(tmp_path / "tuning" / "finetune-all" / "recipe.toml").values()
    assert recipe.duration == "2 steps"
    assert provenance["proxy"] == {"duration": "1 epochs", "images": 12, "validation_images": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tries": 0}, "--tries must be at least 1, got 0"),
        ({"proxy": Proxy(duration="three epochs")}, "duration 'three epochs' is not like"),
        ({"proxy": Proxy(images=1000)}, "1,000 images asked of 54; choose 3 to 54"),
        ({"proxy": Proxy(folds=2)}, "--folds is for label budgets"),
        ({"proxy": Proxy(folds=6), "labels_per_class": 5}, "--folds must lie between 1 and 5, got 6"),
        (
            {"proxy": Proxy(images=9), "labels_per_class": 5},
            "are for all labels; at a label budget use --folds",
        ),
        ({"pixels": (8,)}, "--pixels must lie between 16 and 1024, got 8"),
        ({"arms": ("prob",)}, r"unknown arm of study tiny 'prob'"),
    ],
)
def test_a_mistake_is_named(
    options: dict[str, Any], message: str, tiny: Dataset, weights: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        _tune(tiny, _study("linear_probe", weights=weights), tmp_path, **({"tries": 2} | options))


# --- search spaces and the sampler ---


@pytest.mark.parametrize("name", all_recipes())
def test_every_recipe_has_a_space_that_holds_it(name: str) -> None:
    recipe = recipe_named(name)
    space = next(spec.space(recipe) for spec in reversed(METHODS.values()) if spec.takes(recipe))
    assert holds(space, {knob.name: getattr(recipe, knob.name) for knob in space})
    assert "duration" not in {knob.name for knob in space}


def test_a_random_start_has_no_stages_to_treat_differently() -> None:
    names = {knob.name for knob in METHODS["scratch"].space(recipe_named("finetune"))}
    assert names == {"learning_rate", "weight_decay", "label_smoothing", "translate_pixels"}
    assert "stage_lr_decay" in {knob.name for knob in METHODS["finetune"].space(recipe_named("finetune"))}


def test_a_grid_is_every_combination_and_a_range_has_none() -> None:
    a, b = Choice(name="a", values=(1, 2)), Choice(name="b", values=("x", "y"))
    assert grid((a, b)) == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
    assert grid(()) == [{}]
    assert grid((a, Range(name="r", low=0, high=1))) is None


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0123456, 0.0123), (1234.5, 1230.0), (0.0, 0.0), ("train", "train"), (3, 3)]
)
def test_a_drawn_number_has_three_digits(value: Any, expected: Any) -> None:
    assert rounded(value) == expected


def test_proposals_lie_inside_and_depend_on_seed_and_tries_alone() -> None:
    space = METHODS["finetune"].space(recipe_named("finetune"), (64, 96))
    tries: list[tuple[dict[str, Any], float | None]] = []
    for _ in range(8):
        values = propose(space, tries, seed=3)
        assert values == propose(space, tries, seed=3) and holds(space, values)
        tries.append((values, 0.5))
    assert values != propose(space, tries[:-1], seed=4)


def test_the_sampler_comes_back_to_where_accuracy_was_high() -> None:
    space = (Range(name="learning_rate", low=1e-4, high=1.0, log=True),)

    def accuracy(rate: float) -> float | None:
        return (
            None if rate > 0.3 else 0.9 - 0.1 * abs(np.log10(rate / 0.01))
        )  # best at 0.01, diverges above 0.3

    tries: list[tuple[dict[str, Any], float | None]] = []
    for _ in range(25):
        values = propose(space, tries, seed=0)
        tries.append((values, accuracy(values["learning_rate"])))
    late = [abs(np.log10(values["learning_rate"] / 0.01)) for values, _ in tries[10:]]
    assert np.median(late) < 0.75  # of two decades to either side; drawn evenly it would be 1
    assert max(read or 0 for _, read in tries) > 0.88


def test_a_space_is_told_in_plain_values() -> None:
    assert described((Range(name="r", low=0.1, high=1, log=True), Choice(name="c", values=(1, 2)))) == [
        {"name": "r", "low": 0.1, "high": 1, "log": True},
        {"name": "c", "values": [1, 2]},
    ]


def test_an_arm_is_tuned_from_its_recipe_at_that_label_budget(
    tiny: Dataset, weights: str, tmp_path: Path
) -> None:
    study = _study("knn", weights=weights)
    (arm,) = study.arms
    own = dataclasses.replace(arm, recipe=arm.recipe.replace(temperature=0.2))
    cells = (
        Cell(arm=own, label_budget=LabelBudget(5), seeds=(0,)),
        Cell(arm=arm, label_budget=ALL_LABELS, seeds=(0,)),
    )
    study = dataclasses.replace(study, cells=cells, label_budgets=(LabelBudget(5), ALL_LABELS))
    (few,), (every,) = (
        _tune(tiny, study, tmp_path, tries=1, labels_per_class=labels) for labels in (5, None)
    )
    assert (few[0]["values"], every[0]["values"]) == ({"temperature": 0.2}, {"temperature": 0.07})


# --- through the whole program ---

STUDY = """name = "small"
dataset = "{photos}"
precision = "fp32"
feature_precision = "fp32"
[[arms]]
name = "cnn"
label = "CNN"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "2 epochs", batch_size = 16, widths = [8, 8, 8] }}
[[arms]]
name = "probe"
label = "Probe"
model = "resnet18"
weights = "{weights}"
method = "linear_probe"
input_pixels = 32
"""


@pytest.fixture
def whole_resnets() -> Iterator[None]:
    """For a test that starts a process of its own."""
    with narrow(64):
        yield


@pytest.mark.usefixtures("whole_resnets")
def test_the_command_line_tunes_a_study_names_the_recipe_and_the_report_shows_it(
    headstart, photos: Path, tmp_path: Path
) -> None:
    weights = random_weights(tmp_path)
    (tmp_path / "small.toml").write_text(STUDY.format(photos=photos, weights=weights))
    options = ("--tries", "3", "--duration", "1 epochs", "--out", "out", "--pixels", "32")
    done = headstart("tune", "small.toml", *options)
    assert done.returncode == 0, done.stderr
    assert (
        "cnn: try 3 of 3, validation accuracy" in done.stderr
        and "probe: 1 try is all there is to compare" in done.stderr
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    stored = store.read_json(tmp_path / "out" / "tuning" / "cnn-all" / "tuning.json")["tries"]
    best = best_candidate([Candidate(**row) for row in stored])
    assert best is not None
    pixels = (
        ", input_pixels = 32" if best.number != 1 else ""
    )  # the first try is the arm's own recipe; which wins, bits say
    assert lines[0].endswith(
        f'on validation; in its study: recipe = "out/tuning/cnn-all/recipe.toml"{pixels}'
    )
    text = (
        (tmp_path / "small.toml")
        .read_text()
        .replace(
            "recipe_changes = {",
            f'recipe = "{tmp_path}/out/tuning/cnn-all/recipe.toml"\nrecipe_changes = {{',
            1,
        )
    )
    (tmp_path / "tuned.toml").write_text(text)
    (cnn, _) = load_study(str(tmp_path / "tuned.toml"))[0].arms
    assert cnn.recipe.learning_rate == best.values["learning_rate"] and cnn.recipe.duration == "2 epochs"
    folder = run_study(str(tmp_path / "tuned.toml"), tmp_path / "out")
    from headstart.report import write_report

    page = write_report(folder).read_text()
    for phrase in (
        "How the recipes were tuned",
        'id="fig-tuning-all"',
        "1 epochs",
        "learning rate from 0.03 to 0.5",
        "tuned: validation accuracy",
        "tuned: tries",
    ):
        assert phrase in page, phrase
    assert store.read_json(folder / "study.json")["recipes"][cnn.recipe_name]["tries"] == 3
    assert "Found, and not used" not in page
    store.write_json(
        folder / "study.json", store.read_json(folder / "study.json") | {"recipes": {}}
    )  # as if it kept its own
    search = folder / "tuning" / "cnn-all" / "tuning.json"
    tries = store.read_json(search)["tries"]
    store.write_json(search, store.read_json(search) | {"best": tries[1]["number"]})
    assert "Found, and not used" in write_report(folder).read_text()


def test_a_report_without_tuning_has_no_such_section(tmp_path: Path) -> None:
    from tests.support.synthetic_study import write_synthetic_study

    from headstart.report import write_report

    assert (
        "How the recipes were tuned"
        not in write_report(write_synthetic_study(tmp_path / "s", test_images=200)).read_text()
    )


# --- searches that a study's file asks for ---


def _planned(photos: Path, folder: Path, more: str = "") -> str:
    (folder / "small.toml").write_text(more + PLANNED.format(photos=photos))
    return str(folder / "small.toml")


def test_a_study_says_how_it_is_tuned_and_processes_side_by_side_find_the_same(
    photos: Path, tmp_path: Path
) -> None:
    file, kept = _planned(photos, tmp_path), ("accuracy", "nll", "values", "number")
    runs = []
    for jobs in (1, 2):
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, usable_cores() // 2))
        try:
            runs.append(tune(file, out=tmp_path / str(jobs), sharing=Sharing(jobs=jobs)))
        finally:
            torch.set_num_threads(threads)
    one, two = (
        [
            (
                done.arm,
                len(done.candidates),
                [[getattr(each, name) for name in kept] for each in done.candidates],
            )
            for done in run
        ]
        for run in runs
    )
    assert one == two
    assert [(arm, tries) for arm, tries, _ in one] == [("a", 2), ("b", 2), ("a", 3)]
    stored = store.read_json(tmp_path / "2" / "tuning" / "a-5" / "tuning.json")
    assert (stored["labels_per_class"], stored["proxy"], stored["tries_asked"]) == (5, {"folds": 2}, 3)
    assert [
        done.recipe_file.parent.name for done in tune(file, _request(arms=("b",)), out=tmp_path / "1")
    ] == ["b-all"]


def test_a_study_whose_recipes_are_tuned_takes_them_where_there_are_any(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _planned(photos, tmp_path, "tuned = true\n")
    found = RECIPES["cnn-full"].replace(learning_rate=0.2, batch_size=32)
    monkeypatch.setitem(RECIPES, "small-a-all", found)
    study, _ = load_study(file)
    recipes = {(cell.arm.name, cell.label_budget.per_class): cell.arm.recipe for cell in study.cells}
    assert recipes["a", None] == recipes["b", None] == found
    assert (
        recipes["a", 5].learning_rate == RECIPES["cnn-full"].learning_rate
        and recipes["a", 5].duration == "2 steps"
    )
    but_one, _ = load_study(file, {"arms.b.tuned": "false"})
    assert {cell.arm.name for cell in but_one.cells if cell.arm.recipe == found} == {"a"}
    at_some, _ = load_study(file, {"arms.a.tuned": "[5]", "arms.b.tuned": '["all"]'})
    assert [
        (cell.arm.name, cell.label_budget.per_class) for cell in at_some.cells if cell.arm.recipe == found
    ] == [("b", None)]
    with pytest.raises(ConfigError, match=r"arm 'a', tuned: 50 is not among the label budgets \[5, 'all'\]"):
        load_study(file, {"arms.a.tuned": "[50]"})
    untuned, _ = load_study(file, {"tuned": "false"})
    assert {cell.arm.recipe.learning_rate for cell in untuned.cells} == {RECIPES["cnn-full"].learning_rate}


def test_tuned_recipes_are_frozen_by_the_names_that_their_study_looks_for(
    photos: Path, tmp_path: Path
) -> None:
    tune(_planned(photos, tmp_path), _request(arms=("a",)), out=tmp_path / "runs")
    root = Path(__file__).parents[2]
    frozen = tmp_path / "tools" / "freeze_recipes.py"
    frozen.parent.mkdir()
    (tmp_path / "src" / "headstart" / "recipes").mkdir(parents=True)
    shutil.copy(root / "tools" / "freeze_recipes.py", frozen)
    subprocess.run([sys.executable, str(frozen), str(tmp_path / "runs")], check=True, capture_output=True)
    recipes = load_recipes(tmp_path / "src" / "headstart" / "recipes" / "tuned.toml")
    assert sorted(recipes) == ["small-a-5", "small-a-all"]
    recipe, provenance = recipes["small-a-all"]
    assert (
        recipe.duration == "2 steps"
        and provenance["proxy"] == {"duration": "1 steps"}
        and provenance["tries"] == 2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": ("c",)}, "says nothing of tuning c; give --tries, or add a .*tuning.* table"),
        ({"proxy": Proxy(folds=2)}, "say how many --tries too"),
        ({"jobs": 0}, "jobs must be 1 or more, got 0"),
    ],
)
def test_a_mistake_in_planned_searches_is_named(
    options: dict[str, Any], message: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        jobs = options.pop("jobs", 1)
        tune(
            _planned(photos, tmp_path), _request(**options), out=tmp_path / "runs", sharing=Sharing(jobs=jobs)
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('arms = ["c"]\ntries = 2\n', r"\[\[tuning\]\]: unknown arm 'c'"),
        ('arms = ["a"]\ntries = 2\nlabels_per_class = 7\n', "7 is not among the label budgets"),
        ('arms = ["a"]\n', "key 'tuning.*tries' is missing"),
    ],
)
def test_a_planned_search_is_checked_as_its_file_is_read(
    wrong: str, message: str, photos: Path, tmp_path: Path
) -> None:
    file = Path(_planned(photos, tmp_path))
    file.write_text(file.read_text() + "[[tuning]]\n" + wrong)
    with pytest.raises(ConfigError, match=message):
        load_study(str(file))
