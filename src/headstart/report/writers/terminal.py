"""The answer for a terminal: a table and a sentence."""

from __future__ import annotations

import math
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from headstart.data_quality.record import Health
from headstart.plots import visible
from headstart.report import words
from headstart.report.load import Arm, estimate, load_study
from headstart.report.sections import health, tables
from headstart.results import headline
from headstart.results.claims import as_json, decide
from headstart.results.full_study import beside_the_full_study
from headstart.results.trials import metric_values


def summary_table(study_folder: Path, *, narrow: bool = False) -> Table:
    """A row an arm at the main label budget: accuracies, calibration and cost, means over seeds. narrow: for
    few
    columns, test accuracy and work alone.

    Raises: StoreError where no trial has finished."""
    view = load_study(study_folder)
    seeds = max(len(arm.trials) for arm in view.arms)
    how = (
        "one seed: the interval is over test images, not over seeds"
        if seeds == 1
        else f"means over up to {seeds} seeds, with t intervals"
    )
    is_scaled = any(arm.mean("test_nll_calibrated") is not None for arm in view.arms)
    scaled = "; NLL and ECE: as trained, below temperature-scaled" if is_scaled and not narrow else ""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1),
        collapse_padding=True,
        caption_justify="left",
        caption=f"{view.budget.words}; {how}{scaled}",
    )
    table.add_column("arm", min_width=12)
    for title in _NARROW_TITLES if narrow else _TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    for arm in view.arms:
        cells = _summary(arm, view.test_images)
        table.add_row(Text(arm.label), *(cells[title] for title in (_NARROW_TITLES if narrow else _TITLES)))
    return table


_TITLES = ("test %", "95 %", "val %", "NLL", "ECE", "seconds", "PFLOP", "GB")
_NARROW_TITLES = ("test %", "95 %", "PFLOP")


def _summary(arm: Arm, images: int) -> dict[str, str]:
    """An arm's numbers by column title."""
    values = metric_values(arm.trials, "test_accuracy")
    estimated = estimate(values, images) if values else None
    interval = estimated.interval if estimated else None
    val, count = arm.mean("val_accuracy"), len(arm.trials)
    return {
        "test %": f"{100 * estimated.value:.2f}" if estimated else words.NONE,
        "95 %": f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}" if interval else words.NONE,
        "val %": words.NONE if val is None else f"{100 * val:.2f}",
        "NLL": _raw_and_scaled(arm, "test_nll"),
        "ECE": _raw_and_scaled(arm, "test_ece"),
        "seconds": f"{math.fsum(trial.cost.total_seconds for trial in arm.trials) / count:.0f}",
        "PFLOP": f"{sum(trial.cost.flops for trial in arm.trials) / count / 1e15:.3g}",
        "GB": f"{max(trial.cost.peak_memory_bytes for trial in arm.trials) / 1e9:.2f}",
    }


def _raw_and_scaled(arm: Arm, metric: str) -> str:
    """A measure as trained, and in a second line temperature-scaled where that is known."""
    scaled = arm.mean(f"{metric}_calibrated")
    raw = words.number(arm.mean(metric))
    return raw if scaled is None else f"{raw}\n{words.number(scaled)}"


def verdict(study_folder: Path) -> str:
    """The study's answer in one sentence with its numbers. Raises: StoreError where no trial has finished."""
    view = load_study(study_folder)
    return headline.headline(view.study, view.trials)


def closing(study_folder: Path) -> str:
    """What stands after the answer: beside a quick study what the full one found; else "".

    Raises: StoreError where no trial has finished."""
    view = load_study(study_folder)
    return beside_the_full_study(view.study, view.trials)


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
        table.add_row(Text(visible(sentence)), verdict, row.effect, interval, row.p_value, str(row.n))
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
