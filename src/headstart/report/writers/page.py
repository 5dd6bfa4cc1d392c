"""Renders the page: everything inline (style, figures, pictures), so that one file is the whole report."""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from headstart import plots, store
from headstart.data_quality.record import Health
from headstart.registry.methods import stored_method
from headstart.report import machines, words
from headstart.report.load import Arm, StudyView, estimate, load_study
from headstart.report.sections import (
    answer,
    calibration,
    comparison,
    figures,
    gallery,
    health,
    labels,
    ladder,
    looks,
    mistakes,
    pareto,
    robustness,
    spending,
    tables,
)
from headstart.report.sections.tuning import effort, tuning
from headstart.results import headline
from headstart.results.trials import metric_values
from headstart.store import FinishedTrial

_TEMPLATES = Path(__file__).parent / "templates"
# The arms' marks in the page's text, on a 12 x 12 field, as plots draws them.
_MARKS = {
    "o": '<circle cx="6" cy="6" r="4.6"/>',
    "s": '<rect x="1.8" y="1.8" width="8.4" height="8.4"/>',
    "^": '<path d="M6 1 11.2 10.6H.8Z"/>',
    "D": '<path d="M6 .6 11.4 6 6 11.4.6 6Z"/>',
    "v": '<path d="M6 11 .8 1.4h10.4Z"/>',
    "P": '<path d="M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2Z"/>',
    "X": '<path d="M3.4 1 6 3.6 8.6 1 11 3.4 8.4 6 11 8.6 8.6 11 6 8.4 3.4 11 1 8.6 3.6 6 1 3.4Z"/>',
    "h": '<path d="M6 .8 10.6 3.4v5.2L6 11.2 1.4 8.6V3.4Z"/>',
    "<": '<path d="M1 6 10.6 .8v10.4Z"/>',
    ">": '<path d="M11 6 1.4 .8v10.4Z"/>',
}


def write_report(study_folder: Path) -> Path:
    """Renders report.html into a study's folder, from that folder alone, and returns its path.

    One self-contained file: no network, no script. The same folder gives the same bytes.
    Raises: StoreError where no trial has finished or the folder cannot be written; DataError where the trials
    were tested on different images."""
    path = Path(study_folder) / "report.html"
    store.write_bytes(path, render(load_study(Path(study_folder))).encode())
    return path


@dataclass(frozen=True, kw_only=True)
class Page:
    """The page as HTML text, and every figure in it, in order."""

    html: str
    figures: tuple[figures.Figure, ...]


def render(view: StudyView) -> str:
    """The page as HTML text."""
    return compose(view).html


def write_health_page(folder: Path, found: Health) -> Path:
    """Renders health.html, the section on data health as a page of its own, for data that no study is about.

    Raises: StoreError where the folder cannot be written."""
    path = Path(folder) / "health.html"
    text = (
        make_environment()
        .get_template("health_page.html")
        .render(health=health.describe(found), title=str(found.dataset["title"]), style=Markup(style_sheet()))
    )
    store.write_bytes(path, text.encode())
    return path


def compose(view: StudyView, files: str = "") -> Page:
    """The page with its figures. files: where the trials' folders are, seen from the page, e.g. "trials/"; ""
    beside it."""
    drawn: list[figures.Figure] = []
    text = make_environment().get_template("report.html").render(**_context(view, drawn), files=files)
    return Page(html=re.sub(r"\n\s*\n+", "\n", text), figures=tuple(drawn))


def make_environment() -> jinja2.Environment:
    """Templates with the filters that they use."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=words.share,
        number=words.number,
        duration=words.duration,
        flops=words.flops,
        memory=words.memory,
        count=words.count,
        tied=tied,
    )
    return environment


def style_sheet() -> str:
    """The page's CSS, the arms' colours with it."""
    return (_TEMPLATES / "style.css").read_text(encoding="utf-8") + _arm_colors()


def tied(text: str) -> str:
    """Numbers tied to their units and names to theirs ("ResNet-50"), so that a line never ends between
    them."""
    text = re.sub(r"(?<=[A-Za-z])-(?=\d)", "-\u2060", text)
    return re.sub(r"(?<=\d) (?=(?:%|seconds?|minutes?|hours?|points?)\b|%)", "\u00a0", text)


def _context(view: StudyView, drawn: list[figures.Figure]) -> dict[str, Any]:
    """What the templates use; every figure in it is added to `drawn`."""

    def svg(figure: figures.Figure | None) -> dict[str, Any] | None:
        if figure is not None:
            drawn.append(figure)
        return (
            None
            if figure is None
            else {
                "name": figure.name,
                "message": figure.message,
                "caption": figure.caption,
                "svg": Markup(figure.svg),
            }
        )

    learning = [svg(f) for f in figures.learning(view)]
    costs, fits = pareto.section(view), labels.fit_all(view)
    spoiled, tuned = robustness.robustness(view), tuning(view)
    return {
        "study": view.study,
        "dataset": view.study.dataset,
        "arms": view.arms,
        "view": view,
        "answer": tied(headline.headline(view.study, view.trials)),
        "budget": view.budget.words,
        "style": Markup(style_sheet()),
        "mark": mark,
        "color": color,
        "cards": [_card(view, arm) for arm in view.arms],
        "comparison": comparison.comparison(view),
        "class_rows": tables.classes(view),
        "ledger": tables.ledger(view),
        "seeds": sorted({trial.seed for arm in view.arms for trial in arm.trials}),
        "phase": view.arms[0].first.phase,
        "train_images": sorted({arm.first.train_images for arm in view.arms}),
        "fig_accuracy": svg(figures.accuracy(view)),
        "learning": learning,
        "fig_time": svg(figures.times(view)),
        "machines": machines.legend(view),
        "time_machines": figures.clock_marks(view),
        "time_rows": figures.time_rows(view),
        "fig_cost": svg(figures.cost(view)),
        "fig_labels": svg(labels.figure(view, fits)),
        "label_table": labels.table(view, fits),
        "costs": costs,
        "cost_figures": [svg(f) for f in costs.figures],
        "health": health.section(view),
        "budget_rows": tables.budgets(view),
        "budget_costs": tables.budget_costs(view),
        "confusions": [svg(f) for f in figures.confusions(view)],
        "fig_classes": svg(figures.by_class(view)),
        "fig_calibration": svg(calibration.calibration(view)),
        "confidences": tables.confidences(view),
        "confused_pairs": mistakes.confused_pairs(view),
        "agreements": mistakes.agreements(view),
        "robustness": spoiled,
        "robustness_figures": [svg(f) for f in spoiled.figures] if spoiled else [],
        "shifts": robustness.shifts(view),
        "hardest": gallery.hardest(view),
        "overlap": gallery.overlap(view),
        "fig_looks": svg(looks.figure(view)),
        "answer_more": answer.more(view),
        "starts": _starts(view),
        "label_plan": _label_plan(view),
        "test_balance": _test_balance(view),
        "spent": spending.spending(view),
        "ladder_steps": ladder.steps(view),
        "ladder_controls": ladder.controls(view),
        "gap_rows": ladder.gaps(view),
        "gap_note": ladder.gap_note(view),
        "fig_pretraining": svg(ladder.pretraining_figure(view)),
        "fig_gap": svg(ladder.gap_figure(view)),
        "disagreements": gallery.disagreements(view),
        "errors": gallery.confident_errors(view),
        "tuning": tuned | {"figures": [svg(f) for f in tuned["figures"]]} if tuned else None,
        "tuning_effort": effort(view),
        "selecting": any("l2" in arm.first.selected for arm in view.arms),
        "rerun": _rerun(view.study.command),
        "searches": _searches(view.study.command),
        "methods": [_method(view, arm) for arm in view.arms],
        "pretraining": _pretraining(view),
        "environments": _environments(view),
        "trials": [_trial(view, trial) for trial in view.trials],
    }


def _rerun(command: str) -> str:
    """The command that runs every trial anew, where the one that was given takes published trials for done;
    else ""."""
    words_ = shlex.split(command)
    if words_[:2] != ["headstart", "study"] or "--published" not in words_:
        return ""
    dropped = {
        place + step
        for place, word in enumerate(words_)
        if word in ("--published", "--minutes")
        for step in (0, 1)
    }
    return shlex.join(word for place, word in enumerate(words_) if place not in dropped)


def _searches(command: str) -> str:
    """The command that searches for a study's recipes, from the one that runs it; "" for another command."""
    words_ = shlex.split(command)
    return (
        shlex.join(["headstart", "tune", words_[2]])
        if words_[:2] == ["headstart", "study"] and len(words_) > 2
        else ""
    )


def _starts(view: StudyView) -> str:
    """Which arms start from random weights and which from pretrained ones, in words."""
    sides = {
        start: [arm.label for arm in view.arms if (not arm.stored.is_pretrained) == start]
        for start in (True, False)
    }
    told = [
        f"From {name} weights: {'; '.join(sides[start])}."
        for start, name in ((True, "random"), (False, "pretrained"))
        if sides[start]
    ]
    return " ".join(told)


def _label_plan(view: StudyView) -> list[dict[str, str]]:
    """A row a label budget: training images, most seeds, arms."""
    rows = []
    for budget in view.budgets:
        items = {arm.name: view.at(arm.name, budget) for arm in view.arms}
        sizes = sorted({trial.train_images for trials in items.values() for trial in trials})
        rows.append(
            {
                "title": budget.title,
                "images": " or ".join(f"{n:,}" for n in sizes),
                "seeds": str(max(len(trials) for trials in items.values())),
                "arms": str(sum(bool(trials) for trials in items.values())),
            }
        )
    return rows


def _test_balance(view: StudyView) -> str:
    counts = np.bincount(view.arms[0].tests[0].labels, minlength=len(view.class_names))
    low, high = int(counts.min()), int(counts.max())
    return (
        f"Every class has {low:,} test images."
        if low == high
        else f"The classes have {low:,} to {high:,} test images."
    )


def _arm_colors() -> str:
    def variables(colors: tuple[str, ...]) -> str:
        return "".join(f"--arm{i}:{value};" for i, value in enumerate(colors))

    return (
        f":root{{{variables(plots.ARM_COLORS_LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(plots.ARM_COLORS_DARK)}}}}}\n"
    )


def color(arm: Arm) -> str:
    """The CSS variable of an arm's colour."""
    return f"var(--arm{arm.place % len(plots.ARM_COLORS_LIGHT)})"


def mark(arm: Arm) -> Markup:
    """The arm's marker in its colour, as small inline SVG."""
    shape = _MARKS[arm.style.marker]
    return Markup(
        f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true" style="fill:{color(arm)}">{shape}</svg>'
    )


@dataclass(frozen=True, kw_only=True)
class Card:
    arm: Arm
    accuracy: str
    note: str
    facts: tuple[tuple[str, str], ...]


def _card(view: StudyView, arm: Arm) -> Card:
    values = metric_values(arm.trials, "test_accuracy")
    found = estimate(values, view.test_images)
    several = len(set(values)) > 1
    over = f"{len(values)} seeds" if several else f"{view.test_images:,} test images, one model"
    return Card(
        arm=arm,
        accuracy=words.share(found.value),
        note=f"95 % interval {words.interval(found.interval or (0, 0))}, over {over}",
        facts=(
            (
                "time, cold",
                words.duration(math.fsum(trial.cost.total_seconds for trial in arm.trials) / len(arm.trials))
                + machines.main_marks(view)[arm.name],
            ),
            ("work", words.flops(sum(trial.cost.flops for trial in arm.trials) / len(arm.trials))),
            ("gap to training", words.points(arm.mean("generalization_gap"))),
            ("calibration error", words.share(arm.mean("test_ece"))),
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Method:
    arm: Arm
    paragraphs: tuple[str, ...]
    recipe_name: str
    settings: tuple[tuple[str, str], ...]


def _method(view: StudyView, arm: Arm) -> Method:
    trial = arm.first
    # What ran: at the main label budget an arm may have another recipe than the one that its study's file
    # begins with.
    ran = dataclasses.replace(
        arm.stored,
        recipe={**arm.stored.recipe, **trial.arm.recipe},
        recipe_name=view.recipe_names(arm.name).get(view.budget, ""),
    )
    extra = [("precision", trial.precision)]
    if stored_method(ran.method).frozen_backbone:
        extra.append(("precision of frozen layers", trial.feature_precision))
    extra += [
        (f"selected {name}", words.setting(value))
        for name, value in trial.selected.items()
        if not isinstance(value, (dict, list))
    ]
    extra += [
        (f"tuned: {name.replace('_', ' ')}", words.setting(value))
        for name, value in view.study.recipes.get(ran.recipe_name, {}).items()
        if not isinstance(value, (dict, list))
    ]
    return Method(
        arm=arm,
        paragraphs=tuple(words.method_in_words(ran, view.study.models.get(ran.model), trial)),
        settings=(*words.settings(ran.recipe), *extra),
        recipe_name=ran.recipe_name or trial.arm.recipe_name,
    )


def _pretraining(view: StudyView) -> list[dict[str, str]]:
    """What the makers of the weights paid, for each pretrained model that an arm uses."""
    used = {(arm.model, arm.weights) for arm in view.study.arms if arm.is_pretrained}
    several = {name for name, _ in used if len([model for model, _ in used if model == name]) > 1}
    rows = []
    for name, weights in sorted(used):
        if (model := view.study.models.get(name)) is None:
            continue
        source = model.weights.get(weights, model.default_weights)
        rows.append(
            {
                "title": model.title + (f", {weights}" if name in several else ""),
                "told": (source.pretraining or "not stated by the weights' source").rstrip("."),
                "origin": source.origin.rstrip("."),
                "licence": source.licence,
            }
        )
    return rows


def _environments(view: StudyView) -> list[tuple[str, list[str]]]:
    """Each fact of the environments with its different values; start times are left to the trials' table."""
    facts: dict[str, list[str]] = {}
    for trial in view.trials:
        for name, value in trial.environment.items():
            if name != "started" and str(value) not in facts.setdefault(name, []):
                facts[name].append(str(value))
    return list(facts.items())


def _trial(view: StudyView, trial: FinishedTrial) -> dict[str, Any]:
    return {
        "label": view.styles[trial.arm.name].label,
        "budget": trial.label_budget.words,
        "seed": trial.seed,
        "phase": trial.phase,
        "folder": trial.folder.name,
        "key": trial.key,
        "weights_hash": trial.weights_hash or "none",
        "started": trial.environment.get("started", words.NONE),
        "accuracy": trial.metrics.get("test_accuracy"),
        "seconds": trial.cost.total_seconds,
        "spent": trial.cost.spent_seconds,
        "machine": machines.mark(view, [trial]),
    }
