"""Two studies side by side: test accuracy by labels per class, who leads, and what was claimed of one."""

from __future__ import annotations

import re
from collections import Counter

from headstart.report import words
from headstart.report.load import StudyView, estimate
from headstart.report.sections import labels, tables
from headstart.results.trials import metric_values
from headstart.types import LabelBudget

_FEW = 3  # seeds, from which on n is said in general


def side_by_side(near: StudyView, far: StudyView) -> str:
    """Markdown, of the arms that both studies have and have trials of."""
    there = {trial.arm.name for trial in near.trials}
    arms = {trial.arm.name: trial.arm.label for trial in far.trials if trial.arm.name in there}
    names = sorted(arms)
    titles = (near.study.dataset.title, far.study.dataset.title)
    lines = [
        f"| Labels per class | {' | '.join(arms[name] for name in names)} |",
        "| --- |" + " --: |" * len(names),
    ]
    for budget in far.budgets:
        cells = [f"{_share(near, name, budget)}<br>**{_share(far, name, budget)}**" for name in names]
        lines.append(f"| {budget.title} | {' | '.join(cells)} |")
    lines += ["", f"Above {titles[0]}, below in bold **{titles[1]}**. {_ends(near, far)} {_n(far)}", ""]
    lines += [*_leaders(near, far), "", *_claims(far), ""]
    return "\n".join(lines)


def _share(view: StudyView, name: str, budget: LabelBudget) -> str:
    values = metric_values(view.at(name, budget), "test_accuracy")
    if not values:
        return "–"
    few = f" (n = {len(values)})" if len(values) < _FEW and not budget.is_all else ""
    return f"{words.share(estimate(values, view.test_images).value)}{few}"


def _n(view: StudyView) -> str:
    counts = Counter((trial.arm.name, trial.label_budget) for trial in view.trials).values()
    return f"Means over n = {min(counts)} to {max(counts)} seeds; intervals and n stand in the report."


def _ends(*views: StudyView) -> str:
    """What "all labels" are in each."""
    most = [
        f"{max(trial.train_images for trial in view.trials):,} images of {view.study.dataset.title}"
        for view in views
    ]
    return f"All labels: {words.listing(most)}."


def _leaders(*views: StudyView) -> list[str]:
    """The message of each study's figure of label curves."""
    lines = []
    for view in views:
        drawn = labels.figure(view, labels.fit_all(view), view.arms)
        if drawn is not None:
            lines.append(f"- {view.study.dataset.title}. {drawn.message}.")
    return lines


def _claims(view: StudyView) -> list[str]:
    """What was expected of each claim before the first trial, and what was found."""
    expected = re.findall(r"\(\d+\) (.+?)\.(?= \(\d+\)|$)", view.study.notes[0])
    lines = ["| Expected before the first trial | Verdict | Measured |", "| --- | --- | --: |"]
    for text, row in zip(expected, tables.ledger(view), strict=True):
        interval = "" if row.interval == words.NONE else f" ({row.interval}; n = {row.n})"
        lines.append(f"| {text[0].upper()}{text[1:]} | {row.verdict} | {row.effect}{interval} |")
    return lines
