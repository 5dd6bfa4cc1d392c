"""Learning curves, and the time until a validation accuracy is first reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart import plots
from headstart.plots import percent, short_duration
from headstart.registry.methods import stored_method
from headstart.report import machines, words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView, Trials
from headstart.report.sections.accuracy import FEW_ARMS
from headstart.report.sections.choice import in_figures
from headstart.report.sections.figure import finish
from headstart.results.efficiency import bracket_to_accuracy
from headstart.results.pairing import one_machine
from headstart.store import FinishedTrial

_SHARE_TARGETS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
Bracket = tuple[float, float]  # a cost at the evaluation before, and at the first that reads so much
Sides = Sequence[tuple[Arm, Trials]]  # the trials whose times a figure shows, by arm


def curve_trials(view: StudyView) -> list[tuple[Arm, Trials]]:
    """Trials whose history can be drawn: those of the main phase that have one, else the arm's select
    trials."""
    sides = []
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
            sides.append((arm, own))
    return sides


def _curve(name: str, trial: FinishedTrial, axis: str) -> plots.Curve:
    def column(key: str) -> NDArray[np.float64]:
        return np.array([np.nan if row.get(key) is None else float(row[key]) for row in trial.history])

    return plots.Curve(arm=name, x=column(axis), train=column("train_accuracy"), val=column("val_accuracy"))


def learning(view: StudyView) -> list[Figure]:
    """Accuracy against epochs and against seconds, at most six arms in a figure; nothing where no trial kept
    a
    history."""
    sides, curves = _curves(view)
    figures = []
    for suffix, names in in_figures(view, [arm.name for arm, _ in sides]):
        own = {axis: [curve for curve in every if curve.arm in names] for axis, every in curves.items()}
        figures += _pair(view, [side for side in sides if side[0].name in names], own, suffix)
    return figures


def _pair(
    view: StudyView, sides: Sides, curves: Mapping[str, list[plots.Curve]], suffix: str
) -> list[Figure]:
    """The figure over epochs, and the one over seconds where seconds were kept."""
    if not sides:
        return []
    drawn = curves["epoch"]
    with_train = any(np.isfinite(curve.train).any() for curve in drawn)
    with_val = any(np.isfinite(curve.val).any() for curve in drawn)
    measure = (
        "Validation accuracy (thin: training)"
        if with_train and with_val
        else "Validation accuracy"
        if with_val
        else "Training accuracy"
    )
    seeds = max(len(trials) for _, trials in sides)
    common = _seeds_in_words(len(curve_trials(view)) > FEW_ARMS, seeds)
    common += "Marked lines: validation images, evaluated as training went. " if with_val else ""
    common += (
        "Thin lines: training images as the network met them, augmentation and all. " if with_train else ""
    )
    ends = _ends(sides)
    figures = [
        finish(
            plots.learning_curves(curves["epoch"], view.styles, "epoch", measure),
            f"fig-curves-epochs{suffix}",
            f"After the last epoch: {ends}" if ends else "Accuracy by epoch",
            common + _epoch_notes(sides),
        )
    ]
    if any(np.isfinite(curve.x).any() for curve in curves["seconds"]):
        marks = _marks(view, sides)
        figures.append(
            finish(
                plots.learning_curves(
                    curves["seconds"], view.styles, "seconds since the start", measure, marks
                ),
                f"fig-curves-seconds{suffix}",
                _first_there(view, sides),
                common + "Seconds are cold: a frozen backbone's curve begins when its features are "
                f"computed.{clocks(view, sides)}",
            )
        )
    return figures


def _curves(view: StudyView) -> tuple[list[tuple[Arm, Trials]], dict[str, list[plots.Curve]]]:
    """The arms that have a curve, with their trials; by axis the curves: of many arms one an arm."""
    sides = curve_trials(view)
    curves = {
        axis: [_curve(arm.name, trial, axis) for arm, trials in sides for trial in trials]
        for axis in ("epoch", "seconds")
    }
    if len(sides) > FEW_ARMS:
        curves = {
            axis: [_together([curve for curve in every if curve.arm == arm.name]) for arm, _ in sides]
            for axis, every in curves.items()
        }
    seen = {c.arm for c in curves["epoch"] if np.isfinite(c.val).any() or np.isfinite(c.train).any()}
    sides = [(arm, trials) for arm, trials in sides if arm.name in seen]
    return sides, {axis: [curve for curve in every if curve.arm in seen] for axis, every in curves.items()}


def _seeds_in_words(together: bool, seeds: int) -> str:
    if seeds == 1:
        return "One seed. "
    return f"Means of up to {seeds} seeds; bands: lowest to highest seed. " if together else "A line a seed. "


def _epoch_notes(sides: Sides) -> str:
    """What an epoch is for methods that say so."""
    notes: dict[str, list[str]] = {}
    for arm, _ in sides:
        if epoch := stored_method(arm.stored.method).epoch_note:
            notes.setdefault(epoch, []).append(arm.label)
    return "".join(f"For {words.listing(labels)} {epoch} " for epoch, labels in notes.items())


def _ends(sides: Sides) -> str:
    """Validation accuracy after the last epoch, of all arms or of the best of more than two."""
    last = {
        arm.label: float(np.mean(values))
        for arm, trials in sides
        if (values := [v for trial in trials if (v := _last(trial, "val_accuracy")) is not None])
    }
    if len(last) > 2:
        best = max(last, key=lambda label: last[label])
        last = {best: last[best]}
    return words.listing([f"{label} at {percent(value)}" for label, value in last.items()])


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


def _reach(items: Trials, target: float, cost: str) -> Bracket | None:
    """Mean over the seeds of the bracket of the cost until validation reaches the target; None unless every
    seed
    reaches it."""
    brackets = [bracket_to_accuracy(trial.history, target, cost) for trial in items]
    reached = [bracket for bracket in brackets if bracket is not None]
    if not reached or len(reached) < len(items):
        return None
    return float(np.mean([low for low, _ in reached])), float(np.mean([high for _, high in reached]))


def _range(items: Trials, target: float) -> Bracket | None:
    """From the earliest seed's low end of the seconds to the target to the latest seed's high end; None
    where some
    seed never reached it."""
    brackets = [bracket_to_accuracy(trial.history, target, "seconds") for trial in items]
    reached = [bracket for bracket in brackets if bracket is not None]
    if not reached or len(reached) < len(items):
        return None
    return min(low for low, _ in reached), max(high for _, high in reached)


def _earliest(times: Mapping[str, Bracket]) -> str | None:
    """Whose bracket ends before every other one begins; None where the brackets give no such order."""
    first = min(times, key=lambda label: times[label][1])
    later = (low for label, (low, _) in times.items() if label != first)
    return first if all(times[first][1] < low for low in later) else None


def _first_there(view: StudyView, sides: Sequence[tuple[Arm, Trials]]) -> str:
    if not _one_machine(sides):
        return "Times of different machines: each line speaks for itself"
    for target in reversed(targets(view)):
        times = {arm.label: span for arm, items in sides if (span := _range(items, target)) is not None}
        if len(times) > 1:
            if (first := _earliest(times)) is None:
                return f"No order at {100 * target:g} %: the evaluations around it overlap in time"
            return f"{first} is first at {100 * target:g} %: {words.between(times[first], short_duration)}"
    return "Accuracy by wall-clock time"


def targets(view: StudyView) -> list[float]:
    """Up to four round validation accuracies worth timing: from below the weakest side's end to below the
    best's."""
    best = [
        max(values)
        for _, items in curve_trials(view)
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
    if len(best) > FEW_ARMS:  # a hopeless arm among many must not leave the others without a target in common
        marks = [
            max((t for t in below if sum(b >= t for b in best) >= n), default=None)
            for n in (-(-len(best) // 2), 3, 2, 1)
        ]
        return sorted({t for t in marks if t is not None})
    shared = [t for t in below if t <= min(best)]
    chosen = shared[-2:] + [t for t in below if t > min(best)][-2:]
    return (chosen if len(chosen) == 4 else (shared + [t for t in below if t > min(best)])[-4:]) or below[-4:]


@dataclass(frozen=True, kw_only=True)
class TimeRow:
    """Between which cold costs an arm's validation accuracy first reached a target (0..1), means over its
    seeds; None
    where a seed never did.

    reached: how many of the seeds did. range: seconds, over all seeds."""

    target: float
    arm: Arm
    reached: int
    seeds: int
    range: Bracket | None
    machine: str
    seconds: Bracket | None
    epochs: Bracket | None
    flops: Bracket | None


def time_rows(view: StudyView) -> list[TimeRow]:
    """A row a target and arm."""
    sides = curve_trials(view)
    marks = _marks(view, sides)
    return [
        TimeRow(
            target=target,
            arm=arm,
            reached=sum(bracket_to_accuracy(trial.history, target, "epoch") is not None for trial in trials),
            seeds=len(trials),
            range=_range(trials, target),
            machine=marks[arm.name],
            seconds=_reach(trials, target, "seconds"),
            epochs=_reach(trials, target, "epoch"),
            flops=_reach(trials, target, "flops"),
        )
        for target in targets(view)
        for arm, trials in sides
    ]


def times(view: StudyView) -> Figure | None:
    """Seconds to each target accuracy; None where no validation accuracy was kept."""
    rows, chosen = time_rows(view), targets(view)
    arms = list(dict.fromkeys(row.arm.name for row in rows))
    if not chosen or not any(row.seconds for row in rows):
        return None
    top = chosen[-1]
    there = {row.arm.label: row.range for row in rows if row.target == top and row.range is not None}
    never = [row.arm.label for row in rows if row.target == top and row.range is None]
    first = _earliest(there) if there else None
    if never and first and len(there) == 1:
        message = f"Only {first} reaches {100 * top:g} % on validation"
    elif first and len(there) > 1 and _one_machine(curve_trials(view)):
        message = f"{first} reaches {100 * top:g} % first"
    else:
        message = "Time until validation accuracy first reaches a target"
    drawing = plots.time_to_accuracy(
        chosen,
        {name: [_time(row) for row in rows if row.arm.name == name] for name in arms},
        view.styles,
        "Time to validation accuracy (log scale)",
        {row.arm.name: row.machine for row in rows},
    )
    seeds = max(row.seeds for row in rows)
    return finish(
        drawing,
        "fig-time",
        message,
        "Cold wall-clock time, feature extraction included, until validation accuracy was first read at or "
        "above the target. Bars: from the evaluation before to that one"
        + (f", over up to {seeds} seeds" if seeds > 1 else "; one seed")
        + "; where bars overlap there is no order."
        + clocks(view, curve_trials(view)),
    )


def _time(row: TimeRow) -> plots.TimeToTarget | None:
    seconds = row.seconds
    return None if seconds is None else plots.TimeToTarget(seconds=seconds[1], seed_range=row.range)


def _one_machine(sides: Sides) -> bool:
    return one_machine(trial for _, items in sides for trial in items)


def _marks(view: StudyView, sides: Sides) -> dict[str, str]:
    """By arm the letters of the machines of these trials; all "" where these ran on one."""
    return {arm.name: "" if _one_machine(sides) else machines.mark(view, items) for arm, items in sides}


def clocks(view: StudyView, sides: Sides) -> str:
    """What a caption of times must add where arms ran on different machines."""
    letters = machines.marks_of(view, [trial for _, items in sides for trial in items])
    return (
        " Not all arms ran on the same machine: times of different machines do not compare. "
        f"Letters: {letters}."
        if letters
        else ""
    )


def one_clock(view: StudyView) -> bool:
    """Whether the trials with learning curves ran on one machine; of a refit study they are others than its
    main ones."""
    return _one_machine(curve_trials(view))


def clock_marks(view: StudyView) -> str:
    """What the letters behind the times to a target stand for, "" where one machine measured all of them."""
    letters = machines.marks_of(view, [trial for _, items in curve_trials(view) for trial in items])
    return f"Machines: {letters}. {machines.APART}" if letters else ""
