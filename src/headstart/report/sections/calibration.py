"""Reliability diagrams: each arm's confidence against how often it is right, before and after temperature
scaling."""

from __future__ import annotations

import numpy as np

from headstart import plots
from headstart.plots import percent
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView
from headstart.report.sections.figure import finish
from headstart.results import metrics, stats

_BINS = 15


def calibration(view: StudyView) -> Figure:
    """A panel an arm (first seed): bins of equally many images, as they are and with the temperature that
    validation chose."""
    panels = [(arm.style, _lines(arm)) for arm in view.arms]
    errors = {arm.label: arm.first.metrics.get("test_ece") or 0.0 for arm in view.arms}
    order = sorted(errors, key=lambda label: errors[label])
    message = f"{order[0]} is off by {100 * errors[order[0]]:.1f} points on average"
    if len(order) > 1:
        message = (
            f"{order[0]} means its confidence more: off by {100 * errors[order[0]]:.1f} points on average, "
            f"{order[-1]} by {100 * errors[order[-1]]:.1f}"
        )
    scaled = [arm.first.metrics.get("test_ece_calibrated") for arm in view.arms]
    if None not in scaled:
        most = max(value or 0.0 for value in scaled)
        message += (
            "; after temperature scaling "
            f"{'all are' if len(scaled) > 2 else 'both are' if len(scaled) > 1 else 'it is'} "
        )
        message += f"within {100 * most:.1f}"
    first = ", first seed" if any(len(arm.tests) > 1 for arm in view.arms) else ""
    after = (
        "Filled: as trained; open, dashed: logits divided by the temperature fitted on validation. "
        if None not in scaled
        else "No validation images, so no temperature: as trained alone. "
        if not any(scaled)
        else "Filled: as trained; open, dashed: temperature-scaled, where there were validation images. "
    )
    drawing = plots.reliability_panels(panels, "Accuracy by confidence")
    return finish(
        drawing,
        "fig-reliability",
        message,
        f"n = {view.test_images:,} test images{first}, {_BINS} bins of equally many, lines: each bin's 95 % "
        "Wilson "
        f"interval. {after}Above the dotted diagonal a network is too modest, below it too sure. ECE: mean "
        "distance "
        "from it.",
    )


def _lines(arm: Arm) -> list[plots.ReliabilityLine]:
    test, temperature = arm.tests[0], arm.first.metrics.get("temperature")
    temperatures = [1.0] if temperature is None else [1.0, temperature]
    lines = []
    for value in temperatures:
        table = metrics.reliability(test.logits, test.labels, bins=_BINS, temperature=value)
        right = np.rint(table["accuracy"] * table["count"]).astype(int)
        intervals = np.array(
            [stats.wilson_interval(k, n) for k, n in zip(right, table["count"], strict=True)]
        )
        error = metrics.expected_calibration_error(test.logits, test.labels, bins=_BINS, temperature=value)
        note = f"ECE {percent(error)}" if value == 1.0 else f"T = {words.number(value, 2)}: {percent(error)}"
        lines.append(
            plots.ReliabilityLine(
                confidence=table["confidence"].to_numpy(),
                accuracy=table["accuracy"].to_numpy(),
                low=intervals[:, 0],
                high=intervals[:, 1],
                note=note,
                scaled=value != 1.0,
            )
        )
    return lines
