"""The answer for a terminal: a table and a sentence."""

from __future__ import annotations

import math
from pathlib import Path

from rich import box
from rich.table import Table

from headstart.data_quality.record import Health
from headstart.report import words
from headstart.report.load import estimate, load_study
from headstart.report.sections import health, tables
from headstart.results import headline
from headstart.results.claims import as_json, decide
from headstart.results.trials import metric_values


def summary_table(study_folder: Path) -> Table:
    """A row an arm at the main label budget: accuracies, calibration and cost, means over seeds.

    Raises: StoreError where no trial has finished."""
    view = load_study(study_folder)
    seeds = max(len(arm.trials) for arm in view.arms)
    how = (
        "one seed: the interval is over test images, not over seeds"
        if seeds == 1
        else f"means over up to {seeds} seeds, with t intervals"
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
        caption_justify="left",
        caption=f"{view.budget.words}; {how}",
    )
    table.add_column("arm", min_width=12)
    for title in ("test %", "95 %", "val %", "NLL", "ECE", "seconds", "PFLOP", "GB"):
        table.add_column(title, justify="right", no_wrap=True)
    for arm in view.arms:
        values = metric_values(arm.trials, "test_accuracy")
        estimated = estimate(values, view.test_images) if values else None
        test = f"{100 * estimated.value:.2f}" if estimated else words.NONE
        interval = (
            f"{100 * estimated.interval[0]:.1f}–{100 * estimated.interval[1]:.1f}"
            if estimated and estimated.interval
            else words.NONE
        )
        val = arm.mean("val_accuracy")
        table.add_row(
            arm.label,
            test,
            interval,
            words.NONE if val is None else f"{100 * val:.2f}",
            words.number(arm.mean("test_nll")),
            words.number(arm.mean("test_ece")),
            f"{math.fsum(trial.cost.total_seconds for trial in arm.trials) / len(arm.trials):.0f}",
            f"{sum(trial.cost.flops for trial in arm.trials) / len(arm.trials) / 1e15:.3g}",
            f"{max(trial.cost.peak_memory_bytes for trial in arm.trials) / 1e9:.2f}",
        )
    return table


def verdict(study_folder: Path) -> str:
    """The study's answer in one sentence with its numbers. Raises: StoreError where no trial has finished."""
    view = load_study(study_folder)
    return headline.headline(view.study, view.trials)


def ledger_table(study_folder: Path) -> Table:
    """The study's claims with verdict, effect, interval and corrected p-value. Raises: StoreError without a
    finished trial."""
    view = load_study(study_folder)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        caption_justify="left",
        caption="intervals and p-values are Holm-adjusted over the family of claims; they are over seeds and "
        "test images where the metric is one of test images (below: over seeds, on these images)",
    )
    for title in ("claim", "verdict", "effect", "interval", "p", "n"):
        table.add_column(title, justify="left" if title in ("claim", "verdict") else "right")
    for row in tables.ledger(view):
        verdict = f"{row.verdict}: {row.shortfall}" if row.shortfall else row.verdict
        interval = f"{row.interval}\n{row.interval_over_seeds}".strip()
        sentence = f"{row.sentence} (post hoc)" if row.post_hoc else row.sentence
        table.add_row(sentence, verdict, row.effect, interval, row.p_value, str(row.n))
    return table


def health_table(examination: Health) -> Table:
    """A dataset's duplicates within and across train and test, and its suspected label errors."""
    described = health.describe(examination)
    labels = (
        "labels not checked"
        if described.suspects_total is None
        else f"{described.suspects_total:,} training labels look wrong"
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        caption_justify="left",
        caption=f"{described.message}; {labels}",
    )
    for title in ("pairs of copies", "exact", "hash", "features", "any way", "two labels"):
        table.add_column(title, justify="left" if title == "pairs of copies" else "right")
    for row in described.counts:
        table.add_row(row.title.lower(), row.exact, row.perceptual, row.features, row.pairs, row.two_labels)
    return table


def ledger_json(study_folder: Path) -> str:
    """The study's findings as JSON, the same bytes for the same folder. Raises: as `ledger_table`."""
    view = load_study(study_folder)
    claims = view.study.claims
    return as_json(decide(claims, view.trials)).rstrip() + "\n"
