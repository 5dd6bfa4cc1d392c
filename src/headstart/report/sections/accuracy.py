"""The figure of test accuracy, and how two arms differ."""

from __future__ import annotations

from collections.abc import Mapping

from headstart import plots
from headstart.plots import percent
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections.figure import finish, test_count
from headstart.results.differences import Difference, accuracy_difference
from headstart.results.pairing import pair_by_seed
from headstart.results.trials import metric_values
from headstart.types import LabelBudget

FEW_ARMS = 4  # of more, curves of several seeds become one and rows follow their values


def _interval_words(view: StudyView) -> str:
    several = any(len({trial.metrics.get("test_accuracy") for trial in arm.trials}) > 1 for arm in view.arms)
    single = any(len({trial.metrics.get("test_accuracy") for trial in arm.trials}) == 1 for arm in view.arms)
    seeds = max(len(arm.trials) for arm in view.arms)
    sentences = []
    if several:
        sentences.append(f"t interval over up to {seeds} seeds (ticks: single seeds)")
    if single:
        sentences.append(
            "Wilson interval over the test images of one trained model, which says nothing about another seed"
        )
    return "; ".join(sentences)


def accuracy(view: StudyView) -> Figure:
    """Test accuracy of each arm with its interval."""
    estimates = {arm.name: estimate(_values(arm, "test_accuracy"), view.test_images) for arm in view.arms}
    ranked = sorted(view.arms, key=lambda arm: -estimates[arm.name].value)
    if len(view.arms) > FEW_ARMS:
        estimates = {arm.name: estimates[arm.name] for arm in ranked}
    best = ranked[0]
    message = f"{best.label}: {percent(estimates[best.name].value)} of test images right"
    if len(ranked) > 1:
        message = _lead(view, best, ranked[1], estimates)
    drawing = plots.accuracy(estimates, view.styles, "Test accuracy")
    return finish(
        drawing,
        "fig-accuracy",
        message,
        f"{test_count(view)}, {view.budget.words}. Bars: 95 % interval ({_interval_words(view)}). "
        "The scale does not begin at zero.",
    )


def _lead(view: StudyView, best: Arm, second: Arm, estimates: Mapping[str, plots.Estimate]) -> str:
    """How far the best is ahead: paired by seed where that can be, for two intervals that overlap do not mean
    "no difference"."""
    paired = difference(view, best, second, view.budget)
    # Where arms share only some seeds, these may say the opposite of all.
    interval = None if paired is None else paired.interval()
    if paired is not None and interval is not None and interval[1] >= 0:
        bounds = words.interval(interval)
        return (
            f"{best.label} leads {second.label} by {100 * paired.effect:.1f} points ({bounds}, paired by "
            "seed)"
            if interval[0] > 0
            else f"{best.label} and {second.label} cannot be told apart: {bounds} points, paired by seed"
        )
    if overlap(estimates[best.name], estimates[second.name]):
        return f"{best.label} and {second.label} are close: their intervals overlap"
    return (
        f"{best.label} leads {second.label} by "
        f"{100 * (estimates[best.name].value - estimates[second.name].value):.1f} points"
    )


def difference(view: StudyView, a: Arm, b: Arm, budget: LabelBudget) -> Difference | None:
    """Test accuracy of a less b at a label budget, paired by seed; None where they have no seed in common."""
    pairs = pair_by_seed(view.at(a.name, budget), view.at(b.name, budget))
    return accuracy_difference(pairs, view.outcomes)


def overlap(a: plots.Estimate, b: plots.Estimate) -> bool:
    """Whether two intervals have a value in common."""
    (a_low, a_high), (b_low, b_high) = a.interval or (a.value, a.value), b.interval or (b.value, b.value)
    return a_low <= b_high and b_low <= a_high


def _values(arm: Arm, metric: str) -> list[float]:
    return metric_values(arm.trials, metric)
