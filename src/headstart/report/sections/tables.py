"""The report's tables as rows of text, ready for the template."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from headstart.report import machines, words
from headstart.report.load import Arm, StudyView, estimate
from headstart.results import headline, metrics
from headstart.results.trials import Trials, metric_values
from headstart.types import Finding

_ALWAYS = ("Energy",)  # told as "n/a" where nothing measures it


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    note: str = ""  # small print under it: an interval, or why there is none
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    title: str
    hint: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    title: str
    rows: tuple[Row, ...]


def comparison(view: StudyView) -> list[Group]:
    """Measures by row, arms by column, grouped: what they reach, how far to trust it, what it cost."""
    table = headline.comparison_table(view.trials)
    budget = view.budget.toml
    phase = view.arms[0].first.phase
    main = table[(table["labels_per_class"] == budget) & (table["phase"] == phase)].set_index("arm")
    rows = [main.loc[arm.name] for arm in view.arms]

    def line(title: str, column: str, show: Any, hint: str = "", better: int = 0) -> Row:
        values = [None if pd.isna(row[column]) else float(row[column]) for row in rows]
        return _row(title, hint, values, [show(v) for v in values], better)

    test = line("Test accuracy", "test_accuracy", lambda v: words.share(v, 2), "95 % interval over seeds", +1)
    noted = [
        dataclasses.replace(cell, note=_seed_note(row, arm))
        for cell, row, arm in zip(test.cells, rows, view.arms, strict=True)
    ]
    test = dataclasses.replace(test, cells=tuple(noted))
    one_model = [
        estimate([arm.first.metrics["test_accuracy"] or 0.0], view.test_images).interval for arm in view.arms
    ]
    over_images = Row(
        title="… over test images",
        hint="95 % Wilson interval, first seed's model alone",
        cells=tuple(Cell(text=words.interval(each, 2) if each else words.NONE) for each in one_model),
    )
    reached = [
        test,
        over_images,
        line(
            "… flip-averaged",
            "test_flip_accuracy",
            lambda v: words.share(v, 2),
            "mean of an image's and its mirror image's logits",
            +1,
        ),
        line("Top-5 accuracy", "test_top5_accuracy", lambda v: words.share(v, 2), better=+1),
        line("Macro F1", "test_macro_f1", lambda v: words.share(v, 2), better=+1),
        line("Validation accuracy", "val_accuracy", lambda v: words.share(v, 2), better=+1),
        line(
            "Training accuracy",
            "train_accuracy",
            lambda v: words.share(v, 2),
            "a fixed sample of training images",
        ),
        line("Generalization gap", "generalization_gap", words.points, "training less test accuracy"),
    ]
    trust = [
        line("Negative log-likelihood", "test_nll", words.number, "nats an image", -1),
        line(
            "Expected calibration error",
            "test_ece",
            lambda v: words.share(v, 2),
            "15 bins of equally many images",
            -1,
        ),
        line("Brier score", "test_brier", words.number, "", -1),
    ]
    measured = -1 if view.one_machine else 0  # what a machine decides has no best side across machines
    cost = [
        _marked(view, line("Time, cold", "seconds", words.duration, "from an empty cache", measured)),
        _marked(
            view,
            line(
                "Time spent",
                "spent_seconds",
                words.duration,
                "stored features read again, not computed again",
                measured,
            ),
        ),
        *_phases(view),
        line("Floating-point operations", "flops", words.flops, "counted", -1),
        line("Energy", "joules", words.energy, _energy_hint(view), measured),
        line("Images passed through", "examples", words.count, "repeats counted"),
        line("Training images", "train_images", words.count),
        line("Peak memory", "peak_memory_bytes", words.memory, "resident, highest of the seeds", measured),
        *_parameters(view),
        line("Seeds", "n", lambda v: f"{v:.0f}"),
    ]
    groups = [
        ("What they reach", reached),
        ("How far to trust their confidence", trust),
        ("What it cost", cost),
    ]
    return [
        Group(
            title=title,
            rows=tuple(
                row for row in rows_ if row.title in _ALWAYS or any(c.text != words.NONE for c in row.cells)
            ),
        )
        for title, rows_ in groups
    ]


def _row(title: str, hint: str, values: list[float | None], texts: list[str], better: int = 0) -> Row:
    known = [v for v in values if v is not None]
    top = (
        (max(known) if better > 0 else min(known))
        if better and len(known) > 1 and max(known) > min(known)
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
    found = [
        model.parameters if (model := view.study.models.get(arm.stored.model)) else None for arm in view.arms
    ]
    trained = [
        arm.first.metrics.get("trained_parameters") or arm.first.selected.get("trained_parameters")
        for arm in view.arms
    ]
    rows = [Row(title="Network's parameters", hint="", cells=tuple(Cell(text=words.count(v)) for v in found))]
    if any(v is not None for v in trained):
        rows.append(
            Row(title="Trained parameters", hint="", cells=tuple(Cell(text=words.count(v)) for v in trained))
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    name: str
    support: int
    scores: tuple[tuple[str, str, str], ...]  # per arm: precision, recall, F1


def classes(view: StudyView) -> list[ClassRow]:
    """Precision, recall and F1 of every class, by arm, means over seeds."""
    names = view.class_names
    tables = {
        arm.name: _mean_table([metrics.per_class(t.logits, t.labels, names) for t in arm.tests])
        for arm in view.arms
    }
    support = np.bincount(view.arms[0].tests[0].labels, minlength=len(names))
    return [
        ClassRow(
            name=name,
            support=int(support[c]),
            scores=tuple(
                (
                    _percent_or_none(tables[arm.name].iloc[c]["precision"]),
                    _percent_or_none(tables[arm.name].iloc[c]["recall"]),
                    _percent_or_none(tables[arm.name].iloc[c]["f1"]),
                )
                for arm in view.arms
            ),
        )
        for c, name in enumerate(names)
    ]


def _mean_table(tables: list[pd.DataFrame]) -> pd.DataFrame:
    columns = ["precision", "recall", "f1"]
    return pd.DataFrame(np.mean([t[columns].to_numpy(dtype=float) for t in tables], axis=0), columns=columns)


def _percent_or_none(value: float) -> str:
    return words.NONE if np.isnan(value) else f"{100 * value:.1f}"


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    sentence: str
    verdict: str
    measured: str
    effect: str
    interval: str
    p_value: str
    n: int
    note: str


def ledger(view: StudyView) -> list[ClaimRow]:
    """The study's claims with their verdicts, in the study's order."""
    claims = view.study.claims
    return [_claim_row(view, finding) for finding in headline.decide(claims, view.trials)]


def _claim_row(view: StudyView, finding: Finding) -> ClaimRow:
    claim, spec = finding.claim, headline.metric_spec(finding.claim.metric)

    def shown(value: float) -> str:
        if spec.unit == "fraction":
            return words.minus(f"{100 * value:+.2f}")
        return words.minus(f"{value:+,.3g}")

    unit = "points" if spec.unit == "fraction" else spec.unit
    a, b = (view.styles[name].label if name in view.styles else name for name in (claim.a, claim.b))
    gap = "" if claim.gap_at is None else (f", compared with the same difference with {claim.gap_at.words}")
    beyond = f" by more than {shown(claim.margin).lstrip('+')} {unit}" if claim.margin else ""
    return ClaimRow(
        sentence=claim.sentence,
        verdict=finding.verdict,
        measured=f"{spec.title}, {claim.label_budget.words}: {a} less {b}{gap}, expected "
        f"{claim.direction}{beyond}",
        effect=words.NONE if finding.effect is None else f"{shown(finding.effect)}\u202f{unit}",
        interval=words.NONE
        if finding.interval is None
        else f"{shown(finding.interval[0])} to {shown(finding.interval[1])}",
        p_value=words.NONE if finding.p_value is None else f"{finding.p_value:.2g}",
        n=finding.n,
        note=finding.note,
    )


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How sure an arm is against how often it is right, means over seeds."""

    arm: Arm
    accuracy: float | None
    confidence: float
    ece: float | None
    ece_calibrated: float | None
    temperature: float | None


def confidences(view: StudyView) -> list[Confidence]:
    """A row an arm: mean confidence beside accuracy, calibration error before and after temperature
    scaling."""
    return [
        Confidence(
            arm=arm,
            accuracy=arm.mean("test_accuracy"),
            ece=arm.mean("test_ece"),
            ece_calibrated=arm.mean("test_ece_calibrated"),
            confidence=float(
                np.mean([metrics.probabilities(t.logits).max(axis=1).mean() for t in arm.tests])
            ),
            temperature=arm.mean("temperature"),
        )
        for arm in view.arms
    ]


@dataclass(frozen=True, kw_only=True)
class BudgetRow:
    title: str
    cells: tuple[Cell, ...]


def budgets(view: StudyView) -> list[BudgetRow]:
    """Test accuracy by label budget (rows) and arm, with 95 % intervals; empty where the study has one
    budget."""

    def cell(trials: Trials) -> Cell:
        values = metric_values(trials, "test_accuracy")
        found = estimate(values, view.test_images) if values else None
        note = words.interval(found.interval) if found and found.interval else ""
        return Cell(text=words.share(found.value) if found else words.NONE, note=note)

    return _by_budget(view, cell)


def budget_costs(view: StudyView) -> list[BudgetRow]:
    """Mean operations of a trial, its frozen features included, and the number of trials; rows and columns as
    `budgets`."""

    def cell(trials: Trials) -> Cell:
        if not trials:
            return Cell(text=words.NONE)
        return Cell(
            text=words.flops(sum(trial.cost.flops for trial in trials) / len(trials)),
            note=f"n = {len(trials)}",
        )

    return _by_budget(view, cell)


def _by_budget(view: StudyView, cell: Callable[[Trials], Cell]) -> list[BudgetRow]:
    return [
        BudgetRow(title=size.title, cells=tuple(cell(view.at(arm.name, size)) for arm in view.arms))
        for size in (view.budgets if len(view.budgets) > 1 else [])
    ]
