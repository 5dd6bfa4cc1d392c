"""How many labels it takes: accuracy against labels a class with fitted curves, and what follows from them.

Says nothing where the data cannot: fewer than four budgets, a curve that falls, an answer far beyond what was
measured.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from headstart import plots
from headstart.plots import percent
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections.accuracy import overlap
from headstart.report.sections.figure import finish, test_count
from headstart.report.sections.tables import Cell
from headstart.results import label_curves
from headstart.results.curve_fit import FEWEST_BUDGETS, Curve, Points, fit_curve
from headstart.results.trials import metric_values

_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
_MOST_TARGETS = 4
_MOST_CROSSINGS = 6
_GRID = 120
_UNKNOWN = "–"
_LARGEST_MISS = 0.05  # of a left-out budget, root mean square


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """An arm's budgets and the curve through them; why there is none, in words, where there is none."""

    arm: Arm
    points: Points
    curve: Curve | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """Where two curves meet, and which is ahead after it."""

    ahead: Arm
    behind: Arm
    labels: label_curves.Estimate


def fit_all(view: StudyView) -> list[Fitted]:
    """Every arm with its curve; the same draws for all, so that differences pair up where arms share their
    seeds."""
    phase = view.arms[0].first.phase
    fits = []
    for arm in view.arms:
        points = label_curves.points_from_trials(view.trials, arm.name, phase)
        curve = fit_curve(points, np.random.default_rng(0))
        reason = ""
        if len(points) < FEWEST_BUDGETS:
            # Not len(points): all labels alone say no labels a class, and make no point.
            budget_count = len(
                {
                    trial.label_budget
                    for trial in view.trials
                    if trial.arm.name == arm.name and trial.phase == phase
                }
            )
            reason = (
                f"{budget_count} label {'budget' if budget_count == 1 else 'budgets'}, a curve needs "
                f"{FEWEST_BUDGETS}"
            )
        elif curve is None:
            reason = "accuracy falls from one budget to the next, or no form fits"
        elif curve.error > _LARGEST_MISS:
            # The bootstrap knows the spread between seeds, not that the form is wrong: its intervals would be
            # far too narrow.
            reason = (
                f"no form fits: the better one misses a left-out budget by {100 * curve.error:.1f} points"
            )
        fits.append(Fitted(arm=arm, points=points, curve=None if reason else curve, reason=reason))
    return fits


def crossings(fits: Sequence[Fitted]) -> list[Crossing]:
    """Where curves meet: of arms that start from random weights with those that start from weights, else of
    all; only meetings that the data can place."""
    fitted = [fit for fit in fits if fit.curve is not None]
    pairs = list(itertools.combinations(fitted, 2))
    mixed = [(a, b) for a, b in pairs if a.arm.stored.is_pretrained != b.arm.stored.is_pretrained]
    meetings = []
    for a, b in mixed or pairs:
        assert a.curve is not None and b.curve is not None
        if (labels := label_curves.crossing(a.curve, b.curve)) is not None:
            after = 1.01 * labels.value
            ahead, behind = (a, b) if a.curve.predict(after) > b.curve.predict(after) else (b, a)
            meetings.append(Crossing(ahead=ahead.arm, behind=behind.arm, labels=labels))
    return meetings[:_MOST_CROSSINGS]


def figure(
    view: StudyView, fits: Sequence[Fitted], arms: Sequence[Arm], name: str = "fig-labels"
) -> Figure | None:
    """Test accuracy of these arms against labels per class; None where they have one budget."""
    points = _measured(view, arms)
    names = {arm.name for arm in arms}
    fits = [fit for fit in fits if fit.arm.name in names]
    if len({point.labels for row in points.values() for point in row}) < 2:
        return None
    drawn = {fit.arm.name: _to_draw(fit.curve) for fit in fits if fit.curve is not None}
    met = crossings(fits)
    # One meeting is drawn; more would hide the curves, and the list names them all.
    shown = (
        plots.Crossing(labels=met[0].labels.value, interval=met[0].labels.interval) if len(met) == 1 else None
    )
    drawing = plots.accuracy_by_labels(points, view.styles, "Test accuracy", fits=drawn, crossing=shown)
    band = any(fit.low is not None for fit in drawn.values())
    straight = (
        "; straight from budget to budget where no curve fits"
        if any(name not in drawn for name, row in points.items() if len(row) > 1)
        else ""
    )
    legend = (
        f"Lines: fitted curves{' with their 95 % band over seeds' if band else ''}, dotted beyond the "
        "largest budget "
        f"measured{'' if band else '; one seed, so no band'}{straight}. "
        if drawn
        else ""
    )
    legend += "The grey stripe is the 95 % interval of where they meet. " if shown and shown.interval else ""
    message = _meeting(met[0]) if len(met) == 1 else _leaders(view, points)
    return finish(
        drawing,
        name,
        message,
        f"{test_count(view)}. Bars: 95 % interval, t over seeds where there are several, else Wilson over "
        f"test images. {legend}"
        "“All” is every training image outside the validation split.",
    )


def _measured(view: StudyView, arms: Sequence[Arm]) -> dict[str, list[plots.BudgetPoint]]:
    """By arm: labels a class, the text of that tick and the accuracy, ascending."""
    points: dict[str, list[plots.BudgetPoint]] = {}
    for arm in arms:
        for size in view.budgets:
            items = view.at(arm.name, size)
            values = metric_values(items, "test_accuracy")
            if values:
                labels = items[0].train_images / len(view.class_names)
                text = size.tick(labels)
                point = plots.BudgetPoint(
                    labels=labels, tick=text, estimate=estimate(values, view.test_images)
                )
                points.setdefault(arm.name, []).append(point)
    return points


def _to_draw(curve: Curve) -> plots.Fit:
    """From the fewest labels measured to twice the most."""
    x = np.geomspace(curve.budgets[0], 2 * curve.budgets[-1], _GRID)
    low, high = curve.band(x) or (None, None)
    return plots.Fit(x=x, y=curve.predict(x), low=low, high=high, measured_to=curve.budgets[-1])


def _meeting(met: Crossing) -> str:
    """Who overtakes whom, and where."""
    between = f" ({_range(met.labels)})" if met.labels.interval else ""
    at = f"about {_round(met.labels.value)} labels a class{between}"
    return f"{met.ahead.label} overtakes {met.behind.label} at {at}"


def _leaders(view: StudyView, points: dict[str, list[plots.BudgetPoint]]) -> str:
    """Who leads at each label budget that two arms or more have.

    Arms with one budget are set aside where others have several: they would lead wherever nobody else was
    tried. So are budgets at which an arm was not tried that has smaller and larger ones."""
    several = {name: row for name, row in points.items() if len(row) > 1}
    compared = several if len(several) > 1 else points
    lead, beaten = [], False
    for x in sorted({point.labels for row in compared.values() for point in row}):
        there = {name: p.estimate.value for name, row in points.items() for p in row if p.labels == x}
        among = [name for name in compared if name in there]
        if len(among) > 1 and not any(
            label_curves.skips([point.labels for point in row], x) for row in compared.values()
        ):
            best = max(among, key=lambda name: there[name])
            beaten |= there[best] < max(there.values())
            lead.append((x, best))
    if not lead or len(points) < 2:
        return "Accuracy by labels a class"
    runs = [list(group) for _, group in itertools.groupby(lead, key=lambda each: each[1])]
    names = _without_networks([arm for arm in view.arms if arm.name in points])
    leaders = [
        f"{names[run[0][1]]} {_span([x for x, _ in run], place == len(runs) - 1 > 0)}"
        for place, run in enumerate(runs)
    ]
    only = "" if len(lead) > 1 else ", the only budget that arms share"
    limit = ", among arms with several budgets" if beaten else ""
    return f"In front by labels a class: {'; '.join(leaders)}{only}{limit}"


def _without_networks(arms: Sequence[Arm]) -> dict[str, str]:
    """The arms' labels for a list: "Linear probe" for "Linear probe, ResNet-50", where it is the only one."""
    first = {}
    for arm in arms:
        way, _, network = arm.label.rpartition(", ")
        is_network = re.sub(r"\W", "", network).lower() == re.sub(r"\W", "", arm.stored.model).lower()
        first[arm.name] = way if way and is_network else arm.label
    alike = Counter(first.values())
    return {arm.name: first[arm.name] if alike[first[arm.name]] == 1 else arm.label for arm in arms}


def _span(budgets: list[float], is_last: bool) -> str:
    if is_last and len(budgets) > 1:
        return f"from {budgets[0]:,.0f} on"
    if len(budgets) == 1:
        return f"at {budgets[0]:,.0f}"
    return f"from {budgets[0]:,.0f} to {budgets[-1]:,.0f}"


# ---------------------------------------------------------------- the table under it


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    title: str
    hint: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class LabelTable:
    """What the curves say; `missing` names the arms without one, and why; `meetings` are sentences."""

    rows: tuple[LabelRow, ...]
    meetings: tuple[str, ...]
    missing: tuple[str, ...]


def table(view: StudyView, fits: Sequence[Fitted]) -> LabelTable | None:
    """Labels for a target, gain from twice the labels, and the check by hiding the largest budget; None where
    the study has one budget."""
    if len({trial.label_budget for trial in view.trials}) < 2:
        return None
    missing = tuple(f"{fit.arm.label} ({fit.reason})" for fit in fits if fit.curve is None)
    between = tuple(_turns(view, fits))
    if all(fit.curve is None for fit in fits):
        return LabelTable(rows=(), meetings=between, missing=missing)
    rows = [
        LabelRow(title=f"Labels a class for {100 * target:g} %", hint="", cells=tuple(cells))
        for target, cells in _target_cells(fits)
    ]
    rows.append(
        LabelRow(
            title="Gain from twice the labels",
            hint="from the largest budget on, in points",
            cells=tuple(_gain_cell(fit.curve) for fit in fits),
        )
    )
    rows.append(
        LabelRow(
            title="Largest budget, hidden",
            hint="predicted from the others, then compared",
            cells=tuple(_hidden_cell(fit) for fit in fits),
        )
    )
    rows.append(
        LabelRow(
            title="Form of the curve",
            hint="chosen by predicting left-out budgets",
            cells=tuple(_form_cell(fit.curve) for fit in fits),
        )
    )
    met = crossings(fits)  # a single one is the figure's title
    return LabelTable(
        rows=tuple(rows),
        missing=missing,
        meetings=(*(_meeting(each) + "." for each in met if len(met) > 1), *between),
    )


def _turns(view: StudyView, fits: Sequence[Fitted]) -> Iterator[str]:
    """Where an arm from random weights overtakes one from pretrained ones, as far as the budgets measured
    tell: pairs of which one has no curve to say it better, and of which each is clearly ahead somewhere."""
    measured = _measured(view, view.arms)
    for a, b in itertools.product(
        [f for f in fits if not f.arm.stored.is_pretrained], [f for f in fits if f.arm.stored.is_pretrained]
    ):
        if a.curve is not None and b.curve is not None:
            continue
        sides = [{p.labels: p.estimate for p in measured.get(fit.arm.name, [])} for fit in (a, b)]
        leads = {x: _clear_lead(sides[0][x], sides[1][x]) for x in sorted(sides[0].keys() & sides[1].keys())}
        behind, ahead = ([x for x, lead in leads.items() if lead == sign] for sign in (-1, 1))
        if not behind or not ahead or max(behind) > min(ahead):
            continue
        before, after = max(behind), min(ahead)
        yield (
            f"{a.arm.label} overtakes {b.arm.label} between {before:,.0f} labels a class "
            f"({percent(sides[0][before].value)} against {percent(sides[1][before].value)}) and {after:,.0f} "
            f"({percent(sides[0][after].value)} against {percent(sides[1][after].value)})."
        )


def _clear_lead(a: plots.Estimate, b: plots.Estimate) -> int:
    """1 where a is above b and their intervals do not overlap, -1 where it is below so, else 0."""
    return 0 if overlap(a, b) else 1 if a.value > b.value else -1


def _target_cells(fits: Sequence[Fitted]) -> list[tuple[float, list[Cell]]]:
    """Up to four targets that some curve can answer with numbers inside or near what was measured, the
    highest ones."""
    answered = []
    for target in _TARGETS:
        answers = [
            label_curves.labels_for(fit.curve, target) if fit.curve is not None else None for fit in fits
        ]
        if any(answers):
            answered.append(
                (
                    target,
                    [
                        Cell(
                            text=_round(answer.value) if answer else _UNKNOWN,
                            note=_range(answer) if answer else "",
                        )
                        for answer in answers
                    ],
                )
            )
    several = [item for item in answered if sum(cell.text != _UNKNOWN for cell in item[1]) > 1]
    chosen = (
        (several[-_MOST_TARGETS + 1 :] + [item for item in answered if item not in several][-1:])
        if several
        else answered[-2:]
    )
    return sorted(chosen, key=lambda item: item[0])


def _gain_cell(curve: Curve | None) -> Cell:
    gain = None if curve is None else label_curves.gain_from_doubling(curve)
    if gain is None:
        return Cell(text=_UNKNOWN)
    note = words.interval(gain.interval, signed=True) if gain.interval else "one seed: no interval"
    return Cell(text=words.minus(f"{100 * gain.value:+.1f}"), note=note)


def _hidden_cell(fit: Fitted) -> Cell:
    if fit.curve is None:
        return Cell(text=_UNKNOWN)
    check = label_curves.check_hidden_budget(fit.points, np.random.default_rng(0))
    if check is None:
        return Cell(text=_UNKNOWN, note="not predictable")
    interval = check.predicted.interval
    inside = "" if check.inside is None else ": inside" if check.inside else ": outside"
    predicted = words.interval(interval) if interval else percent(check.predicted.value)
    return Cell(text=f"{percent(check.observed)}{inside}", note=f"predicted {predicted}")


def _form_cell(curve: Curve | None) -> Cell:
    if curve is None:
        return Cell(text=_UNKNOWN)
    form = {"power": "power law", "exponential": "exponential"}[curve.form]
    return Cell(text=form, note=f"misses by {100 * curve.error:.1f} points")


def _round(labels: float) -> str:
    """Labels to three digits at most: a fitted curve knows no more."""
    return f"{float(f'{labels:.3g}'):,.0f}" if labels >= 10 else f"{labels:.1f}"


def _range(estimated: label_curves.Estimate) -> str:
    return (
        f"{_round(estimated.interval[0])} to {_round(estimated.interval[1])}"
        if estimated.interval
        else "one seed: no interval"
    )
