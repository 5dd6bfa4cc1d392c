"""The report's figures: each with the message that its numbers carry, and a caption that says what is drawn
and from how much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.figure import Figure as MplFigure
from numpy.typing import NDArray

from headstart import plots
from headstart.plots import percent, short_duration
from headstart.registry.methods import stored_method
from headstart.report import machines, words
from headstart.report.load import Arm, StudyView, Trials, estimate
from headstart.results import metrics, stats
from headstart.results.efficiency import time_to_accuracy
from headstart.results.pairing import one_machine, pair_by_seed
from headstart.results.trials import metric_values
from headstart.store import FinishedTrial
from headstart.types import LabelBudget

_FEW_ARMS = 4  # of more, curves of several seeds become one and rows follow their values
_MOST_CLASSES = 20  # more than these do not fit into bars on a phone: the most telling ones are drawn
_SHARE_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with its message (a sentence from its own numbers) and caption."""

    name: str
    message: str
    caption: str
    svg: str
    wide: bool = False
    drawing: MplFigure | None = field(default=None, repr=False, compare=False)  # what the SVG was made from


def finish(drawing: MplFigure, name: str, message: str, caption: str) -> Figure:
    return Figure(
        name=name,
        message=message,
        caption=caption,
        drawing=drawing,
        svg=plots.svg_text(drawing, name, f"{message}. {caption}"),
    )


def _n(view: StudyView) -> str:
    return f"n = {view.test_images:,} test images"


def _interval_words(view: StudyView) -> str:
    several = any(len({trial.metrics.get("test_accuracy") for trial in arm.trials}) > 1 for arm in view.arms)
    single = any(len({trial.metrics.get("test_accuracy") for trial in arm.trials}) == 1 for arm in view.arms)
    seeds = max(len(arm.trials) for arm in view.arms)
    told = []
    if several:
        told.append(f"t interval over up to {seeds} seeds (ticks: single seeds)")
    if single:
        told.append(
            "Wilson interval over the test images of one trained model, which says nothing about another seed"
        )
    return "; ".join(told)


def accuracy(view: StudyView) -> Figure:
    """Test accuracy of each arm with its interval."""
    estimates = {arm.name: estimate(_values(arm, "test_accuracy"), view.test_images) for arm in view.arms}
    ranked = sorted(view.arms, key=lambda arm: -estimates[arm.name].value)
    if len(view.arms) > _FEW_ARMS:
        estimates = {arm.name: estimates[arm.name] for arm in ranked}
    best = ranked[0]
    message = f"{best.label}: {percent(estimates[best.name].value)} of test images right"
    if len(ranked) > 1:
        message = _lead(view, best, ranked[1], estimates)
    drawing = plots.accuracy(estimates, view.styles, "Test accuracy")
    return finish(
        drawing,
        "fig-accuracy",
        message,
        f"{_n(view)}, {view.budget.words}. Bars: 95 % interval ({_interval_words(view)}). "
        "The scale does not begin at zero.",
    )


def _lead(view: StudyView, best: Arm, second: Arm, estimates: Mapping[str, plots.Estimate]) -> str:
    """How far the best is ahead: paired by seed where that can be, for two intervals that overlap do not mean
    "no difference"."""
    paired = difference(view, best, second, view.budget)
    # Where arms share only some seeds, these may say the opposite of all.
    if paired is not None and paired.interval is not None and paired.interval[1] >= 0:
        bounds = words.interval(paired.interval)
        return (
            f"{best.label} leads {second.label} by {100 * paired.effect:.1f} points ({bounds}, paired by "
            "seed)"
            if paired.interval[0] > 0
            else f"{best.label} and {second.label} cannot be told apart: {bounds} points, paired by seed"
        )
    if overlap(estimates[best.name], estimates[second.name]):
        return f"{best.label} and {second.label} are close: their intervals overlap"
    return (
        f"{best.label} leads {second.label} by "
        f"{100 * (estimates[best.name].value - estimates[second.name].value):.1f} points"
    )


def difference(view: StudyView, a: Arm, b: Arm, budget: LabelBudget) -> stats.PairedDifference | None:
    """Test accuracy of a less b at a label budget, paired by seed; None where they have no seed in common."""
    pairs = pair_by_seed(view.at(a.name, budget), view.at(b.name, budget))
    sides = [metric_values(side, "test_accuracy") for side in (pairs.a, pairs.b)]
    if not sides[0] or len(sides[0]) != len(sides[1]):
        return None
    return stats.paired_difference(sides[0], sides[1], resolution=1 / view.test_images)


def overlap(a: plots.Estimate, b: plots.Estimate) -> bool:
    """Whether two intervals have a value in common."""
    (a_low, a_high), (b_low, b_high) = a.interval or (a.value, a.value), b.interval or (b.value, b.value)
    return a_low <= b_high and b_low <= a_high


def _values(arm: Arm, metric: str) -> list[float]:
    return metric_values(arm.trials, metric)


def _curve_trials(view: StudyView) -> list[tuple[Arm, Trials]]:
    """Trials whose history can be drawn: those of the main phase that have one, else the arm's select
    trials."""
    found = []
    for arm in view.arms:
        own = [trial for trial in arm.trials if trial.history]
        if not any("val_accuracy" in row for trial in own for row in trial.history):
            other = [
                trial
                for trial in view.trials
                if trial.arm.name == arm.name
                and trial.history
                and trial.label_budget == view.budget
                and trial.phase == "select"
            ]
            own = other or own
        if own:
            found.append((arm, own))
    return found


def _curve(name: str, trial: FinishedTrial, axis: str) -> plots.Curve:
    def column(key: str) -> NDArray[np.float64]:
        return np.array([np.nan if row.get(key) is None else float(row[key]) for row in trial.history])

    return plots.Curve(arm=name, x=column(axis), train=column("train_accuracy"), val=column("val_accuracy"))


def learning(view: StudyView) -> list[Figure]:
    """Accuracy against epochs and against seconds; nothing where no trial kept a history."""
    sides = _curve_trials(view)
    curves = {
        axis: [_curve(arm.name, trial, axis) for arm, items in sides for trial in items]
        for axis in ("epoch", "seconds")
    }
    many = len(sides) > _FEW_ARMS
    if many:
        curves = {
            axis: [_together([c for c in every if c.arm == arm.name]) for arm, _ in sides]
            for axis, every in curves.items()
        }
    drawn = [c for c in curves["epoch"] if np.isfinite(c.val).any() or np.isfinite(c.train).any()]
    if not drawn:
        return []
    seen = {curve.arm for curve in drawn}
    sides = [(arm, items) for arm, items in sides if arm.name in seen]
    curves = {axis: [c for c in every if c.arm in seen] for axis, every in curves.items()}
    with_train = any(np.isfinite(c.train).any() for c in drawn)
    with_val = any(np.isfinite(c.val).any() for c in drawn)
    measure = (
        "Validation accuracy (thin: training)"
        if with_train and with_val
        else "Validation accuracy"
        if with_val
        else "Training accuracy"
    )
    seeds = max(len(items) for _, items in sides)
    lines = (
        f"Means of up to {seeds} seeds; bands: lowest to highest seed"
        if many and seeds > 1
        else "A line a seed"
        if seeds > 1
        else "One seed"
    )
    common = (
        f"{lines}. "
        + ("Marked lines: validation images, evaluated as training went. " if with_val else "")
        + (
            "Thin lines: training images as the network met them, augmentation and all. "
            if with_train
            else ""
        )
    )
    notes: dict[str, list[str]] = {}
    for arm, _ in sides:
        if epoch := stored_method(arm.stored.method).epoch_note:
            notes.setdefault(epoch, []).append(arm.label)
    note = "".join(f"For {words.listing(labels)} {epoch} " for epoch, labels in notes.items())
    last = {
        arm.label: float(np.mean(values))
        for arm, items in sides
        if (values := [value for trial in items if (value := _last(trial, "val_accuracy")) is not None])
    }
    if len(last) > 2:
        best = max(last, key=lambda label: last[label])
        last = {best: last[best]}
    ends = words.listing([f"{label} at {percent(value)}" for label, value in last.items()])
    figures = [
        finish(
            plots.learning_curves(curves["epoch"], view.styles, "epoch", measure),
            "fig-curves-epochs",
            f"After the last epoch: {ends}" if ends else "Accuracy by epoch",
            common + note,
        )
    ]
    if any(np.isfinite(c.x).any() for c in curves["seconds"]):
        marks = _marks(view, sides)
        drawing = plots.learning_curves(
            curves["seconds"], view.styles, "seconds since the start", measure, marks
        )
        figures.append(
            finish(
                drawing,
                "fig-curves-seconds",
                _first_there(view, sides),
                common + "Seconds are cold: a frozen backbone's curve begins when its features are "
                f"computed.{clocks(view, sides)}",
            )
        )
    return figures


def _together(curves: Sequence[plots.Curve]) -> plots.Curve:
    """The seeds of one arm as their mean with the lowest and highest, as far as all of them go; training
    images left out."""
    rows = min(len(c.x) for c in curves)
    x, val = (np.array([getattr(c, name)[:rows] for c in curves]) for name in ("x", "val"))
    return plots.Curve(
        arm=curves[0].arm,
        x=x.mean(axis=0),
        val=val.mean(axis=0),
        train=np.full(rows, np.nan),
        low=val.min(axis=0) if len(curves) > 1 else None,
        high=val.max(axis=0) if len(curves) > 1 else None,
    )


def _last(trial: FinishedTrial, key: str) -> float | None:
    values = [row[key] for row in trial.history if row.get(key) is not None]
    return values[-1] if values else None


def _reach(items: Trials, target: float, cost: str) -> float | None:
    """Mean cost over the seeds until validation reaches the target; None unless every seed reaches it."""
    reached = [time_to_accuracy(trial.history, target) for trial in items]
    values = [value for r in reached if r is not None and (value := r[cost]) is not None]
    return float(np.mean(values)) if values and len(values) == len(items) else None


def _range(items: Trials, target: float) -> tuple[float, float] | None:
    """The fastest and slowest seed's seconds to the target; None with one seed, or where some seed never
    reached it."""
    reached = [time_to_accuracy(trial.history, target) for trial in items]
    seconds = [r["seconds"] for r in reached if r is not None and r["seconds"] is not None]
    return (min(seconds), max(seconds)) if len(seconds) == len(items) > 1 else None


def _first_there(view: StudyView, sides: Sequence[tuple[Arm, Trials]]) -> str:
    for target in reversed(targets(view)) if _one_machine(sides) else ():
        times = {arm.label: s for arm, items in sides if (s := _reach(items, target, "seconds")) is not None}
        if len(times) > 1:
            order = sorted(times, key=lambda label: times[label])
            first, second = (times[label] for label in order[:2])
            told = [short_duration(first), short_duration(second)]
            if told[0] == told[1]:
                told = [f"{first:,.1f}\u202fs", f"{second:,.1f}\u202fs"]
            return (
                f"{order[0]} is first at {100 * target:g} %: {told[0]} against {told[1]}"
                if told[0] != told[1]
                else f"{order[0]} and {order[1]} reach {100 * target:g} % after the same {told[0]}"
            )
    return (
        "Accuracy by wall-clock time"
        if _one_machine(sides)
        else "Times of different machines: each line speaks for itself"
    )


def targets(view: StudyView) -> list[float]:
    """Up to four round validation accuracies worth timing: from below the weakest side's end to below the
    best's."""
    best = [
        max(values)
        for _, items in _curve_trials(view)
        if (
            values := [
                row["val_accuracy"]
                for trial in items
                for row in trial.history
                if row.get("val_accuracy") is not None
            ]
        )
    ]
    if not best:
        return []
    below = [t for t in _SHARE_TARGETS if t <= max(best)]
    if (
        len(best) > _FEW_ARMS
    ):  # a hopeless arm among many must not leave the others without a target in common
        marks = [
            max((t for t in below if sum(b >= t for b in best) >= n), default=None)
            for n in (-(-len(best) // 2), 3, 2, 1)
        ]
        return sorted({t for t in marks if t is not None})
    shared = [t for t in below if t <= min(best)]
    chosen = shared[-2:] + [t for t in below if t > min(best)][-2:]
    return (chosen if len(chosen) == 4 else (shared + [t for t in below if t > min(best)])[-4:]) or below[-4:]


def time_rows(view: StudyView) -> list[dict]:
    """A row a target and arm: mean cold seconds, epochs and FLOPs until validation reaches it, or None."""
    rows, sides = [], _curve_trials(view)
    marks = _marks(view, sides)
    for target in targets(view):
        for arm, items in sides:
            costs = {cost: _reach(items, target, cost) for cost in ("seconds", "epochs", "flops")}
            reached = sum(time_to_accuracy(trial.history, target) is not None for trial in items)
            rows.append(
                {
                    "target": target,
                    "arm": arm,
                    "reached": reached,
                    "seeds": len(items),
                    "range": _range(items, target),
                    "machine": marks[arm.name],
                    **costs,
                }
            )
    return rows


def times(view: StudyView) -> Figure | None:
    """Seconds to each target accuracy; None where no validation accuracy was kept."""
    rows, chosen = time_rows(view), targets(view)
    arms = list(dict.fromkeys(row["arm"].name for row in rows))
    if not chosen or not any(row["seconds"] for row in rows):
        return None
    seconds = {name: [row["seconds"] for row in rows if row["arm"].name == name] for name in arms}
    top = chosen[-1]
    there = {view.styles[name].label: row[-1] for name, row in seconds.items() if row[-1] is not None}
    never = [view.styles[name].label for name, row in seconds.items() if row[-1] is None]
    first = min(there, key=lambda label: there[label] or 0) if there else None
    if never and there and len(there) == 1:
        message = f"Only {first} reaches {100 * top:g} % on validation"
    elif first and len(there) > 1 and _one_machine(_curve_trials(view)):
        message = f"{first} reaches {100 * top:g} % first"
    else:
        message = "Time until validation accuracy first reaches a target"
    drawing = plots.time_to_accuracy(
        chosen,
        {name: [_time(row) for row in rows if row["arm"].name == name] for name in arms},
        view.styles,
        "Time to validation accuracy (log scale)",
        {row["arm"].name: row["machine"] for row in rows},
    )
    seeds = max(row["seeds"] for row in rows)
    return finish(
        drawing,
        "fig-time",
        message,
        "Cold wall-clock time, feature extraction included, until validation accuracy was first read at or "
        "above the "
        "target; nothing interpolated. "
        + (f"Means over up to {seeds} seeds; bars: fastest to slowest seed." if seeds > 1 else "One seed.")
        + clocks(view, _curve_trials(view)),
    )


def _time(row: dict) -> plots.TimeToTarget | None:
    seconds = row["seconds"]
    return None if seconds is None else plots.TimeToTarget(seconds=seconds, seed_range=row["range"])


def cost(view: StudyView) -> Figure:
    """Where each arm's seconds went."""
    seconds = {arm.name: _mean_seconds(arm) for arm in view.arms}
    totals = {arm.label: math.fsum(seconds[arm.name].values()) for arm in view.arms}
    order = sorted(totals, key=lambda label: totals[label])
    message = (
        f"{order[0]}: {short_duration(totals[order[0]])} in all"
        if view.one_machine
        else "Where each arm's time went"
    )
    if len(order) > 1 and totals[order[0]] > 0 and view.one_machine:
        message = f"{order[-1]} takes {totals[order[-1]] / totals[order[0]]:.1f} times as long as {order[0]}"
    drawing = plots.cost_by_phase(
        seconds, view.styles, "Wall-clock seconds, cold, by phase", machines.main_marks(view)
    )
    sides = [(arm, list(arm.trials)) for arm in view.arms]
    measured = f" Measured on: {'; '.join(words.machines([trial for _, items in sides for trial in items]))}."
    return finish(
        drawing,
        "fig-cost",
        message,
        "Everything a trial needs from an empty cache, data download aside; mean over seeds."
        + (measured if view.one_machine else clocks(view, sides)),
    )


Sides = Sequence[tuple[Arm, Trials]]  # the trials whose times a figure shows, by arm


def _one_machine(sides: Sides) -> bool:
    return one_machine(trial for _, items in sides for trial in items)


def _marks(view: StudyView, sides: Sides) -> dict[str, str]:
    """By arm the letters of the machines of these trials; all "" where these ran on one."""
    return {arm.name: "" if _one_machine(sides) else machines.mark(view, items) for arm, items in sides}


def clocks(view: StudyView, sides: Sides) -> str:
    """What a caption of times must add where arms ran on different machines."""
    told = machines.marks_of(view, [trial for _, items in sides for trial in items])
    return (
        f" Not all arms ran on the same machine: times of different machines do not compare. Letters: {told}."
        if told
        else ""
    )


def one_clock(view: StudyView) -> bool:
    """Whether the trials with learning curves ran on one machine; of a refit study they are others than its
    main ones."""
    return _one_machine(_curve_trials(view))


def clock_marks(view: StudyView) -> str:
    """What the letters behind the times to a target stand for, "" where one machine measured all of them."""
    told = machines.marks_of(view, [trial for _, items in _curve_trials(view) for trial in items])
    return f"Machines: {told}. {machines.APART}" if told else ""


def _mean_seconds(arm: Arm) -> dict[str, float]:
    phases = list(dict.fromkeys(phase for trial in arm.trials for phase in trial.cost.seconds))
    means = {
        phase: float(np.mean([trial.cost.seconds.get(phase, 0.0) for trial in arm.trials]))
        for phase in phases
    }
    return {phase: s for phase, s in means.items() if s >= 0.05} or means


def confusions(view: StudyView) -> list[Figure]:
    """Each arm's confusion matrix, rows normalised, seeds averaged; one scale for all."""
    figures = []
    for arm in view.arms:
        counts = np.sum([metrics.confusion_matrix(t.logits, t.labels) for t in arm.tests], axis=0)
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
        off = np.nan_to_num(shares) * (1 - np.eye(len(shares)))
        i, j = np.unravel_index(int(off.argmax()), off.shape)
        names = view.class_names
        message = (
            f"{arm.label}: {percent(off[i, j], 0)} of “{names[i]}” images are taken for “{names[j]}”"
            if off[i, j] > 0
            else f"{arm.label}: no confusion at all"
        )
        seeds = f", {len(arm.tests)} seeds together" if len(arm.tests) > 1 else ""
        drawing = plots.confusion(
            shares,
            names,
            arm.label
            + (": " if len(arm.label) <= 22 else "\n")
            + "share of each true class"
            + (" (%)" if len(names) <= 20 else ""),
        )
        figures.append(
            finish(
                drawing,
                f"fig-confusion-{words.anchor(arm.name)}",
                message,
                f"{_n(view)}{seeds}. Each row adds up to 100 %"
                + (
                    "; cells of 0.5 % or less carry no number"
                    if len(names) <= 20
                    else "; class numbers follow the data set's order"
                )
                + ". Ink grows with the square root of the share, on one scale for every arm.",
            )
        )
    return figures


def by_class(view: StudyView) -> Figure:
    """Recall by class, arms side by side; of many classes those where the arms differ most."""
    names = view.class_names
    recalls = {
        arm.name: np.array([metrics.per_class(t.logits, t.labels, names)["recall"] for t in arm.tests])
        for arm in view.arms
    }
    support = np.bincount(view.arms[0].tests[0].labels, minlength=len(names))
    means = np.array([r.mean(axis=0) for r in recalls.values()])
    there = support > 0
    gap = np.where(there, np.nan_to_num(means).max(axis=0) - np.nan_to_num(means).min(axis=0), -1)
    low = np.where(there, np.nan_to_num(means).mean(axis=0), 2)
    chosen = np.flatnonzero(there)
    cut = ""
    if len(chosen) > _MOST_CLASSES:
        chosen = np.sort(np.argsort(-gap if len(view.arms) > 1 else low, kind="stable")[:_MOST_CLASSES])
        cut = (
            f"The {_MOST_CLASSES} of {len(names)} classes where the arms differ most are drawn. "
            if len(view.arms) > 1
            else f"The {_MOST_CLASSES} hardest of {len(names)} classes are drawn. "
        )
    if len(view.arms) > 1:
        widest = int(gap.argmax())
        order = np.argsort(-means[:, widest], kind="stable")
        a, b = view.arms[order[0]], view.arms[order[-1]]
        message = (
            f"Widest apart on “{names[widest]}”: {a.label} {percent(means[order[0], widest], 0)}, "
            f"{b.label} {percent(means[order[-1], widest], 0)}"
        )
    else:
        message = f"Hardest class: “{names[int(low.argmin())]}”, {percent(float(low.min()), 0)} found"
    values = {
        name: [estimate([float(v) for v in r[:, c]], int(support[c])) for c in chosen]
        for name, r in recalls.items()
    }
    drawing = plots.by_class(
        [names[c] for c in chosen], values, view.styles, "Recall: share of a class's images found"
    )
    per = (
        f"{support[there].min():,}"
        if support[there].min() == support[there].max()
        else f"{support[there].min():,} to {support[there].max():,}"
    )
    return finish(
        drawing,
        "fig-classes",
        message,
        f"{cut}n = {per} test images a class. Lines: 95 % interval (t over seeds where they differ, else "
        "Wilson over "
        "the class's images).",
    )
