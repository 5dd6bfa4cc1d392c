"""What the page's templates use: every section of a study, its figures in the order of the page."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.report import machines, words
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections import (
    answer,
    calibration,
    comparison,
    gallery,
    gradcam,
    health,
    labels,
    ladder,
    mistakes,
    pareto,
    reproduce,
    robustness,
    spending,
    tables,
)
from headstart.report.sections.accuracy import accuracy
from headstart.report.sections.classes import by_class, confusions
from headstart.report.sections.cost import cost
from headstart.report.sections.figure import Figure
from headstart.report.sections.learning import clock_marks, learning, time_rows, times
from headstart.report.sections.methods import method, pretraining, starts
from headstart.report.sections.tuning import effort, tuning
from headstart.report.writers.marks import color, mark, tied
from headstart.results import headline
from headstart.results.trials import metric_values


class _Drawn:
    """The figures of a page, in the order in which they were made."""

    def __init__(self) -> None:
        self.figures: list[Figure] = []

    def svg(self, figure: Figure | None) -> dict[str, Any] | None:
        """What a template shows of a figure; the figure is kept."""
        if figure is None:
            return None
        self.figures.append(figure)
        return {
            "name": figure.name,
            "message": figure.message,
            "caption": figure.caption,
            "svg": Markup(figure.svg),
        }

    def svgs(self, figures: Iterable[Figure]) -> list[dict[str, Any] | None]:
        return [self.svg(figure) for figure in figures]


def context(view: StudyView) -> tuple[dict[str, Any], tuple[Figure, ...]]:
    """What the templates use, and every figure in it."""
    drawn = _Drawn()
    values: dict[str, Any] = {"learning": drawn.svgs(learning(view))}
    for part in (_study, _accuracy_and_cost, _errors, _transfer, _how_it_was_done):
        values |= part(view, drawn)
    return values, tuple(drawn.figures)


def _study(view: StudyView, drawn: _Drawn) -> dict[str, Any]:
    return {
        "study": view.study,
        "dataset": view.study.dataset,
        "arms": view.arms,
        "view": view,
        "answer": tied(headline.headline(view.study, view.trials)),
        "answer_more": answer.more(view),
        "budget": view.budget.words,
        "mark": mark,
        "color": color,
        "cards": [_card(view, arm) for arm in view.arms],
        "comparison": comparison.comparison(view),
        "class_rows": tables.classes(view),
        "ledger": tables.ledger(view),
        "seeds": sorted({trial.seed for arm in view.arms for trial in arm.trials}),
        "phase": view.arms[0].first.phase,
        "train_images": sorted({arm.first.train_images for arm in view.arms}),
        "health": health.section(view),
        "label_plan": reproduce.label_plan(view),
        "test_balance": reproduce.test_balance(view),
    }


def _accuracy_and_cost(view: StudyView, drawn: _Drawn) -> dict[str, Any]:
    costs, fits = pareto.section(view), labels.fit_all(view)
    return {
        "fig_accuracy": drawn.svg(accuracy(view)),
        "fig_time": drawn.svg(times(view)),
        "machines": machines.legend(view),
        "time_machines": clock_marks(view),
        "time_rows": time_rows(view),
        "fig_cost": drawn.svg(cost(view)),
        "fig_labels": drawn.svg(labels.figure(view, fits)),
        "label_table": labels.table(view, fits),
        "costs": costs,
        "cost_figures": drawn.svgs(costs.figures),
        "budget_rows": tables.budgets(view),
        "budget_costs": tables.budget_costs(view),
        "spent": spending.spending(view),
    }


def _errors(view: StudyView, drawn: _Drawn) -> dict[str, Any]:
    corrupted = robustness.robustness(view)
    return {
        "confusions": drawn.svgs(confusions(view)),
        "fig_classes": drawn.svg(by_class(view)),
        "fig_calibration": drawn.svg(calibration.calibration(view)),
        "confidences": tables.confidences(view),
        "confused_pairs": mistakes.confused_pairs(view),
        "agreements": mistakes.agreements(view),
        "robustness": corrupted,
        "robustness_figures": drawn.svgs(corrupted.figures) if corrupted else [],
        "shifts": robustness.shifts(view),
        "hardest": gallery.hardest(view),
        "overlap": gallery.overlap(view),
        "fig_gradcam": drawn.svg(gradcam.figure(view)),
        "disagreements": gallery.disagreements(view),
        "errors": gallery.confident_errors(view),
    }


def _transfer(view: StudyView, drawn: _Drawn) -> dict[str, Any]:
    return {
        "starts": starts(view),
        "ladder_steps": ladder.steps(view),
        "ladder_controls": ladder.controls(view),
        "gap_rows": ladder.gaps(view),
        "gap_note": ladder.gap_note(view),
        "fig_pretraining": drawn.svg(ladder.pretraining_figure(view)),
        "fig_gap": drawn.svg(ladder.gap_figure(view)),
        "pretraining": pretraining(view),
    }


def _how_it_was_done(view: StudyView, drawn: _Drawn) -> dict[str, Any]:
    tuned = tuning(view)
    return {
        "tuning": tuned | {"figures": drawn.svgs(tuned["figures"])} if tuned else None,
        "tuning_effort": effort(view),
        "selecting": any("l2" in arm.first.selected for arm in view.arms),
        "rerun": reproduce.rerun(view.study.command),
        "searches": reproduce.searches(view.study.command),
        "methods": [method(view, arm) for arm in view.arms],
        "environments": reproduce.environments(view),
        "trials": [reproduce.trial(view, trial) for trial in view.trials],
    }


@dataclass(frozen=True, kw_only=True)
class Card:
    arm: Arm
    accuracy: str
    note: str
    facts: tuple[tuple[str, str], ...]


def _card(view: StudyView, arm: Arm) -> Card:
    values = metric_values(arm.trials, "test_accuracy")
    estimated = estimate(values, view.test_images)
    several = len(set(values)) > 1
    over = f"{len(values)} seeds" if several else f"{view.test_images:,} test images, one model"
    return Card(
        arm=arm,
        accuracy=words.share(estimated.value),
        note=f"95 % interval {words.interval(estimated.interval or (0, 0))}, over {over}",
        facts=(
            (
                "time, cold",
                words.duration(math.fsum(trial.cost.total_seconds for trial in arm.trials) / len(arm.trials))
                + machines.main_marks(view)[arm.name],
            ),
            ("work", words.flops(sum(trial.cost.flops for trial in arm.trials) / len(arm.trials))),
            ("gap to training", words.points(arm.mean("generalization_gap"))),
            ("calibration error", words.share(arm.mean("test_ece"))),
        ),
    )
