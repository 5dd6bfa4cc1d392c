"""Study files: what they mean, and one clear line for each way of getting them wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from headstart.errors import ConfigError
from headstart.recipes import CNNRecipe
from headstart.studies.study_file import built_in_studies, load_study, study_folder
from headstart.studies.trials import trials_of
from headstart.types import ALL_LABELS, LabelBudget, Robustness, ShiftSet

GOOD = """name = "mine"
dataset = "cifar10"
seeds = [0, 1]

[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = { duration = "1 epochs" }

[[arms]]
name = "probe"
model = "resnet50"
weights = "imagenet-keras"
method = "linear_probe"
input_pixels = 64
"""


def _file(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def test_every_built_in_study_loads() -> None:
    assert "cifar10-quick" in built_in_studies()
    for name in built_in_studies():
        assert load_study(name)[0].name == name


def test_a_file_becomes_a_study(tmp_path: Path) -> None:
    study, text = load_study(_file(tmp_path, GOOD))
    assert text == GOOD
    assert study.seeds == (0, 1)
    assert study.label_budgets == (ALL_LABELS,)
    cnn, probe = study.arms
    assert isinstance(cnn.recipe, CNNRecipe) and cnn.recipe.duration == "1 epochs"
    assert probe.input_pixels == 64


def test_changes_from_the_command_line_take_typed_values(tmp_path: Path) -> None:
    changes = {
        "arms.cnn.recipe.batch_size": "64",
        "labels_per_class": '[1, "all"]',
        "arms.probe.label": "Frozen one",
    }
    study, _ = load_study(_file(tmp_path, GOOD), changes, seeds=3)
    assert study.arms[0].recipe.batch_size == 64  # type: ignore[attr-defined]
    assert study.label_budgets == (LabelBudget(1), ALL_LABELS)
    assert study.arms[1].label == "Frozen one"
    assert study.seeds == (0, 1, 2)


def test_robustness_and_shift_sets_are_part_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    more = '\n[robustness]\narms = ["cnn"]\nimages = 50\nseed = 1\n'
    more += f'\n[[shift_sets]]\nname = "other"\npath = "{tmp_path / "other"}"\n'
    study, _ = load_study(_file(tmp_path, GOOD + more))
    assert study.robustness == Robustness(arms=("cnn",), images=50, seed=1)
    assert study.shift_sets == (ShiftSet(name="other", path=str(tmp_path / "other")),)
    plain, _ = load_study(_file(tmp_path, GOOD))
    assert plain.robustness is None and plain.shift_sets == ()
    assert load_study(_file(tmp_path, GOOD + "\n[robustness]\n"))[0].robustness == Robustness(
        arms=(), images=1000, seed=0
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('[robustness]\narms = ["cmn"]', r"\[robustness\]: unknown arm 'cmn' \(did you mean 'cnn'\?\)"),
        ("[robustness]\nimages = 0", r"\[robustness\] images must be at least 1, got 0"),
        ("[robustness]\nseed = 7", r"\[robustness\] seed 7 is none of the study's seeds \[0, 1\]"),
        (
            "[robustness]\nimgs = 5",
            r"unknown key 'imgs' \(did you mean 'images'\?\); choose from: arms, images, seed",
        ),
        (
            '[[shift_sets]]\nname = "x"\npath = "/nowhere"',
            "shift set 'x': /nowhere is not a folder; give one with labelled images",
        ),
        ('[[shift_sets]]\nname = "../x"\npath = "."', "it names a folder"),
    ],
)
def test_a_mistake_in_what_comes_after_the_trials_is_named(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_study(_file(tmp_path, f"{GOOD}\n{more}\n"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seeds = [0, 1]", "seeds = [0, 1", "mine.toml: not valid TOML: .*line"),
        ("seeds = [0, 1]", 'seeds = "two"', r"mine.toml, line 3: key 'seeds' expects a list, got 'two'"),
        ("seeds = [0, 1]", "seeds = []", "seeds must be different whole numbers from 0 up"),
        ("seeds = [0, 1]", "sedes = [0, 1]", r"line 3: unknown key 'sedes' \(did you mean 'seeds'\?\)"),
        (
            'model = "cnn"',
            'model = "cmn"',
            r"unknown model 'cmn' \(did you mean 'cnn'\?\); choose from: cnn, efficientnet-lite0",
        ),
        ('method = "scratch"', 'method = "scrach"', r"unknown method 'scrach' \(did you mean 'scratch'\?\)"),
        ('method = "scratch"', "", r"line 5: key 'arms.0.method' is missing"),
        ('dataset = "cifar10"', 'dataset = "cifar"', r"unknown dataset 'cifar' \(did you mean 'cifar10'\?\)"),
        (
            "input_pixels = 64",
            'input_pixels = "64"',
            r"line 16: key 'arms.1.input_pixels' expects a whole number, got '64'",
        ),
        ("input_pixels = 64", "input_pixels = 4", "input_pixels must lie between 16 and 1024, got 4"),
        ('weights = "imagenet-keras"', "", "needs pretrained weights"),
        ('duration = "1 epochs"', "duration = 1", "recipe field 'duration' expects a text, got 1"),
        (
            'duration = "1 epochs"',
            "durations = 1",
            r"unknown recipe field 'durations' \(did you mean 'duration'\?\)",
        ),
        ('duration = "1 epochs"', "batch_size = 0", "'batch_size' must be at least 1, got 0"),
        ('name = "probe"', 'name = "cnn"', "two arms have the same name"),
        ('name = "mine"', 'name = "../mine"', "it names a folder"),
    ],
)
def test_a_mistake_is_named_in_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=message) as caught:
        load_study(_file(tmp_path, GOOD.replace(old, new)))
    assert "\n" not in str(caught.value)


BUDGETS = GOOD.replace(
    "seeds = [0, 1]",
    """seeds = [0, 1]
labels_per_class = [1, 10, "all"]

[[seeds_at]]
labels_per_class = 1
seeds = [0, 1, 2, 3]""",
).replace(
    "recipe_changes = {",
    """labels_per_class = [10, "all"]
at = [{ labels_per_class = 10, recipe_changes = { batch_size = 20 } }]
recipe_changes = {""",
)


def test_an_arm_may_have_its_own_budgets_and_recipes_and_a_budget_its_own_seeds(tmp_path: Path) -> None:
    study, _ = load_study(_file(tmp_path, BUDGETS))
    found = [(cell.arm.name, cell.label_budget.per_class, cell.seeds) for cell in study.cells]
    assert found == [
        ("cnn", 10, (0, 1)),
        ("cnn", None, (0, 1)),
        ("probe", 1, (0, 1, 2, 3)),
        ("probe", 10, (0, 1)),
        ("probe", None, (0, 1)),
    ]
    few, all_labels = study.cells[0].arm.recipe, study.cells[1].arm.recipe
    assert isinstance(few, CNNRecipe) and isinstance(all_labels, CNNRecipe)
    assert (few.batch_size, few.duration) == (20, "1 epochs")
    assert all_labels.batch_size == 500 and all_labels == study.arms[0].recipe


def test_frozen_arms_run_first_then_whole_curves_seed_by_seed(tmp_path: Path) -> None:
    study, _ = load_study(_file(tmp_path, BUDGETS))
    order = [(trial.arm.name, trial.label_budget.per_class, trial.seed) for trial in trials_of(study)]
    assert order == [
        ("probe", 1, 0),
        ("probe", 10, 0),
        ("probe", None, 0),
        ("probe", 1, 1),
        ("probe", 10, 1),
        ("probe", 1, 2),
        ("probe", 1, 3),
        ("cnn", 10, 0),
        ("cnn", None, 0),
        ("cnn", 10, 1),
        ("cnn", None, 1),
    ]


def test_given_seeds_stand_for_every_budget(tmp_path: Path) -> None:
    assert {cell.seeds for cell in load_study(_file(tmp_path, BUDGETS), seeds=1)[0].cells} == {(0,)}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('[1, 10, "all"]', '[1, "all"]', r"arm 'cnn': 10 is not among the label budgets \[1, 'all'\]"),
        (
            "at = [{ labels_per_class = 10,",
            "at = [{ labels_per_class = 1,",
            r"arm 'cnn', \[\[arms.at\]\]: 1 is not among",
        ),
        (
            "seeds = [0, 1, 2, 3]",
            "seeds = [0, 0]",
            r"seeds must be different whole numbers from 0 up, at least one; got \[0, 0\]",
        ),
        ('[1, 10, "all"]', '[1, 10, 10, "all"]', "labels_per_class must be different numbers from 1 up"),
        (
            "{ batch_size = 20 }",
            "{ batch_size = 0 }",
            "10 labels a class: arm 'cnn': recipe field 'batch_size' must be at least 1",
        ),
        (
            "at = [{ labels_per_class = 10,",
            "at = [{ label_per_class = 10,",
            "key 'arms.0.at.0.labels_per_class' is missing",
        ),
        (
            "recipe_changes = { batch_size",
            "recipe_change = { batch_size",
            "unknown key 'recipe_change' .*'recipe_changes'",
        ),
    ],
)
def test_a_mistake_about_budgets_is_named_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in BUDGETS
    with pytest.raises(ConfigError, match=message):
        load_study(_file(tmp_path, BUDGETS.replace(old, new)))


def test_an_unknown_study_lists_the_choices() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown study 'cifar10-quik' \(did you mean 'cifar10-quick'\?\); choose from: "
    ):
        load_study("cifar10-quik")


def test_no_seeds_are_refused() -> None:
    with pytest.raises(ConfigError, match="--seeds must be at least 1, got 0"):
        load_study("cifar10-quick", seeds=0)
    with pytest.raises(ConfigError, match="--seeds must be at most 100,000, got 1000000"):
        load_study("cifar10-quick", seeds=10**30)


def test_trials_never_lie_among_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    study = dataclasses.replace(load_study("cifar10-quick")[0], dataset=str(tmp_path / "photos"))
    monkeypatch.chdir(tmp_path)
    assert study_folder(study, None) == Path("runs/cifar10-quick")
    monkeypatch.chdir(tmp_path / "photos")
    for out in (None, "here", str(tmp_path / "photos/cat")):
        with pytest.raises(ConfigError, match="name a folder elsewhere with --out"):
            study_folder(study, out)
    assert study_folder(study, "../runs") == Path("../runs")
