"""The fine-tuning ladder, the controls and the answer's paragraph: their numbers from the trials, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.support.changed_trial import change_trial, rewrite_result
from tests.support.synthetic_study import write_synthetic_study

from headstart import store
from headstart.report.load import StudyView, load_study
from headstart.report.sections import answer, ladder, spending
from headstart.report.sections.learning import learning, targets
from headstart.results.differences import TestOutcomes, accuracy_difference
from headstart.results.pairing import pair_by_seed
from headstart.types import LabelBudget


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    folder = tmp_path_factory.mktemp("runs") / "ladder"
    arms = ("cnn", "finetune", "probe", "random", "partial")
    return load_study(
        write_synthetic_study(folder, arms=arms, seeds=3, labels_per_class=(1, None), test_images=500)
    )


def accuracies(view: StudyView, arm: str, budget: int | None) -> list[float]:
    found = {
        r.seed: r.metrics["test_accuracy"]
        for r in store.finished_trials(view.folder)
        if r.arm.name == arm and r.label_budget == LabelBudget(budget)
    }
    return [found[seed] or 0.0 for seed in sorted(found)]


def test_steps_go_from_nothing_trained_to_everything_whatever_the_studys_order(view: StudyView) -> None:
    table = ladder.steps(view)
    assert table.budgets == ("1", "all")
    assert [row.arm.name for row in table.rows] == ["probe", "partial", "finetune"]
    assert [row.against and row.against.name for row in table.rows] == [None, "probe", "partial"]


def test_steps_say_their_input_sizes_where_these_differ(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", arms=("probe", "finetune"), test_images=200)
    assert [row.apart for row in ladder.steps(load_study(folder)).rows] == ["", ""]
    study = store.read_json(folder / "study.json")
    arms = [arm | {"input_pixels": 128} if arm["name"] == "probe" else arm for arm in study["arms"]]
    store.write_json(folder / "study.json", study | {"arms": arms})
    for trial in store.finished_trials(folder):
        if trial.arm.name == "probe":
            change_trial(trial.folder, lambda value: value["trial"]["arm"].update(input_pixels=128))
    assert [row.apart for row in ladder.steps(load_study(folder)).rows] == ["128 px", "96 px"]


def test_the_curves_title_is_of_all_seeds(view: StudyView) -> None:
    ends: dict[str, list[float]] = {}
    for result in store.finished_trials(view.folder):
        if result.label_budget.is_all:
            ends.setdefault(result.arm.label, []).extend(
                [row["val_accuracy"] for row in result.history if row.get("val_accuracy") is not None][-1:]
            )
    means = {label: float(np.mean(values)) for label, values in ends.items() if values}
    best = max(means, key=lambda label: means[label])
    assert len(set(ends[best])) > 1  # else the first seed would do
    (message,) = [figure.message for figure in learning(view) if figure.name == "fig-curves-epochs"]
    assert message.replace("\u202f", " ") == f"After the last epoch: {best} at {100 * means[best]:.1f} %"


def test_a_step_is_the_mean_difference_of_the_same_seeds_with_its_interval(view: StudyView) -> None:
    effect = 100 * np.subtract(accuracies(view, "finetune", 1), accuracies(view, "partial", 1)).mean()
    budget = view.at("finetune", view.budgets[0])[0].label_budget
    pairs = pair_by_seed(view.at("finetune", budget), view.at("partial", budget))
    measured = accuracy_difference(pairs, TestOutcomes())
    assert measured is not None and measured.crossed is not None
    low, mean, high = (
        f"{v:+.1f}".replace("-", "−")
        for v in (100 * measured.interval()[0], effect, 100 * measured.interval()[1])
    )
    assert ladder.steps(view).rows[2].cells[0].note == f"{mean} ({low} to {high})"


def test_a_control_is_the_same_method_from_random_weights(view: StudyView) -> None:
    (row,) = ladder.controls(view).rows
    assert (row.arm.name, row.against and row.against.name) == ("probe", "random")
    difference = 100 * np.subtract(accuracies(view, "probe", 1), accuracies(view, "random", 1)).mean()
    assert row.cells[0].text.startswith(f"{difference:+.1f}\u202f")
    assert row.cells[1].note == "n/a (1 pair)"  # both are deterministic at all labels


def test_a_control_says_where_its_recipe_is_another_at_any_budget(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "study", arms=("probe", "random"), labels_per_class=(1, None), test_images=200
    )
    assert [row.apart for row in ladder.controls(load_study(folder)).rows] == [""]
    for budget, told in ((1, "recipes differ but with all labels"), (None, "recipes differ")):
        for result in store.finished_trials(folder):
            if result.arm.name == "random" and result.label_budget == LabelBudget(budget):
                stored = store.read_json(result.folder / "result.json")
                stored["trial"]["arm"]["recipe"]["max_passes"] = 7
                rewrite_result(result.folder, stored)
        assert [row.apart for row in ladder.controls(load_study(folder)).rows] == [told]


def test_without_a_pretrained_pair_there_is_no_ladder_and_no_control(tmp_path: Path) -> None:
    view = load_study(write_synthetic_study(tmp_path / "study", test_images=200))
    assert ladder.steps(view).rows == () and ladder.controls(view).rows == ()
    assert ladder.pretraining_figure(view) is None and ladder.gap_figures(view) == []
    assert len(ladder.gaps(view)) == 2


def test_the_paragraph_names_the_best_of_both_starts_at_the_fewest_labels(view: StudyView) -> None:
    pretrained = max(np.mean(accuracies(view, name, 1)) for name in ("finetune", "probe", "partial"))
    scratch = max(np.mean(accuracies(view, name, 1)) for name in ("cnn", "random"))
    told = answer.more(view)[0].replace("\u202f", " ")
    assert told.startswith("With 1 label a class pretrained weights reach")
    assert f"{100 * pretrained:.1f} %" in told and f"{100 * scratch:.1f} %" in told
    assert answer.more(view)[-1].startswith("Of 3 claims written down beforehand: ")


def test_spending_adds_up_over_arms_and_counts_every_trial(view: StudyView) -> None:
    found = spending.spending(view)
    assert [row.trials for row in found.rows] == [
        6,
        6,
        4,
        4,
        6,
        26,
    ]  # deterministic arms: one trial at all labels
    assert found.rows[-1].arm is None
    assert found.machines == ("cpu: Example CPU @ 2.0 GHz, 2 threads, fp32 (26 trials)",)


def test_one_hopeless_arm_leaves_the_others_a_target_in_common(view: StudyView) -> None:
    reached = [max(row["val_accuracy"] for row in arm.trials[0].history) for arm in view.arms]
    chosen = targets(view)
    assert min(reached) < 0.5
    assert chosen == sorted(chosen) and sum(best >= chosen[0] for best in reached) >= 3
