"""What a study would run, before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.changed_trial import rewrite_result
from tests.support.small_cifar10 import small_cifar10
from tests.support.transfer_trials import random_weights

from headstart import store
from headstart.recipes import provenance_of
from headstart.studies import plan as planning
from headstart.studies.plan import plan_study, plan_tables
from headstart.studies.run import run_study

STUDY = """name = "small"
dataset = "cifar10"
labels_per_class = [2, 20]
seeds = [0, 1]
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "3 steps", batch_size = 50, widths = [8, 16, 16] }}
[[arms]]
name = "probe"
model = "resnet18"
method = "linear_probe"
weights = "{weights}"
input_pixels = 32
[[arms]]
name = "partial"
model = "resnet18"
method = "partial"
recipe = "cifar10-partial-all"
weights = "{weights}"
input_pixels = 32
labels_per_class = [20]
recipe_changes = {{ duration = "0.001 PFLOP", batch_size = 50 }}
"""


@pytest.fixture
def study(tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(STUDY.format(weights=random_weights(tmp_path)))
    return str(tmp_path / "small.toml")


@pytest.fixture
def few_images() -> Iterator[None]:
    with small_cifar10():
        yield


def test_a_plan_names_what_is_missing_and_trains_nothing(study: str, tmp_path: Path) -> None:
    plan = plan_study(study, tmp_path / "runs")
    found = {
        (row.arm, row.label_budget.per_class): (row.trials, row.finished, row.measured) for row in plan.rows
    }
    assert found == {
        ("cnn", 2): (2, 0, False),
        ("cnn", 20): (2, 0, False),
        ("probe", 2): (2, 0, False),
        ("probe", 20): (2, 0, False),
        ("partial", 20): (2, 0, False),
    }
    assert all(row.seconds > 0 for row in plan.rows)
    assert not (tmp_path / "runs").exists()
    pooled, cut = plan.features
    assert pooled.missing_bytes == (50_000 + 2 * 10_000) * 512 * 2
    # at 32 px layer4's input is 2 x 2 x 256 (layer3's output); both views of two seeds' 200 images and of the
    # test images
    assert cut.missing_bytes == 2 * (2 * 200 + 10_000) * 2 * 2 * 256 * 2
    assert plan.seconds_left == pytest.approx(
        sum(2 * row.seconds for row in plan.rows) + pooled.seconds + cut.seconds
    )
    assert plan.searches == (provenance_of("cifar10-partial-all")["seconds"],)
    assert "recipes: 1 searched before" in str(plan_tables(plan)[-2])


AFTER = """
[robustness]
images = 5
"""


def test_what_comes_after_the_trials_is_timed(study: str, tmp_path: Path) -> None:
    text = (tmp_path / "small.toml").read_text()
    (tmp_path / "after.toml").write_text(f"data_health = true\n{text}{AFTER}")
    plan = plan_study(str(tmp_path / "after.toml"), tmp_path / "runs")
    corrupted, health = plan.after
    assert (corrupted.what, health.what) == ("corrupted images", "data health")
    assert corrupted.seconds > 0 and health.seconds > 0
    pooled, cut = plan.features
    # The examination reads the probe's own features: they are planned once.
    assert pooled.missing_bytes == (50_000 + 2 * 10_000) * 512 * 2
    trials = sum(2 * row.seconds for row in plan.rows) + pooled.seconds + cut.seconds
    assert plan.seconds_left == pytest.approx(trials + corrupted.seconds + health.seconds)
    assert (
        "after the trials: corrupted images " in plan_tables(plan)[-3]
        and ", data health " in plan_tables(plan)[-3]
    )


def test_every_arm_passes_each_image_and_its_75_corrupted_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning.Timings, "forward", lambda timings, trial: 0.01)
    monkeypatch.setattr(planning.Timings, "corrupting", lambda timings: 0.5)
    monkeypatch.setattr(planning.Timings, "features", lambda timings, arm, layers: 0.002)
    text = STUDY.split('[[arms]]\nname = "probe"')[0].format()
    (tmp_path / "small.toml").write_text(f"data_health = true\n{text}{AFTER}")
    plan = plan_study(str(tmp_path / "small.toml"), tmp_path / "runs")
    assert plan.after[0].seconds == pytest.approx(5 * (76 * 0.01 + 0.5))
    # No arm is frozen: the examination takes the published ResNet-50, without mirror images.
    (pooled,) = plan.features
    assert pooled.what == "resnet50 (imagenet-keras) at 96 px, pool"
    assert pooled.seconds == pytest.approx(pooled.missing_bytes / (2048 * 2) * 0.002)


def test_what_was_read_already_is_not_left(photos: Path, tmp_path: Path) -> None:
    text = (
        STUDY.split('[[arms]]\nname = "partial"')[0]
        .replace('"cifar10"', f'"{photos}"')
        .replace("[2, 20]", '["all"]')
    )
    text = text.replace("batch_size = 50", "batch_size = 16").format(weights=random_weights(tmp_path))
    (tmp_path / "small.toml").write_text(f"data_health = true\n{text}{AFTER}")
    study = str(tmp_path / "small.toml")
    folder = run_study(study, tmp_path / "runs", seeds=1)
    assert [(step.what, step.seconds) for step in plan_study(study, folder, seeds=1).after] == [
        ("corrupted images", 0),
        ("data health", 0),
    ]
    left = plan_study(study, folder, seeds=1, changes={"robustness.images": "6"}).after
    assert left[0].seconds > 0 and left[1].seconds == 0


@pytest.mark.usefixtures("few_images")
def test_finished_trials_are_not_left_and_tell_how_long_the_others_take(tmp_path: Path) -> None:
    text = STUDY.split('[[arms]]\nname = "probe"')[0].format()
    (tmp_path / "small.toml").write_text(text)
    study = str(tmp_path / "small.toml")
    folder = run_study(study, tmp_path / "runs", seeds=1)
    rows = {row.label_budget.per_class: row for row in plan_study(study, folder).rows}
    spent = {
        result.label_budget.per_class: sum(result.cost.seconds.values())
        for result in store.finished_trials(folder)
    }
    for budget, row in rows.items():
        assert (row.trials, row.finished, row.measured) == (2, 1, True)
        assert row.seconds_left == pytest.approx(spent[budget])


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("elsewhere", [{"processor": "another"}, {"device": "NVIDIA H200"}, {"jobs": 8}])
def test_seconds_of_another_machine_say_nothing_of_this_one(
    elsewhere: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(
        STUDY.split('[[arms]]\nname = "probe"')[0].format().replace("[2, 20]", "[2]")
    )
    study = str(tmp_path / "small.toml")
    folder = run_study(study, tmp_path / "runs", seeds=1)
    (trial,) = store.finished_trials(folder)
    run = trial.folder
    result = store.read_json(run / "result.json")
    result["cost"]["seconds"] = {"train": 1e6}
    rewrite_result(run, result | {"environment": result["environment"] | elsewhere})
    (row,) = plan_study(study, folder).rows
    assert (row.finished, row.measured) == (1, False) and 0 < row.seconds < 1e5
    (row,) = plan_study(study, folder, seeds=1).rows  # nothing is left: what they took is told
    assert (row.finished, row.measured, row.seconds) == (1, True, 1e6)
