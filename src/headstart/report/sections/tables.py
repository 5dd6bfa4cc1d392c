"""The report's tables as rows of text, ready for the template."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headstart.report import words
from headstart.report.load import Arm, StudyView, estimate
from headstart.results import metrics
from headstart.results.claims import Finding, decide
from headstart.results.pairing import metric_spec
from headstart.results.trials import Trials, metric_values

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Cell:
    text: str
    note: str = ""  # small print under it: an interval, or why there is none
    best: bool = False


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
    import pandas as pd

    columns = ["precision", "recall", "f1"]
    return pd.DataFrame(np.mean([t[columns].to_numpy(dtype=float) for t in tables], axis=0), columns=columns)


def _percent_or_none(value: float) -> str:
    return words.NONE if np.isnan(value) else f"{100 * value:.1f}"


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """A claim as it is printed. interval: over seeds and test images where interval_over_seeds is not empty,
    else over seeds."""

    sentence: str
    verdict: str
    shortfall: str
    post_hoc: bool
    measured: str
    effect: str
    interval: str
    interval_over_seeds: str
    p_value: str
    n: int
    note: str


def ledger(view: StudyView) -> list[ClaimRow]:
    """The study's claims with their verdicts, in the study's order."""
    claims = view.study.claims
    return [_claim_row(view, finding) for finding in decide(claims, view.trials)]


def _claim_row(view: StudyView, finding: Finding) -> ClaimRow:
    claim, spec = finding.claim, metric_spec(finding.claim.metric)

    def shown(value: float) -> str:
        if spec.unit == "fraction":
            return words.minus(f"{100 * value:+.2f}")
        return words.minus(f"{value:+,.3g}")

    unit = "points" if spec.unit == "fraction" else spec.unit
    both = finding.scope == "seeds and images" and finding.interval_over_seeds is not None
    a, b = (view.styles[name].label if name in view.styles else name for name in (claim.a, claim.b))
    gap = "" if claim.gap_at is None else (f", compared with the same difference with {claim.gap_at.words}")
    beyond = f" by more than {shown(claim.margin).lstrip('+')} {unit}" if claim.margin else ""
    return ClaimRow(
        sentence=claim.sentence,
        verdict=finding.verdict,
        shortfall=finding.shortfall,
        post_hoc=claim.post_hoc,
        measured=f"{spec.title}, {claim.label_budget.words}: {a} less {b}{gap}, expected "
        f"{claim.direction}{beyond}",
        effect=words.NONE if finding.effect is None else f"{shown(finding.effect)}\u202f{unit}",
        interval=_ends(finding.interval, shown),
        interval_over_seeds=_ends(finding.interval_over_seeds, shown) if both else "",
        p_value=words.NONE if finding.p_value is None else f"{finding.p_value:.2g}",
        n=finding.n,
        note=finding.note,
    )


def _ends(interval: tuple[float, float] | None, shown: Callable[[float], str]) -> str:
    return words.NONE if interval is None else f"{shown(interval[0])} to {shown(interval[1])}"


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """How sure an arm is against how often it is right, means over seeds."""

    arm: Arm
    accuracy: float | None
    confidence: float
    nll: float | None
    nll_calibrated: float | None
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
            nll=arm.mean("test_nll"),
            nll_calibrated=arm.mean("test_nll_calibrated"),
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
        estimated = estimate(values, view.test_images) if values else None
        note = words.interval(estimated.interval) if estimated and estimated.interval else ""
        return Cell(text=words.share(estimated.value) if estimated else words.NONE, note=note)

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
