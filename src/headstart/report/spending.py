"""What the whole study cost: every trial, by arm, and where it ran."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.report import words
from headstart.report.load import Arm, StudyView
from headstart.types import Result


@dataclass(frozen=True, kw_only=True)
class Row:
    """arm: None for the sum. cold: had nothing been shared; spent: what the trials took, stored features read again."""

    arm: Arm | None
    trials: int
    cold: str
    spent: str
    flops: str
    examples: str
    memory: str
    energy: str


@dataclass(frozen=True, kw_only=True)
class Spending:
    rows: tuple[Row, ...]
    machines: tuple[str, ...]  # one line each, with how many trials ran there
    with_energy: bool


def spending(view: StudyView) -> Spending:
    """Sums over all label budgets, seeds and phases, a row an arm and one for all."""
    rows = [_row(arm, [r for _, r in view.trials if r.trial["arm"]["name"] == arm.name]) for arm in view.arms]
    every = [r for _, r in view.trials]
    return Spending(rows=(*rows, _row(None, every)), with_energy=any(r.cost.joules is not None for r in every),
                    machines=tuple(words.machines(every)))  # fmt: skip


def _row(arm: Arm | None, results: list[Result]) -> Row:
    joules = [r.cost.joules for r in results if r.cost.joules is not None]
    return Row(
        arm=arm, trials=len(results), cold=words.duration(sum(r.cost.total_seconds for r in results)),
        spent=words.duration(sum(r.cost.spent_seconds for r in results)), flops=words.flops(sum(r.cost.flops for r in results)),
        examples=words.count(sum(r.cost.examples for r in results)),
        memory=words.memory(max(r.cost.peak_memory_bytes for r in results)),
        energy=f"{sum(joules) / 3.6e6:.3g}\u202fkWh" if joules and len(joules) == len(results) else words.NONE,
    )  # fmt: skip
