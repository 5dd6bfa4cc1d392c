"""Figures by class: confusion matrices and recall."""

from __future__ import annotations

import numpy as np

from headstart import plots
from headstart.plots import percent
from headstart.plots.style import shortened
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import StudyView, estimate
from headstart.report.sections.figure import finish, test_count
from headstart.results import metrics

_MOST_CLASSES = 20  # more than these do not fit into bars on a phone: the most telling ones are drawn


def confusions(view: StudyView) -> list[Figure]:
    """Each arm's confusion matrix, rows normalised, seeds averaged; one scale for all."""
    figures = []
    for arm in view.arms:
        counts = np.sum([metrics.confusion_matrix(t.logits, t.labels) for t in arm.tests], axis=0)
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
        off = np.nan_to_num(shares) * (1 - np.eye(len(shares)))
        i, j = np.unravel_index(int(off.argmax()), off.shape)
        names = view.class_names
        message = (
            f"{arm.label}: {percent(off[i, j], 0)} of “{names[i]}” images are taken for “{names[j]}”"
            if off[i, j] > 0
            else f"{arm.label}: no confusion at all"
        )
        seeds = f", {len(arm.tests)} seeds together" if len(arm.tests) > 1 else ""
        drawing = plots.confusion(
            shares,
            names,
            shortened(arm.label, 56)
            + (": " if len(arm.label) <= 22 else "\n")
            + "share of each true class"
            + (" (%)" if len(names) <= 20 else ""),
        )
        figures.append(
            finish(
                drawing,
                f"fig-confusion-{words.anchor(arm.name)}",
                message,
                f"{test_count(view)}{seeds}. Each row adds up to 100 %"
                + (
                    "; cells of 0.5 % or less carry no number"
                    if len(names) <= 20
                    else "; class numbers follow the data set's order"
                )
                + ". Ink grows with the square root of the share, on one scale for every arm.",
            )
        )
    return figures


def by_class(view: StudyView) -> Figure:
    """Recall by class, arms side by side; of many classes those where the arms differ most."""
    names = view.class_names
    recalls = {
        arm.name: np.array([metrics.per_class(t.logits, t.labels, names)["recall"] for t in arm.tests])
        for arm in view.arms
    }
    support = np.bincount(view.arms[0].tests[0].labels, minlength=len(names))
    means = np.array([r.mean(axis=0) for r in recalls.values()])
    there = support > 0
    gap = np.where(there, np.nan_to_num(means).max(axis=0) - np.nan_to_num(means).min(axis=0), -1)
    low = np.where(there, np.nan_to_num(means).mean(axis=0), 2)
    chosen = np.flatnonzero(there)
    cut = ""
    if len(chosen) > _MOST_CLASSES:
        chosen = np.sort(np.argsort(-gap if len(view.arms) > 1 else low, kind="stable")[:_MOST_CLASSES])
        cut = (
            f"The {_MOST_CLASSES} of {len(names)} classes where the arms differ most are drawn. "
            if len(view.arms) > 1
            else f"The {_MOST_CLASSES} hardest of {len(names)} classes are drawn. "
        )
    if len(view.arms) > 1:
        widest = int(gap.argmax())
        order = np.argsort(-means[:, widest], kind="stable")
        a, b = view.arms[order[0]], view.arms[order[-1]]
        message = (
            f"Widest apart on “{names[widest]}”: {a.label} {percent(means[order[0], widest], 0)}, "
            f"{b.label} {percent(means[order[-1], widest], 0)}"
        )
    else:
        message = f"Hardest class: “{names[int(low.argmin())]}”, {percent(float(low.min()), 0)} found"
    values = {
        name: [estimate([float(v) for v in r[:, c]], int(support[c])) for c in chosen]
        for name, r in recalls.items()
    }
    drawing = plots.by_class(
        [names[c] for c in chosen], values, view.styles, "Recall: share of a class's images found"
    )
    per = (
        f"{support[there].min():,}"
        if support[there].min() == support[there].max()
        else f"{support[there].min():,} to {support[there].max():,}"
    )
    return finish(
        drawing,
        "fig-classes",
        message,
        f"{cut}n = {per} test images a class. Lines: 95 % interval (t over seeds where they differ, else "
        "Wilson over "
        "the class's images).",
    )
