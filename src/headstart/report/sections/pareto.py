"""What accuracy costs: which arms no other beats on both, and what each reaches at the same cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart import plots
from headstart.plots import short_duration
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections.figure import finish, test_count
from headstart.report.sections.learning import curve_trials, one_clock
from headstart.report.sections.tables import Cell
from headstart.results import efficiency
from headstart.results.trials import metric_values

_SAME_COST = 0.01  # amortised and cold costs nearer than this share of each other are one figure


@dataclass(frozen=True, kw_only=True)
class CostRow:
    """What each arm had reached on validation when it had cost this much."""

    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    figures: tuple[Figure, ...]
    shared: str  # in words: what sharing features saves, "" where nothing is shared
    by_seconds: tuple[CostRow, ...]
    by_flops: tuple[CostRow, ...]


def section(view: StudyView) -> Section:
    """Figures and tables of accuracy against cost at the main label budget."""
    cold = {arm.name: _mean([trial.cost.total_seconds for trial in arm.trials]) for arm in view.arms}
    amortised = _amortised(view)
    if not view.one_machine:  # times of different machines do not compare; counted work does
        return Section(
            figures=(by_work(view, view.arms),), shared="", by_seconds=(), by_flops=_rows(view, "flops")
        )
    drawn = [
        _figure(
            view,
            cold,
            "seconds",
            "fig-pareto-seconds",
            "Test accuracy against wall-clock time, cold (log scale)",
            "Cold: everything from an empty cache, frozen features included.",
        )
    ]
    saved = [arm for arm in view.arms if amortised[arm.name] < (1 - _SAME_COST) * cold[arm.name]]
    if saved:
        drawn.append(
            _figure(
                view,
                amortised,
                "seconds",
                "fig-pareto-amortised",
                "Test accuracy against amortised time (log scale)",
                "Amortised: trials of this study that read the same frozen features share the time of "
                "computing "
                "them evenly.",
            )
        )
    drawn.append(by_work(view, view.arms))
    shared = ", ".join(
        f"{arm.label} {short_duration(amortised[arm.name])} instead of {short_duration(cold[arm.name])}"
        for arm in saved
    )
    by_seconds = _rows(view, "seconds") if one_clock(view) else ()
    return Section(figures=tuple(drawn), shared=shared, by_seconds=by_seconds, by_flops=_rows(view, "flops"))


def by_work(view: StudyView, arms: Sequence[Arm], name: str = "fig-pareto-flops") -> Figure:
    """Test accuracy of these arms against the counted work of a trial."""
    return _figure(
        view,
        {arm.name: _mean([float(trial.cost.flops) for trial in arm.trials]) for arm in arms},
        "flops",
        name,
        "Test accuracy against floating-point operations (log scale)",
        "Counted: convolutions and matrix products, forward and backward, frozen features included.",
    )


def _mean(values: list[float]) -> float:
    return float(np.mean(values))


def _amortised(view: StudyView) -> dict[str, float]:
    """Mean amortised seconds of each arm's trials at the main budget; every trial of the study shares."""
    seconds = efficiency.amortised_seconds(view.trials)
    return {arm.name: _mean([seconds[trial.key] for trial in arm.trials]) for arm in view.arms}


def _figure(
    view: StudyView, cost: dict[str, float], unit: str, name: str, measure: str, meaning: str
) -> Figure:
    estimates = {
        arm.name: estimate(metric_values(arm.trials, "test_accuracy"), view.test_images)
        for arm in view.arms
        if arm.name in cost
    }
    names = list(estimates)
    front = [names[i] for i in efficiency.pareto_front([(cost[n], estimates[n].value) for n in names])]
    drawing = plots.accuracy_against_cost(
        {n: plots.CostPoint(cost=cost[n], estimate=estimates[n]) for n in names},
        front,
        view.styles,
        unit,
        measure,
    )
    return finish(
        drawing,
        name,
        _message(view, front, cost, unit),
        f"{test_count(view)}, {view.budget.words}. {meaning} Filled marks on the dashed line: no "
        "other arm is both as "
        "cheap and as accurate (the Pareto front); hollow marks: another arm is. Bars: 95 % interval of "
        "accuracy, which the "
        "line ignores.",
    )


def _message(view: StudyView, front: list[str], cost: dict[str, float], unit: str) -> str:
    shown = {
        name: short_duration(cost[name]) if unit == "seconds" else words.flops(cost[name]) for name in front
    }
    beaten = [view.styles[name].label for name in cost if name not in front]
    labels = [view.styles[name].label for name in front]
    if len(cost) == 1:
        return f"{labels[0]}: {shown[front[0]]}"
    if len(front) == 1:
        return f"{labels[0]} is cheapest and most accurate: {shown[front[0]]}"
    if beaten:
        verb = "is" if len(beaten) == 1 else "are"
        return (
            f"{words.listing(beaten)} {verb} beaten on both accuracy and cost"
            if len(beaten) < 3
            else f"{len(beaten)} of {len(cost)} arms are beaten on both accuracy and cost"
        )
    return (
        f"More accuracy costs more: from {shown[front[0]]} ({labels[0]}) to {shown[front[-1]]} ({labels[-1]})"
    )


def _rows(view: StudyView, column: str) -> tuple[CostRow, ...]:
    """Validation accuracy at equal cost; nothing where no arm kept a history with validation."""
    sides = dict((arm.name, items) for arm, items in curve_trials(view))
    arms = [arm for arm in view.arms if arm.name in sides]
    histories = [trial.history for arm in arms for trial in sides[arm.name]]
    # Round costs, and what the first arm to end had cost: there the others can be read against its final
    # accuracy.
    ends = [
        max(lasts)
        for arm in arms
        if (lasts := [trial.history[-1][column] for trial in sides[arm.name] if column in trial.history[-1]])
    ]
    rows = []
    for cost in sorted({*efficiency.equal_costs(histories, column), *([min(ends)] if ends else [])}):
        cells = tuple(
            _cell(arm, [trial.history for trial in sides.get(arm.name, [])], column, cost)
            for arm in view.arms
        )
        rows.append(
            CostRow(title=short_duration(cost) if column == "seconds" else words.flops(cost), cells=cells)
        )
    return tuple(rows)


def _cell(arm: Arm, histories: list[efficiency.History], column: str, cost: float) -> Cell:
    limit = {column: cost}
    values = [efficiency.accuracy_at(history, **limit) for history in histories]  # type: ignore[arg-type]
    measured = [value for value in values if value is not None]
    if not measured or len(measured) < len(values):
        return Cell(text="–", note="not yet" if histories else "no history")
    ended = all(history[-1].get(column, cost) <= cost for history in histories)
    return Cell(text=words.share(_mean(measured)), note="at its end" if ended else "")
