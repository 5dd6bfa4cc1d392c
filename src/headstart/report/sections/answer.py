"""The answer in a paragraph: what the headline says, then what few labels change and how the claims ended."""

from __future__ import annotations

from collections import Counter

from headstart.report import words
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections import tables
from headstart.results.trials import metric_values
from headstart.types import LabelBudget


def more(view: StudyView) -> list[str]:
    """Sentences that follow the headline; none where the study has nothing more to say."""
    return [sentence for sentence in (_few_labels(view), _claims(view)) if sentence]


def _few_labels(view: StudyView) -> str:
    """The best arm of each way to start at the fewest labels that both have, and where scratch overtakes."""
    sides = {
        start: [arm for arm in view.arms if (not arm.stored.is_pretrained) == start]
        for start in (True, False)
    }
    if len(view.budgets) < 2 or not all(sides.values()):
        return ""
    leads: list[tuple[LabelBudget, Arm, float, Arm, float]] = []
    for budget in view.budgets:
        best = {start: _best(view, arms, budget) for start, arms in sides.items()}
        scratch, pretrained = best[True], best[False]
        if scratch and pretrained:
            leads.append((budget, *scratch, *pretrained))
    if len(leads) < 2:
        return ""
    budget, scratch_arm, a, arm, b = leads[0]
    sentence = (
        f"With {budget.words} pretrained weights reach {words.share(b)} at best ({arm.label}), random ones "
        f"{words.share(a)} ({scratch_arm.label})"
    )
    ahead = [a > b for _, _, a, _, b in leads]
    if all(ahead) or not any(ahead):
        return f"{sentence}; {'random' if ahead[0] else 'pretrained'} ones lead at every label budget."
    if ahead[-1] and not ahead[0]:
        turn = next(i for i in range(len(ahead)) if all(ahead[i:]))
        return (
            f"{sentence}; from random weights is ahead from {leads[turn][0].words} on, and behind at "
            f"{leads[turn - 1][0].words} and fewer."
            if not any(ahead[:turn])
            else f"{sentence}."
        )
    return f"{sentence}."


def _best(view: StudyView, arms: list[Arm], budget: LabelBudget) -> tuple[Arm, float] | None:
    accuracies = []
    for arm in arms:
        values = metric_values(view.at(arm.name, budget), "test_accuracy")
        if values:
            accuracies.append((arm, estimate(values, view.test_images).value))
    return max(accuracies, key=lambda item: item[1], default=None)


def _claims(view: StudyView) -> str:
    """How the claims that were written down beforehand ended, in numbers."""
    rows = [row for row in tables.ledger(view) if not row.post_hoc]
    if not rows:
        return ""
    ended = Counter(row.verdict for row in rows)
    parts = [
        f"{ended[verdict]} {verdict}"
        for verdict in ("supported", "refuted", "inconclusive")
        if ended[verdict]
    ]
    if undecided := [row.note for row in rows if row.verdict == "n/a"]:
        parts.append(f"{len(undecided)} not decided ({'; '.join(dict.fromkeys(undecided))})")
    return (
        f"Of {len(rows)} claim{'s' if len(rows) > 1 else ''} written down beforehand: {words.listing(parts)}."
    )
