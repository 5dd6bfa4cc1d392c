"""How much of a pretrained network to train on, what pretraining itself adds, and how far training runs ahead
of test."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from headstart import plots
from headstart.registry.methods import stored_method
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections.accuracy import difference
from headstart.report.sections.choice import in_figures
from headstart.report.sections.figure import finish
from headstart.report.sections.tables import Cell
from headstart.results import headline, stats
from headstart.results.differences import Difference
from headstart.results.trials import metric_values
from headstart.types import LabelBudget


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm, or one arm against another, over the label budgets."""

    arm: Arm
    against: Arm | None
    cells: tuple[Cell, ...]
    apart: str = (
        ""  # in what the two differ beside their weights; of a step, its input size where sizes differ
    )


@dataclass(frozen=True, kw_only=True)
class Table:
    """budgets: the columns' titles. rows: none where the study has nothing to compare."""

    budgets: tuple[str, ...]
    rows: tuple[Row, ...]


def _titles(view: StudyView) -> tuple[str, ...]:
    return tuple(budget.title for budget in view.budgets)


def steps(view: StudyView) -> Table:
    """The arms that start from one set of pretrained weights, from nothing trained to everything trained:
    test accuracy, and under it the step from the row before, paired by seed."""
    used = [(arm.stored.model, arm.stored.weights) for arm in view.arms if arm.stored.is_pretrained]
    most = max(dict.fromkeys(used), key=used.count, default=None)
    placed = [
        (depth, arm)
        for arm in view.arms
        if (arm.stored.model, arm.stored.weights) == most
        and (depth := stored_method(arm.stored.method).depth) is not None
    ]
    arms = [arm for _, arm in sorted(placed, key=lambda pair: pair[0])]
    if len(arms) < 2:
        return Table(budgets=(), rows=())
    sizes = {arm.stored.input_pixels for arm in arms}
    rows = []
    for place, arm in enumerate(arms):
        size = f"{arm.stored.input_pixels} px" if len(sizes) > 1 else ""
        before = arms[place - 1] if place else None
        cells = []
        for budget in view.budgets:
            values = metric_values(view.at(arm.name, budget), "test_accuracy")
            step = difference(view, arm, before, budget) if before else None
            cells.append(
                Cell(
                    text=words.share(estimate(values, view.test_images).value) if values else "–",
                    note=_effect(step) if step else "",
                )
            )
        rows.append(Row(arm=arm, against=before, cells=tuple(cells), apart=size))
    return Table(budgets=_titles(view), rows=tuple(rows))


def controls(view: StudyView) -> Table:
    """What pretraining adds: each pretrained arm less its control, the same network from random weights,
    paired by seed."""
    rows = []
    for arm, control in _controlled(view):
        differences = [difference(view, arm, control, budget) for budget in view.budgets]
        cells = tuple(
            Cell(text=words.points(d.effect), note=_range(d)) if d else Cell(text="–") for d in differences
        )
        rows.append(Row(arm=arm, against=control, cells=cells, apart=_apart(view, arm, control)))
    return Table(budgets=_titles(view), rows=tuple(rows))


def _apart(view: StudyView, arm: Arm, control: Arm) -> str:
    sides = [each.stored.input_pixels for each in (arm, control)]
    both = [(budget, view.at(arm.name, budget), view.at(control.name, budget)) for budget in view.budgets]
    alike = [(budget, a[0].arm.recipe == b[0].arm.recipe) for budget, a, b in both if a and b]
    same = [budget.words for budget, is_same in alike if is_same]
    apart = (
        [f"recipes differ{f' but with {words.listing(same)}' if same else ''}"]
        if len(same) < len(alike)
        else []
    )
    apart += [f"{sides[0]} px against {sides[1]} px"] if sides[0] != sides[1] and None not in sides else []
    return ", ".join(apart)


def _controlled(view: StudyView) -> list[tuple[Arm, Arm]]:
    """(pretrained arm, control): the nearest pretrained method of the same network for each arm from random
    weights."""
    pairs = []
    for control in (arm for arm in view.arms if not arm.stored.is_pretrained):
        for method in stored_method(control.stored.method).controls:
            same = [
                arm
                for arm in view.arms
                if arm.stored.is_pretrained
                and arm.stored.method == method
                and arm.stored.model == control.stored.model
            ]
            if same:
                pairs.append((same[0], control))
                break
    return pairs


def _range(paired: Difference) -> str:
    interval = paired.interval()
    return "n/a (1 pair)" if interval is None else words.interval(interval, signed=True)


def _effect(paired: Difference) -> str:
    change = words.minus(f"{100 * paired.effect:+.1f}")
    return f"{change} ({_range(paired)})" if paired.n > 1 else f"{change} (1 pair)"


def _points(
    view: StudyView, arm: Arm, value: Callable[[LabelBudget], plots.Estimate | None]
) -> list[plots.BudgetPoint]:
    """The points of one arm's line; value: what was measured at a label budget."""
    points = []
    for budget in view.budgets:
        items, measured = view.at(arm.name, budget), value(budget)
        if items and measured is not None:
            labels = items[0].train_images / len(view.class_names)
            tick = budget.tick(labels)
            points.append(plots.BudgetPoint(labels=labels, tick=tick, estimate=measured))
    return points


def pretraining_figure(view: StudyView) -> Figure | None:
    """Points of test accuracy that pretraining adds over each control, by label budget; None with one budget
    or without a control."""
    drawn: dict[str, list[plots.BudgetPoint]] = {}
    seeds = 0
    for arm, control in _controlled(view):

        def gain(budget: LabelBudget, arm: Arm = arm, control: Arm = control) -> plots.Estimate | None:
            paired = difference(view, arm, control, budget)
            return None if paired is None else plots.Estimate(value=paired.effect, interval=paired.interval())

        points = _points(view, arm, gain)
        if len(points) > 1:
            drawn[control.name] = points
            seeds = max(seeds, *(len(view.at(arm.name, b)) for b in view.budgets))
    if not drawn:
        return None
    # A weak control flatters pretraining: the title is about the one that leaves it the least.
    strongest = min(drawn, key=lambda name: drawn[name][-1].estimate.value)
    row = drawn[strongest]
    gains = [
        f"{words.points(point.estimate.value)} {_at(point.tick)}"
        for point in (row[0], max(row, key=lambda point: point.estimate.value), row[-1])
    ]
    message = f"Pretrained less “{view.styles[strongest].label}”: {words.listing(list(dict.fromkeys(gains)))}"
    drawing = plots.points_by_labels(drawn, view.styles, "Test accuracy: pretrained less its control")
    return finish(
        drawing,
        "fig-pretraining",
        message,
        "A line a control, the same network from random weights; the table names the pretrained arm set "
        "against it, and where recipes or input sizes differ. "
        f"n = {view.test_images:,} test images; differences paired by seed, up to {seeds} seeds. Bars: 95 % "
        "interval over seeds and test images, none with one pair; one that reaches the edge goes on. Above "
        "the line at zero the pretrained weights help.",
    )


def _at(tick: str) -> str:
    """ "with 10 labels a class", "with all labels", from a tick's text."""
    first = tick.split("\n")[0]
    return (
        "with all labels"
        if first == "all"
        else f"with {first} {'label' if first == '1' else 'labels'} a class"
    )


def gap_figures(view: StudyView) -> list[Figure]:
    """Training less test accuracy by label budget, at most six arms in a figure; none with one budget."""
    every = {arm.name: _points(view, arm, functools.partial(_gap, view, arm)) for arm in view.arms}
    drawn = {name: points for name, points in every.items() if len(points) > 1}
    return [
        _gap_figure(view, {name: drawn[name] for name in names}, f"fig-gap{suffix}")
        for suffix, names in in_figures(view, list(drawn))
        if names
    ]


def _gap_figure(view: StudyView, drawn: Mapping[str, list[plots.BudgetPoint]], name: str) -> Figure:
    pair = headline.headline_pair(view.study, view.trials)
    gaps = [
        f"{words.points(drawn[each][-1].estimate.value)} for {view.styles[each].label}"
        for each in pair
        if each in drawn
    ]
    message = (
        f"Training ahead of test at the largest budget: {words.listing(gaps)}"
        if gaps
        else "Training ahead of test"
    )
    drawing = plots.points_by_labels(drawn, view.styles, "Accuracy on training images less on test images")
    return finish(
        drawing,
        name,
        message,
        f"A fixed sample of each trial's own training images against n = {view.test_images:,} test images. "
        "Bars: "
        "95 % t interval over seeds, none where an arm has one; a bar that reaches the edge goes on.",
    )


def gap_note(view: StudyView) -> str:
    """What makes some arms' gaps say less than they seem to; "" where nothing does."""
    notes: dict[str, list[str]] = {}
    for arm in view.arms:
        if note := stored_method(arm.stored.method).gap_note:
            notes.setdefault(note, []).append(arm.label)
    return " ".join(f"{words.listing(labels)}: {note}" for note, labels in notes.items())


def _gap(view: StudyView, arm: Arm, budget: LabelBudget) -> plots.Estimate | None:
    values = metric_values(view.at(arm.name, budget), "generalization_gap")
    if not values:
        return None
    return plots.Estimate(value=float(np.mean(values)), interval=stats.t_interval(values))


@dataclass(frozen=True, kw_only=True)
class GapRow:
    arm: Arm
    train: str
    val: str
    test: str
    gap: Cell


def gaps(view: StudyView) -> list[GapRow]:
    """Training, validation and test accuracy of every arm at the main label budget, and training less
    test."""
    rows = []
    for arm in view.arms:
        values = metric_values(arm.trials, "generalization_gap")
        interval = stats.t_interval(values) if values and np.ptp(values) > 0 else None
        note = (
            words.interval(interval, signed=True) if interval else "n/a (1 seed)" if len(values) == 1 else ""
        )
        rows.append(
            GapRow(
                arm=arm,
                train=words.share(arm.mean("train_accuracy")),
                val=words.share(arm.mean("val_accuracy")),
                test=words.share(arm.mean("test_accuracy")),
                gap=Cell(text=words.points(float(np.mean(values)) if values else None), note=note),
            )
        )
    return rows
