"""Which arm to choose: the most accurate within a limit of work, computed from the trials."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from tests.support.synthetic_study import write_synthetic_study

from headstart import report
from headstart.report.chapters import opening
from headstart.report.chapters.whole import compose
from headstart.report.document import Contents, Run, walk
from headstart.report.load import StudyView, load_study
from headstart.report.sections.choice import choices, compared, in_figures, is_control
from headstart.report.sections.learning import _earliest
from headstart.report.sections.own_work import own_flops
from headstart.results.trials import metric_values


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> StudyView:
    folder = tmp_path_factory.mktemp("runs") / "study"
    arms = ("cnn", "probe", "finetune", "random")
    write_synthetic_study(folder, arms=arms, seeds=3, labels_per_class=(10, None), test_images=300)
    return load_study(folder)


def mean(view: StudyView, arm: str, budget: object, metric: str) -> float:
    values = metric_values(view.at(arm, budget), metric)  # type: ignore[arg-type]
    return sum(values) / len(values)


def test_a_control_is_no_choice(view: StudyView) -> None:
    assert [arm.name for arm in view.arms if is_control(view, arm)] == ["random"]
    assert "random" not in {arm.name for arm in compared(view)}


def test_the_choice_is_the_best_mean_within_the_limit(view: StudyView) -> None:
    grid = choices(view)
    assert grid.limits[-1] is None and [row.budget for row in grid.rows] == view.budgets
    ways = ["cnn", "probe", "finetune"]
    for row in grid.rows:
        for limit, choice in zip(grid.limits, row.choices, strict=True):
            arms = {arm.name: arm for arm in view.arms}
            work = {name: own_flops(view, arms[name], view.at(name, row.budget)) for name in ways}
            within = [name for name in ways if limit is None or work[name] <= limit]
            if not within:
                assert choice is None
                continue
            assert choice is not None
            assert choice.arm.name == max(
                within, key=lambda name: mean(view, name, row.budget, "test_accuracy")
            )
            assert choice.flops == work[choice.arm.name]


def test_of_frozen_features_those_of_the_labelled_images_alone_are_work(view: StudyView) -> None:
    arms = {arm.name: arm for arm in view.arms}
    few, every = view.budgets
    about = view.study.dataset
    read = about.train_images + 2 * about.test_images
    features = min(trial.history[0]["flops"] for trial in view.trials if trial.arm.name == "probe")
    for budget in (few, every):
        trials = view.at("probe", budget)
        counted = sum(trial.cost.flops for trial in trials) / len(trials)
        own = own_flops(view, arms["probe"], trials)
        assert own == pytest.approx(counted - features * (1 - trials[0].train_images / read))
    assert own_flops(view, arms["probe"], view.at("probe", few)) < 0.2 * features
    trained = view.at("finetune", few)
    assert own_flops(view, arms["finetune"], trained) == sum(t.cost.flops for t in trained) / len(trained)


def test_at_most_six_arms_share_a_figure_of_lines(tmp_path: Path) -> None:
    many = load_study(write_synthetic_study(tmp_path / "many", arms=8, test_images=100, gallery=False))
    names = [arm.name for arm in many.arms]
    parts = in_figures(many, names)
    assert all(len(part) <= 6 for _, part in parts)
    assert sorted(name for _, part in parts for name in part) == sorted(names)
    assert in_figures(many, names[:6]) == [("", tuple(names[:6]))]


def test_overlapping_brackets_give_no_order() -> None:
    assert _earliest({"a": (10.0, 20.0), "b": (15.0, 30.0)}) is None
    assert _earliest({"a": (10.0, 14.0), "b": (15.0, 30.0)}) == "a"
    assert _earliest({"a": (0.0, 20.0)}) == "a"


def test_every_link_of_the_first_part_leads_to_a_row_or_a_section(view: StudyView) -> None:
    document = compose(view)
    ids = {getattr(block, "id", "") for block in walk(document.blocks)}
    ids |= {row.id for block in walk(document.blocks) for row in getattr(block, "rows", ()) if row.id}
    first = document.blocks[0]
    targets = set()
    for block in walk((first,)):
        for row in getattr(block, "rows", ()):
            targets |= {
                run.href for cell in row.cells for run in cell.text if isinstance(run, Run) and run.href
            }
        if isinstance(block, Contents):
            targets |= {href for _, href in block.entries}
    assert len(targets) > 12
    assert {target[1:] for target in targets} <= ids


def test_a_card_for_each_side_and_the_best_of_each_kind(view: StudyView) -> None:
    section = opening.the_answer(view)
    (cards,) = [block for block in section.blocks if hasattr(block, "cards")]
    assert [card.title for card in cards.cards] == [
        arm.label for arm in view.arms if arm.name in ("cnn", "probe", "finetune")
    ]


def test_a_narrow_terminal_shows_a_summary_that_fits(view: StudyView) -> None:
    console = Console(width=44, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(report.summary_table(view.folder, narrow=True))
    lines = console.export_text().splitlines()
    assert max(len(line) for line in lines) <= 44
    assert "…" not in "".join(lines)
