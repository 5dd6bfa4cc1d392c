"""The report's part on other images than the test set's own: corrupted ones, and shift sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart import plots, store
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from headstart.evaluation.records import (
    ROBUSTNESS,
    Corrupted,
    Measured,
    RobustAccuracy,
    mean_difference,
    read_arrays,
    read_corrupted,
    read_shifted,
    robust_accuracy,
)
from headstart.plots import percent
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView, data_uri
from headstart.report.sections.figure import finish
from headstart.report.sections.tables import Cell

_GAP_PIXELS = 1


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One corruption on the sheet: a row of images an example, uncorrupted and at severities 1 to 5."""

    title: str
    family: str
    image: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class ArmRow:
    arm: Arm
    clean: Cell
    mean: Cell
    drop: Cell
    relative_drop: Cell


@dataclass(frozen=True, kw_only=True)
class CorruptionRow:
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """Everything that the template needs of the robustness step."""

    images: int
    lead: str
    arms: tuple[Arm, ...]
    rows: tuple[ArmRow, ...]
    by_corruption: tuple[CorruptionRow, ...]
    figures: tuple[Figure, ...]
    strips: tuple[Strip, ...]
    left_out: int  # readings of other settings than the others'
    missing: tuple[str, ...]  # labels of arms that the study asks for and that were not read


def robustness(view: StudyView) -> Section | None:
    """Accuracy under the 15 corruptions; None where the step was not run for any trial that the report
    shows."""
    arms = {trial.key: arm for arm in view.arms for trial in arm.trials}
    readings = sorted(
        (each for each in read_corrupted(view.folder) if each.key in arms),
        key=lambda each: arms[each.key].place,
    )
    if not readings:
        return None
    # Readings of different images do not compare: the settings that most arms share are shown.
    groups: dict[str, list[Corrupted]] = {}
    for each in readings:
        groups.setdefault(store.digest(each.settings), []).append(each)
    shown = max(
        groups.values(),
        key=lambda group: (len(group), group[0].settings["images"], -group[0].settings["seed"]),
    )
    accuracies = {arms[each.key].name: robust_accuracy(each) for each in shown}
    here = tuple(arms[each.key] for each in shown)
    images = len(shown[0].clean.labels)
    step = view.study.robustness
    planned = (step.arms or tuple(view.styles)) if step else ()  # none named: all
    return Section(
        images=images,
        lead=_lead(here, shown, accuracies),
        arms=here,
        rows=tuple(_row(arm, accuracies[arm.name]) for arm in here),
        by_corruption=tuple(
            CorruptionRow(
                title=each.title, cells=tuple(_cell(accuracies[arm.name].by_corruption[name]) for arm in here)
            )
            for name, each in CORRUPTIONS.items()
        ),
        figures=(
            _corruption_figure(view, here, accuracies, images),
            _severity_figure(view, here, accuracies, images),
        ),
        strips=_strips(view),
        left_out=len(readings) - len(shown),
        missing=tuple(view.styles[name].label for name in planned if name not in accuracies),
    )


def _cell(measured: Measured) -> Cell:
    return Cell(text=words.minus(words.share(measured.value)), note=words.interval(measured.interval))


def _points(measured: Measured) -> Cell:
    return Cell(text=words.minus(f"{100 * measured.value:.1f}"), note=words.interval(measured.interval))


def _row(arm: Arm, accuracy: RobustAccuracy) -> ArmRow:
    return ArmRow(
        arm=arm,
        clean=_cell(accuracy.clean),
        mean=_cell(accuracy.mean),
        drop=_points(accuracy.drop),
        relative_drop=_cell(accuracy.relative_drop),
    )


def _lead(arms: tuple[Arm, ...], shown: list[Corrupted], accuracies: dict[str, RobustAccuracy]) -> str:
    order = sorted(range(len(arms)), key=lambda k: -accuracies[arms[k].name].mean.value)
    best = arms[order[0]]
    lead = (
        f"Over 15 corruptions at five severities {best.label} gets "
        f"{percent(accuracies[best.name].mean.value)} of the images right, "
        f"{percent(accuracies[best.name].clean.value)} of the same images as they are."
    )
    if len(arms) < 2:
        return lead
    other = arms[order[1]]
    gap = mean_difference(shown[order[0]], shown[order[1]])
    message = f"{100 * gap.value:.1f} points ahead" if gap.interval[0] > 0 else "not clearly ahead"
    return (
        f"{lead} {other.label}: {percent(accuracies[other.name].mean.value)} and "
        f"{percent(accuracies[other.name].clean.value)}. "
        f"Under corruption the first is {message} (95 % interval of the difference over images "
        f"{words.interval(gap.interval)} points)."
    )


def _estimate(measured: Measured) -> plots.Estimate:
    return plots.Estimate(value=measured.value, interval=measured.interval)


def _corruption_figure(
    view: StudyView, arms: tuple[Arm, ...], accuracies: dict[str, RobustAccuracy], images: int
) -> Figure:
    values = {
        arm.name: [_estimate(accuracies[arm.name].by_corruption[name]) for name in CORRUPTIONS]
        for arm in arms
    }
    hardest = {
        arm.name: min(CORRUPTIONS, key=lambda name: accuracies[arm.name].by_corruption[name].value)
        for arm in arms[:3]
    }
    descriptions = [
        f"{CORRUPTIONS[hardest[arm.name]].title} for {arm.label} "
        f"({percent(accuracies[arm.name].by_corruption[hardest[arm.name]].value, 0)} right)"
        for arm in arms[:3]
    ]
    message = f"Hardest: {words.listing(descriptions)}"
    titles = [each.title for each in CORRUPTIONS.values()]
    drawing = plots.by_class(titles, values, view.styles, "Accuracy, mean of five severities")
    return finish(
        drawing,
        "fig-corruptions",
        message,
        f"n = {images:,} test images, each in five corrupted copies a row. Lines: 95 % bootstrap interval "
        "over "
        "images, one trained model an arm. From noise over blur and weather to digital.",
    )


def _severity_figure(
    view: StudyView, arms: tuple[Arm, ...], accuracies: dict[str, RobustAccuracy], images: int
) -> Figure:
    values = {
        arm.name: [
            _estimate(each) for each in (accuracies[arm.name].clean, *accuracies[arm.name].by_severity)
        ]
        for arm in arms
    }
    falls = {
        arm.label: 100 * (accuracies[arm.name].clean.value - accuracies[arm.name].by_severity[-1].value)
        for arm in arms
    }
    order = sorted(falls, key=lambda label: falls[label])
    message = f"{order[0]} loses {falls[order[0]]:.0f} points up to the highest severity"
    if len(order) > 1:
        message += f", {order[-1]} {falls[order[-1]]:.0f}"
    ticks = ["as it is", *map(str, SEVERITIES)]
    drawing = plots.accuracy_by_severity(values, ticks, view.styles, "Accuracy, mean of 15 corruptions")
    caption = (
        f"n = {images:,} test images, each in 15 corrupted copies a step. Bars: 95 % bootstrap interval over "
        "images."
    )
    return finish(drawing, "fig-severity", message, caption)


def _strips(view: StudyView) -> tuple[Strip, ...]:
    sheet = read_arrays(view.folder / ROBUSTNESS / "sheet.npz")
    if not {"clean", "corrupted"} <= set(sheet):
        return ()
    strips = []
    for each, rows in zip(CORRUPTIONS.values(), sheet["corrupted"], strict=True):
        strip = _beside([sheet["clean"], *rows])
        strips.append(
            Strip(
                title=each.title,
                family=each.family,
                image=data_uri(strip),
                width=strip.shape[1],
                height=strip.shape[0],
            )
        )
    return tuple(strips)


def _beside(columns: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Images (N, H, W, 3) a column, in one image with white lines between."""
    gap = ((0, _GAP_PIXELS), (0, _GAP_PIXELS), (0, 0))
    stacked = [
        np.concatenate([np.pad(image, gap, constant_values=255) for image in column]) for column in columns
    ]
    return np.concatenate(stacked, axis=1)[:-_GAP_PIXELS, :-_GAP_PIXELS]


@dataclass(frozen=True, kw_only=True)
class ShiftRow:
    arm: Arm
    test: str
    accuracy: Cell
    drop: Cell


@dataclass(frozen=True, kw_only=True)
class ShiftTable:
    name: str
    images: int
    classes: int
    rows: tuple[ShiftRow, ...]


def shifts(view: StudyView) -> list[ShiftTable]:
    """Accuracy and its drop on each shift set, for the trials that the report shows."""
    arms = {trial.key: arm for arm in view.arms for trial in arm.trials}
    readings = [each for each in read_shifted(view.folder) if each.key in arms]
    tables = []
    for name in dict.fromkeys(each.set_name for each in readings):
        of_set = sorted(
            (each for each in readings if each.set_name == name), key=lambda each: arms[each.key].place
        )
        rows = []
        for each in of_set:
            rows.append(
                ShiftRow(
                    arm=arms[each.key],
                    test=words.share(each.test_right / each.test_images),
                    accuracy=_cell(each.accuracy),
                    drop=_points(each.drop),
                )
            )
        tables.append(
            ShiftTable(name=name, images=of_set[0].images, classes=of_set[0].classes, rows=tuple(rows))
        )
    return tables
