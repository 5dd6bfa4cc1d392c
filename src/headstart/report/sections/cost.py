"""The figure of where each arm's seconds went."""

from __future__ import annotations

import math

import numpy as np

from headstart import plots
from headstart.plots import short_duration
from headstart.report import machines, words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView
from headstart.report.sections.figure import finish
from headstart.report.sections.learning import clocks


def cost(view: StudyView) -> Figure:
    """Where each arm's seconds went."""
    seconds = {arm.name: _mean_seconds(arm) for arm in view.arms}
    totals = {arm.label: math.fsum(seconds[arm.name].values()) for arm in view.arms}
    order = sorted(totals, key=lambda label: totals[label])
    message = (
        f"{order[0]}: {short_duration(totals[order[0]])} in all"
        if view.one_machine
        else "Where each arm's time went"
    )
    if len(order) > 1 and totals[order[0]] > 0 and view.one_machine:
        message = f"{order[-1]} takes {totals[order[-1]] / totals[order[0]]:.1f} times as long as {order[0]}"
    drawing = plots.cost_by_phase(
        seconds, view.styles, "Wall-clock seconds, cold, by phase", machines.main_marks(view)
    )
    sides = [(arm, list(arm.trials)) for arm in view.arms]
    measured = f" Measured on: {'; '.join(words.machines([trial for _, items in sides for trial in items]))}."
    return finish(
        drawing,
        "fig-cost",
        message,
        "Everything a trial needs from an empty cache, data download aside; mean over seeds."
        + (measured if view.one_machine else clocks(view, sides)),
    )


def _mean_seconds(arm: Arm) -> dict[str, float]:
    phases = list(dict.fromkeys(phase for trial in arm.trials for phase in trial.cost.seconds))
    means = {
        phase: float(np.mean([trial.cost.seconds.get(phase, 0.0) for trial in arm.trials]))
        for phase in phases
    }
    return {phase: s for phase, s in means.items() if s >= 0.05} or means
