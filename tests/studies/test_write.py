"""A Study built in Python leaves a study.toml that, read again, gives the same study."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import headstart
from headstart import Arm, Study
from headstart.errors import ConfigError
from headstart.recipes import RECIPES, ResNetRecipe, recipe_named
from headstart.studies.plan import plan_study
from headstart.studies.run import run_study
from headstart.studies.study_file import built_in_studies, load_study
from headstart.studies.trials import trials_of
from headstart.types import ALL_LABELS, Cell, Claim, LabelBudget, Proxy, Recipe, Robustness, Search, ShiftSet

CNN = Arm(name="cnn", model="cnn", method="scratch")
PROBE = Arm(name="probe", model="resnet50", weights="imagenet-keras", method="linear_probe")


def _study(*arms: Arm, **fields: Any) -> Study:
    return Study(**({"name": "mine", "dataset": "cifar10", "arms": arms or (CNN, PROBE)} | fields))


def _read_again(study: Study, folder: Path) -> Study:
    """The study from the text that it leaves."""
    path = folder / "study.toml"
    path.write_text(load_study(study)[1], encoding="utf-8")
    return load_study(path)[0]


@pytest.mark.parametrize("name", built_in_studies())
def test_every_built_in_study_is_the_same_when_it_is_written_and_read(name: str, tmp_path: Path) -> None:
    study, _ = load_study(name)
    assert load_study(study)[0] == study
    assert _read_again(study, tmp_path) == study


def test_an_arm_in_python_finds_what_a_files_arm_finds(tmp_path: Path) -> None:
    study, _ = load_study(_study())
    cnn, probe = study.arms
    assert (cnn.label, cnn.dataset, cnn.weights, cnn.recipe_name) == ("cnn", "cifar10", "none", "cnn-fast")
    assert cnn.recipe == RECIPES["cnn-fast"] and probe.recipe == RECIPES["probe"]
    assert (study.title, study.label_budgets, study.seeds) == ("mine", (ALL_LABELS,), (0,))
    (tmp_path / "mine.toml").write_text(
        """name = "mine"
dataset = "cifar10"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
[[arms]]
name = "probe"
model = "resnet50"
weights = "imagenet-keras"
method = "linear_probe"
"""
    )
    assert load_study(tmp_path / "mine.toml")[0] == study == _read_again(study, tmp_path)


def test_everything_that_a_study_can_say_comes_back(tmp_path: Path) -> None:
    recipe = recipe_named("knn").replace(temperature=None, k_values=(1, 2))
    study = _study(
        CNN,
        dataclasses.replace(PROBE, name="knn", label='Says "k", and more', method="knn", recipe=recipe),
        Arm(name="resnet", model="resnet18", method="scratch", recipe_name="resnet-scratch", input_pixels=64),
        title="A title",
        question="Why?",
        label_budgets=(LabelBudget(5), ALL_LABELS),
        seeds=(3, 1),
        precision="fp32",
        feature_precision="fp32",
        data_health=True,
        looks=True,
        notes=("one", "two\nlines"),
        claims=(
            Claim(sentence="s", a="cnn", b="knn", metric="test_accuracy", margin=0.5),
            Claim(
                sentence="t",
                a="cnn",
                b="knn",
                metric="seconds",
                direction="lower",
                label_budget=LabelBudget(5),
                gap_at=ALL_LABELS,
            ),
        ),
        robustness=Robustness(arms=("cnn",), images=7, seed=1),
        shift_sets=(ShiftSet(name="other", path=str(tmp_path)),),
        searches=(Search(arms=("cnn",), label_budget=LabelBudget(5), tries=2, proxy=Proxy(folds=1)),),
        chosen="knn",
    )
    complete, _ = load_study(study)
    assert complete.arms[1].recipe == recipe and complete.arms[1].label == 'Says "k", and more'
    assert isinstance(complete.arms[2].recipe, ResNetRecipe)
    for field in dataclasses.fields(Study):
        if field.name not in ("arms", "cells"):
            assert getattr(complete, field.name) == getattr(study, field.name), field.name
    assert _read_again(study, tmp_path) == complete


def test_cells_with_their_own_seeds_and_recipes_come_back(tmp_path: Path) -> None:
    few, many = LabelBudget(5), LabelBudget(50)
    (cnn, probe) = load_study(_study())[0].arms
    short = dataclasses.replace(cnn, recipe=cnn.recipe.replace(batch_size=10))
    tuned = dataclasses.replace(cnn, recipe_name="cifar10-cnn-50", recipe=recipe_named("cifar10-cnn-50"))
    cells = (
        Cell(arm=short, label_budget=few, seeds=(0, 1, 2)),
        Cell(arm=tuned, label_budget=many, seeds=(0,)),
        Cell(arm=cnn, label_budget=ALL_LABELS, seeds=(0,)),
        Cell(arm=probe, label_budget=few, seeds=(0, 1, 2)),
    )
    study = _study(cnn, probe, title="mine", label_budgets=(few, many, ALL_LABELS), cells=cells, tuned=True)
    assert load_study(study)[0] == study == _read_again(study, tmp_path)


def test_a_study_whose_recipes_are_tuned_takes_them_in_python_too() -> None:
    study = _study(CNN, name="cifar10", label_budgets=(LabelBudget(10), LabelBudget(7)), tuned=True)
    ten, seven = load_study(study)[0].cells
    assert (ten.arm.recipe_name, seven.arm.recipe_name) == ("cifar10-cnn-10", "cnn-fast")
    untuned, _ = load_study(study, {"tuned": "false"})
    assert {cell.arm.recipe_name for cell in untuned.cells} == {"cnn-fast"}


def test_changes_and_seeds_apply_to_a_study_and_stand_in_its_file(tmp_path: Path) -> None:
    changed, text = load_study(_study(), {"arms.cnn.recipe.batch_size": "64"}, seeds=3)
    assert changed.arms[0].recipe == RECIPES["cnn-fast"].replace(batch_size=64)
    assert changed.seeds == changed.cells[0].seeds == (0, 1, 2)
    (tmp_path / "study.toml").write_text(text)
    assert load_study(tmp_path / "study.toml")[0] == changed


def test_the_text_says_no_more_than_it_must() -> None:
    text = load_study(_study(dataclasses.replace(CNN, recipe=RECIPES["cnn-fast"].replace(batch_size=9))))[1]
    assert (
        text
        == """name = "mine"
dataset = "cifar10"

[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe = "cnn-fast"

[arms.recipe_changes]
batch_size = 9
"""
    )


class _OtherRecipe(Recipe):
    """Of a type that no named recipe has."""


_HERE = dataclasses.replace(CNN, recipe=RECIPES["cnn-full"])


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (
            _study(Arm(name="probe", model="resnet50", method="linear_probe")),
            "study 'mine': arm 'probe': method 'linear_probe' needs pretrained weights; set weights",
        ),
        (_study(dataset="cifar"), r"unknown dataset 'cifar' \(did you mean 'cifar10'\?\)"),
        (_study(seeds=()), r"study 'mine': seeds must be different whole numbers from 0 up"),
        (_study(seeds=("a",)), r"study 'mine': key 'seeds.0' expects a whole number, got 'a'"),
        (_study(chosen="knn"), r"study 'mine': chosen: unknown arm 'knn'"),
        (
            _study(dataclasses.replace(CNN, dataset="other")),
            "arm 'cnn': dataset 'other' is not the study's 'cifar10'; leave the arm's out",
        ),
        (
            _study(dataclasses.replace(CNN, recipe=_OtherRecipe())),
            "no named recipe is a _OtherRecipe, so a study file cannot say it; add one to RECIPES",
        ),
        (
            _study(dataclasses.replace(_HERE, recipe_name="probe")),
            "recipe_name 'probe' is a ProbeRecipe, its recipe a CNNRecipe; leave recipe_name out",
        ),
        (
            _study(CNN, PROBE, cells=(Cell(arm=CNN, label_budget=ALL_LABELS, seeds=(0,)),)),
            "arm 'probe': the study's cells leave it out; add one, or leave the arm out",
        ),
        (
            _study(CNN, cells=(Cell(arm=CNN, label_budget=ALL_LABELS, seeds=(0,)),) * 2),
            "arm 'cnn': two cells have the same label budget",
        ),
        (
            _study(
                cells=tuple(
                    Cell(arm=arm, label_budget=ALL_LABELS, seeds=seeds)
                    for arm, seeds in ((CNN, (0,)), (PROBE, (0, 1)))
                )
            ),
            r"at all labels arm 'probe' has \[0, 1\], another \[0\]",
        ),
        (
            _study(
                CNN,
                cells=(
                    Cell(arm=dataclasses.replace(CNN, input_pixels=64), label_budget=ALL_LABELS, seeds=(0,)),
                ),
            ),
            "its cell with all labels has input_pixels 64, the arm None; only its recipe may differ",
        ),
    ],
)
def test_what_a_study_cannot_be_is_named_in_one_line(study: Study, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_study(study)
    assert "\n" not in str(caught.value)


def test_a_study_runs_from_a_value_and_leaves_its_file(photos: Path, tmp_path: Path) -> None:
    arm = Arm(
        name="cnn",
        model="cnn",
        method="scratch",
        recipe=RECIPES["cnn-fast"].replace(duration="1 steps", batch_size=4, widths=(8, 8, 8)),
    )
    study = Study(name="mine", dataset=str(photos), arms=(arm,), precision="fp32")
    folder = headstart.run_study(study, out=tmp_path / "runs")
    written, _ = load_study(folder / "study.toml")
    assert written == load_study(study)[0]
    (row,) = headstart.load_results(folder).itertuples()
    assert row.arm == "cnn"
    # The file that it left is the same study: nothing is run again, by a str or by a Path.
    for path in (folder / "study.toml", str(folder / "study.toml")):
        assert run_study(path, folder) == folder
        (planned,) = plan_study(path, folder).rows
        assert planned.finished == planned.trials == 1
    assert len(trials_of(study)) == 1


def test_a_path_is_never_a_built_in_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown study 'cifar10-quick'"):
        load_study(Path("cifar10-quick"))
    with pytest.raises(ConfigError, match=r"study file .*absent\.toml is not there"):
        load_study(tmp_path / "absent.toml")
