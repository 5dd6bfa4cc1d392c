"""The report's cost and label sections: fronts, equal costs and fitted curves, and silence where the data
cannot say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.support.changed_trial import rewrite_result
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.report import words
from headstart.report.chapters.whole import compose
from headstart.report.document import figures
from headstart.report.load import load_study
from headstart.report.sections import comparison, labels, pareto, spending, tables
from headstart.results import label_curves
from headstart.types import ALL_LABELS, LabelBudget

BUDGETS = (10, 30, 100, 300, 1000, None)


@pytest.fixture
def made_up_accuracies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stored accuracies need not be those of the stored logits."""
    monkeypatch.setattr("headstart.results.honest._compare", lambda *_: None)
    monkeypatch.setattr("headstart.results.honest._remember", lambda *_: None)


def plain(html: str) -> str:
    text = re.sub(r"<[^>]+>", " ", html)
    return re.sub(r"\s+", " ", text.replace("\u2060", "").replace("\u202f", " ").replace("\u00a0", " "))


@pytest.fixture(scope="module")
def budgets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "budgets"
    return write_synthetic_study(
        folder, seeds=4, labels_per_class=BUDGETS, test_images=1500, claims=False, gallery=False
    )


@pytest.fixture(scope="module")
def page(budgets: Path) -> str:
    return report.write_report(budgets).read_text(encoding="utf-8")


def test_amortised_time_shares_features_between_all_trials_of_the_study(budgets: Path, page: str) -> None:
    view = load_study(budgets)
    trials = [r for r in view.trials if r.arm.name == "probe"]
    assert len(trials) == 5 * 4 + 1  # at all labels one seed stands for all
    (whole,) = [r for r in trials if r.label_budget.is_all]
    expected = whole.cost.total_seconds - whole.cost.seconds["features"] * (1 - 1 / 21)
    found = pareto.section(view)
    assert [f.name for f in found.figures] == [
        "fig-pareto-seconds",
        "fig-pareto-amortised",
        "fig-pareto-flops",
    ]
    assert (
        f"ResNet-50, linear probe {expected:.0f} s instead of {whole.cost.total_seconds / 60:.1f} min"
        in plain(page)
    )


def test_the_work_of_a_trial_is_told_for_each_label_budget_with_its_number(budgets: Path, page: str) -> None:
    view = load_study(budgets)
    rows = {row.title: row.cells for row in tables.budget_costs(view)}
    place = [arm.name for arm in view.arms].index("probe")
    for title, budget, count in (("10", 10, 4), ("all", None, 1)):
        work = [r.cost.flops for r in view.at("probe", LabelBudget(budget))]
        assert len(work) == count and rows[title][place].note == f"n = {count}"
        assert rows[title][place].text == words.flops(sum(work) / count)
    assert "Work of a trial, by labels a class" in page


def test_times_of_different_machines_are_not_set_against_each_other(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "mixed", seeds=2, test_images=300, claims=False, gallery=False)
    first = store.finished_trials(folder)[0]
    path = first.folder
    rewrite_result(
        path,
        store.read_json(path / "result.json") | {"environment": {**first.environment, "precision": "bf16"}},
    )
    found = pareto.section(load_study(folder))
    assert (
        [figure.name for figure in found.figures] == ["fig-pareto-flops"]
        and not found.by_seconds
        and found.by_flops
    )
    text = plain(report.write_report(folder).read_text(encoding="utf-8"))
    assert (
        text.count("Not all arms ran on the same machine: times of different machines do not compare.") == 3
    )
    assert (
        "ᵃ cpu: Example CPU @ 2.0 GHz, 2 threads, bf16; ᵇ cpu: Example CPU @ 2.0 GHz, 2 threads, fp32" in text
    )
    assert "times as long as" not in text and "Times of different machines do not compare." in text


def test_each_time_carries_the_letter_of_its_machine_and_none_is_the_best(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "mixed", test_images=300, claims=False, gallery=False)
    first, second = store.finished_trials(folder)
    path = first.folder
    rewrite_result(
        path,
        store.read_json(path / "result.json")
        | {"environment": {**first.environment, "device": "another GPU"}},
    )
    rows = {row.title: row for group in comparison.comparison(load_study(folder)) for row in group.rows}
    on = {
        result.arm.name: letter for result, letter in ((first, "ᵃ"), (second, "ᵇ"))
    }  # "another GPU" before "cpu"
    for title in ("Time, cold", "Time spent"):
        assert [cell.text[-1] for cell in rows[title].cells] == [on["cnn"], on["probe"]]
    assert not any(
        cell.best for title in ("Time, cold", "Time spent", "Peak memory") for cell in rows[title].cells
    )
    assert any(cell.best for cell in rows["Floating-point operations"].cells)
    spent = spending.spending(load_study(folder))
    assert [row.cold[-1] for row in spent.rows[:2]] == [on["cnn"], on["probe"]] and spent.rows[
        2
    ].cold.endswith("ᵃᵇ")
    assert [machine[:3] for machine in spent.machines] == ["ᵃ a", "ᵇ c"]


def test_one_machine_needs_no_letters(budgets: Path, page: str) -> None:
    rows = {row.title: row for group in comparison.comparison(load_study(budgets)) for row in group.rows}
    assert any(cell.best for cell in rows["Time, cold"].cells)
    assert not set("ᵃᵇᶜ") & set(page)


def test_nothing_shared_needs_no_second_figure(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "one", test_images=300, claims=False, gallery=False)
    found = pareto.section(load_study(folder))
    assert [f.name for f in found.figures] == [
        "fig-pareto-seconds",
        "fig-pareto-flops",
    ] and found.shared == ""


def test_a_beaten_arm_is_named(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "four", arms=["cnn", "probe", "knn"], test_images=500, claims=False, gallery=False
    )
    found = pareto.section(load_study(folder))
    accuracy = {arm.name: arm.mean("test_accuracy") for arm in load_study(folder).arms}
    assert accuracy["knn"] < accuracy["probe"] < accuracy["cnn"]
    # The probe and kNN cost the same; the probe is the more accurate one.
    assert found.figures[0].message == "ResNet-50, nearest neighbours is beaten on both accuracy and cost"


def test_equal_cost_reads_the_last_evaluation_within_it(budgets: Path) -> None:
    view = load_study(budgets)
    rows = pareto.section(view).by_seconds
    probe = view.at("probe", ALL_LABELS)[0]
    assert [row.title for row in rows] == [
        words.duration(s) for s in (60, 120, probe.history[-1]["seconds"], 300)
    ]
    assert rows[2].cells[1].text == rows[3].cells[1].text  # the probe's own end
    seconds = 300.0
    row = next(row for row in rows if row.title == words.duration(seconds))
    values = []
    for result in view.at("cnn", ALL_LABELS):
        values.append([r["val_accuracy"] for r in result.history if r["seconds"] <= seconds][-1])
    assert row.cells[0].text == words.share(float(np.mean(values)))
    assert probe.history[-1]["seconds"] < seconds
    assert (row.cells[1].text, row.cells[1].note) == (
        words.share(probe.history[-1]["val_accuracy"]),
        "at its end",
    )
    assert rows[0].cells[1].text == "–" and rows[0].cells[1].note == "not yet"


def test_energy_is_told_or_said_to_be_missing(budgets: Path, page: str, tmp_path: Path) -> None:
    assert "Energy this machine reports none n/a n/a" in plain(page)
    folder = write_synthetic_study(
        tmp_path / "watts", test_images=200, claims=False, gallery=False, joules=True
    )
    text = plain(report.write_report(folder).read_text())
    told = (
        r"Energy counted by package-0, dram; includes what other programs use meanwhile 20\.\d kJ 9\.8\d kJ"
    )
    assert re.search(told, text.replace("&#39;", "'"))


def test_the_bill_counts_what_was_computed_beside_the_trials(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "beside", test_images=200, claims=False, gallery=False)
    assert spending.spending(load_study(folder)).steps == ()
    trials = store.finished_trials(folder)
    for result, seconds in zip(trials, ((10.0, 20.0), (15.0, 25.0)), strict=True):
        store.write_json(
            folder / "robustness" / f"{result.key}.json",
            {
                "key": result.key,
                "arm": result.arm.name,
                "settings": {"images": 5, "seed": 0},
                "seconds": dict(zip(("corrupt", "predict"), seconds, strict=True)),
            },
        )
    store.write_json(
        folder / "robustness" / "other.json",
        {
            "key": "f" * 64,
            "arm": "of a trial that is gone",
            "settings": {"images": 5, "seed": 0},
            "seconds": {"predict": 1000.0},
        },
    )
    tries = [{"number": 1, "seconds": 30.0}, {"number": 2, "seconds": 45.0}]
    store.write_json(
        folder / "tuning" / "cnn-all" / "tuning.json",
        {"arm": "cnn", "labels_per_class": None, "tries": tries},
    )
    spent = sum(result.cost.spent_seconds for result in trials)
    found = spending.spending(load_study(folder)).steps
    assert [(step.title, step.count, step.spent) for step in found] == [
        ("Models read on corrupted images", "2", words.duration(70)),
        ("Tries of searches for recipes", "2", words.duration(75)),
        ("With the trials", "", words.duration(spent + 145)),
    ]
    as_before = {"set": "new", "key": trials[0].key, "arm": "cnn", "fingerprint": "f", "test_right": 1}
    store.write_json(folder / "shift" / "new" / f"{trials[0].key}.json", as_before | {"test_images": 2})
    found = spending.spending(load_study(folder)).steps
    assert [(step.count, step.spent) for step in found][1:] == [
        ("1", "not recorded"),
        ("2", words.duration(75)),
        ("", f"at least {words.duration(spent + 145)}"),
    ]


def test_the_curves_say_what_the_library_says(budgets: Path, page: str) -> None:
    view = load_study(budgets)
    text = plain(page)
    points = {arm: label_curves.points_from_trials(view.trials, arm) for arm in ("cnn", "probe")}
    fits = {arm: label_curves.fit_curve(p, np.random.default_rng(0)) for arm, p in points.items()}
    assert all(fits.values())
    for arm, curve in fits.items():
        gain = label_curves.gain_from_doubling(curve)
        low, high = (f"{100 * v:+.1f}".replace("-", "−") for v in gain.interval)
        assert f"{100 * gain.value:+.1f}".replace("-", "−") + f" {low} to {high}" in text, arm
        hidden = label_curves.check_hidden_budget(points[arm], np.random.default_rng(0))
        assert f"{100 * hidden.observed:.1f} %: {'inside' if hidden.inside else 'outside'}" in text
    met = label_curves.crossing(fits["probe"], fits["cnn"])
    sentence = (
        f"CNN from scratch overtakes ResNet-50, linear probe at about {float(f'{met.value:.3g}'):,.0f} "
        "labels a class"
    )
    assert (sentence in text) == (met is not None)
    assert met is not None and 10 < met.value < 5000


def test_few_budgets_are_said_to_be_too_few(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "three", labels_per_class=(10, 100, None), test_images=300, claims=False, gallery=False
    )
    text = plain(report.write_report(folder).read_text())
    assert "No curve is fitted: CNN from scratch (3 label budgets, a curve needs 4)" in text


def test_a_lead_at_the_only_common_budget_is_not_called_a_range(budgets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gaps"
    shutil.copytree(budgets, folder)
    for result in store.finished_trials(folder):
        if result.arm.name == "cnn" and not result.label_budget.is_all:
            shutil.rmtree(result.folder)
    view = load_study(folder)
    (figure,) = [each for each in figures(compose(view)) if each.name == "fig-labels"]
    assert re.fullmatch(
        r"In front by labels a class: .* at [\d,]+, the only budget that arms share", figure.message
    )


@pytest.mark.usefixtures("made_up_accuracies")
def test_an_arm_with_one_budget_does_not_choose_the_budgets_that_are_compared(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "once",
        arms=["cnn", "probe", "knn"],
        seeds=2,
        labels_per_class=(10, 100, None),
        test_images=500,
        claims=False,
        gallery=False,
    )
    accuracy = {
        ("cnn", 10): 0.3,
        ("probe", 10): 0.6,
        ("cnn", 100): 0.7,
        ("probe", 100): 0.65,
        ("cnn", None): 0.9,
        ("probe", None): 0.8,
        ("knn", None): 0.5,
    }
    for result in store.finished_trials(folder):
        key = (result.arm.name, result.label_budget.per_class)
        if key not in accuracy:
            shutil.rmtree(result.folder)
            continue
        value = store.read_json(result.folder / "result.json")
        value["metrics"]["test_accuracy"] = accuracy[key]
        rewrite_result(result.folder, value)
    title = "In front by labels a class: ResNet-50, linear probe at 10; CNN from scratch from 100 on"

    def message() -> str:
        view = load_study(folder)
        return labels.figure(view, labels.fit_all(view), view.arms).message

    assert message() == title
    for result in store.finished_trials(folder):
        if result.arm.name == "knn":
            value = store.read_json(result.folder / "result.json")
            value["metrics"]["test_accuracy"] = 0.95
            rewrite_result(result.folder, value)
    assert message() == f"{title}, among arms with several budgets"


@pytest.mark.usefixtures("made_up_accuracies")
def test_arms_that_change_places_between_two_budgets_are_said_to(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "turns",
        arms=["cnn", "probe"],
        seeds=2,
        labels_per_class=(10, 100, 300),
        test_images=500,
        claims=False,
        gallery=False,
    )
    accuracy = {
        ("cnn", 10): 0.3,
        ("probe", 10): 0.6,
        ("cnn", 100): 0.7,
        ("probe", 100): 0.75,
        ("cnn", 300): 0.9,
        ("probe", 300): 0.8,
    }
    for result in store.finished_trials(folder):
        value = store.read_json(result.folder / "result.json")
        value["metrics"]["test_accuracy"] = accuracy[result.arm.name, result.label_budget.per_class]
        rewrite_result(result.folder, value)
    # at 100 neither is clearly ahead
    told = (
        "CNN from scratch overtakes ResNet-50, linear probe between 10 labels a class (30.0 % against 60.0 "
        "%) and 300 (90.0 "
        "% against 80.0 %)."
    )
    assert told in plain(report.write_report(folder).read_text()).replace("\u202f", " ").replace("\xa0", " ")


@pytest.mark.usefixtures("made_up_accuracies")
def test_a_curve_that_falls_is_left_out_and_named(budgets: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(budgets, tmp_path / "falls")
    for result in store.finished_trials(folder):
        if result.arm.name == "cnn" and result.label_budget == LabelBudget(300):
            value = store.read_json(result.folder / "result.json")
            value["metrics"]["test_accuracy"] = 0.15
            rewrite_result(result.folder, value)
    view = load_study(folder)
    fits = labels.fit_all(view)
    assert [fit.curve is None for fit in fits] == [True, False]
    table = labels.table(view, fits)
    assert table.missing == (
        "CNN from scratch (accuracy falls from one budget to the next, or no form fits)",
    )
    assert table.meetings == () and all(row.cells[0].text == "–" for row in table.rows)


def test_one_seed_has_curves_without_intervals(tmp_path: Path) -> None:
    folder = write_synthetic_study(
        tmp_path / "one", seeds=1, labels_per_class=BUDGETS, test_images=1500, claims=False, gallery=False
    )
    text = plain(report.write_report(folder).read_text())
    assert "one seed: no interval" in text and "one seed, so no band" in text


@pytest.mark.usefixtures("made_up_accuracies")
def test_a_curve_that_no_form_fits_says_nothing(budgets: Path, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(budgets, tmp_path / "steps")
    steps = {10: 0.2, 30: 0.21, 100: 0.22, 300: 0.8, 1000: 0.81, None: 0.82}  # a step, which neither form has
    for result in store.finished_trials(folder):
        if result.arm.name == "cnn":
            value = store.read_json(result.folder / "result.json")
            value["metrics"]["test_accuracy"] = steps[result.label_budget.per_class]
            rewrite_result(result.folder, value)
    view = load_study(folder)
    cnn, probe = labels.fit_all(view)
    assert cnn.curve is None and "no form fits" in cnn.reason
    assert probe.curve is not None and labels.crossings([cnn, probe]) == []
