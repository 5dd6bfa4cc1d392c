"""The arms side by side: a measure a row, an arm a column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.report import machines, words
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections.tables import Cell
from headstart.results import headline

if TYPE_CHECKING:
    import pandas as pd

_ALWAYS = ("Energy",)  # shown as "n/a" where nothing measures it


@dataclass(frozen=True, kw_only=True)
class Row:
    title: str
    hint: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class _Means:
    """The arms' rows of `headline.comparison_table`, in the report's order."""

    arms: Sequence[pd.Series[Any]]

    def line(
        self, title: str, column: str, show: Callable[[float | None], str], hint: str = "", better: int = 0
    ) -> Row:
        """A column of the table as a row. better: 1 where more is better, -1 where less is, 0 for neither."""
        values = [None if np.isnan(arm[column]) else float(arm[column]) for arm in self.arms]
        return _row(title, hint, values, [show(value) for value in values], better)


def comparison(view: StudyView) -> list[Group]:
    """Measures by row, arms by column, grouped: what they reach, how far to trust it, what it cost."""
    table = headline.comparison_table(view.trials)
    of_main = (table["labels_per_class"] == view.budget.toml) & (table["phase"] == view.arms[0].first.phase)
    main = table[of_main].set_index("arm")
    means = _Means([main.loc[arm.name] for arm in view.arms])
    groups = {
        "What they reach": _accuracies(view, means),
        "How far to trust their confidence": _calibration(means),
        "What it cost": _costs(view, means),
    }
    return [
        Group(
            title=title,
            rows=tuple(
                row for row in rows if row.title in _ALWAYS or any(c.text != words.NONE for c in row.cells)
            ),
        )
        for title, rows in groups.items()
    ]


def _share(value: float | None) -> str:
    return words.share(value, 2)


def _accuracies(view: StudyView, means: _Means) -> list[Row]:
    test = means.line("Test accuracy", "test_accuracy", _share, "95 % interval over seeds", +1)
    noted = [
        dataclasses.replace(cell, note=_seed_note(row, arm))
        for cell, row, arm in zip(test.cells, means.arms, view.arms, strict=True)
    ]
    one_model = [
        estimate([arm.first.metrics["test_accuracy"] or 0.0], view.test_images).interval for arm in view.arms
    ]
    return [
        dataclasses.replace(test, cells=tuple(noted)),
        Row(
            title="… over test images",
            hint="95 % Wilson interval, first seed's model alone",
            cells=tuple(Cell(text=words.interval(each, 2) if each else words.NONE) for each in one_model),
        ),
        means.line(
            "… flip-averaged",
            "test_flip_accuracy",
            _share,
            "mean of an image's and its mirror image's logits",
            +1,
        ),
        means.line("Top-5 accuracy", "test_top5_accuracy", _share, better=+1),
        means.line("Macro F1", "test_macro_f1", _share, better=+1),
        means.line("Validation accuracy", "val_accuracy", _share, better=+1),
        means.line("Training accuracy", "train_accuracy", _share, "a fixed sample of training images"),
        means.line("Generalization gap", "generalization_gap", words.points, "training less test accuracy"),
    ]


def _calibration(means: _Means) -> list[Row]:
    ece, scaled = "15 bins of equally many images", "one temperature, fitted on validation images"
    return [
        means.line("Negative log-likelihood", "test_nll", words.number, "nats an image", -1),
        means.line("… temperature-scaled", "test_nll_calibrated", words.number, scaled, -1),
        means.line("Expected calibration error", "test_ece", _share, ece, -1),
        means.line("… temperature-scaled", "test_ece_calibrated", _share, scaled, -1),
        means.line("Brier score", "test_brier", words.number, "", -1),
    ]


def _costs(view: StudyView, means: _Means) -> list[Row]:
    line = means.line
    measured = -1 if view.one_machine else 0  # what a machine decides has no best side across machines
    stored = "stored features read again, not computed again"
    return [
        _marked(view, line("Time, cold", "seconds", words.duration, "from an empty cache", measured)),
        _marked(view, line("Time spent", "spent_seconds", words.duration, stored, measured)),
        *_phases(view),
        line("Floating-point operations", "flops", words.flops, "counted", -1),
        line("Energy", "joules", words.energy, _energy_hint(view), measured),
        line("Images passed through", "examples", words.count, "repeats counted"),
        line("Training images", "train_images", words.count),
        line("Peak memory", "peak_memory_bytes", words.memory, "resident, highest of the seeds", measured),
        *_parameters(view),
        line("Seeds", "n", lambda count: f"{count:.0f}"),
    ]


def _row(title: str, hint: str, values: list[float | None], texts: list[str], better: int = 0) -> Row:
    measured = [v for v in values if v is not None]
    top = (
        (max(measured) if better > 0 else min(measured))
        if better and len(measured) > 1 and max(measured) > min(measured)
        else None
    )
    cells = tuple(
        Cell(text=text, best=top is not None and value == top)
        for value, text in zip(values, texts, strict=True)
    )
    return Row(title=title, hint=hint, cells=cells)


def _marked(view: StudyView, row: Row) -> Row:
    """The row with the machine's letter behind each arm's time, where the arms ran on more than one."""
    return dataclasses.replace(
        row,
        cells=tuple(
            dataclasses.replace(cell, text=cell.text + mark) if cell.text not in (words.NONE, "–") else cell
            for cell, mark in zip(row.cells, machines.main_marks(view).values(), strict=True)
        ),
    )


def _energy_hint(view: StudyView) -> str:
    """What the joules cover; why there are none."""
    covered = sorted(
        {str(trial.environment.get("energy", "not reported")) for arm in view.arms for trial in arm.trials}
    )
    if covered == ["not reported"]:
        beside = any("jobs" in trial.environment for arm in view.arms for trial in arm.trials)
        return "not counted for trials side by side" if beside else "this machine reports none"
    counters = [name for name in covered if name != "not reported"]
    some = "" if counters == covered else ", where the machine reports it"
    return f"counted by {words.listing(counters)}{some}; includes what other programs use meanwhile"


def _seed_note(row: pd.Series, arm: Arm) -> str:
    if row["n"] == 1:
        return "n/a (1 seed)"
    if len({trial.metrics["test_accuracy"] for trial in arm.trials}) == 1:
        return f"n/a (the same at all {row['n']} seeds)"
    return words.interval((row["test_accuracy_low"], row["test_accuracy_high"]), 2)


def _phases(view: StudyView) -> list[Row]:
    phases = list(dict.fromkeys(p for arm in view.arms for trial in arm.trials for p in trial.cost.seconds))
    rows = []
    for phase in phases:
        values = [
            [trial.cost.seconds[phase] for trial in arm.trials if phase in trial.cost.seconds]
            for arm in view.arms
        ]
        texts = [words.duration(float(np.mean(v))) if v else "–" for v in values]
        rows.append(_marked(view, Row(title=f"… {phase}", hint="", cells=tuple(Cell(text=t) for t in texts))))
    return rows


def _parameters(view: StudyView) -> list[Row]:
    parameters = [
        model.parameters if (model := view.study.models.get(arm.stored.model)) else None for arm in view.arms
    ]
    trained = [
        arm.first.metrics.get("trained_parameters") or arm.first.selected.get("trained_parameters")
        for arm in view.arms
    ]
    rows = [
        Row(title="Network's parameters", hint="", cells=tuple(Cell(text=words.count(v)) for v in parameters))
    ]
    if any(v is not None for v in trained):
        rows.append(
            Row(title="Trained parameters", hint="", cells=tuple(Cell(text=words.count(v)) for v in trained))
        )
    return rows
