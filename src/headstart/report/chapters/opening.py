"""The first part of a report, for a reader with five minutes: the answer, the evidence in brief, what to
choose.

Every number links to the row of the appendix that it comes from.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from headstart.report import words
from headstart.report.chapters.common import (
    claim_name,
    mark,
    named,
    number,
    quiet,
    row_name,
    titles,
    verdict_cell,
    words_cell,
)
from headstart.report.document import (
    Block,
    Bullets,
    Card,
    Cards,
    Cell,
    Code,
    Figure,
    Group,
    Heading,
    Paragraph,
    Row,
    Run,
    Section,
    Table,
    Text,
    bold,
    link,
    text,
)
from headstart.report.load import Arm, StudyView, estimate
from headstart.report.sections import answer, labels, pareto, published_figures, reproduce, tables
from headstart.report.sections.choice import Choice, choices, compared, is_control
from headstart.results import headline
from headstart.results.trials import metric_values
from headstart.types import LabelBudget

_ACCURACY = "#row-test-accuracy"
_SHOWN_BUDGETS = 3


def the_answer(view: StudyView) -> Section:
    """The answer of the study in sentences, and a card for each side and the best of each kind."""
    lead = text(headline.headline(view.study, view.trials), " ", link("Numbers", _ACCURACY))
    blocks: list[Block] = [
        Heading(level=2, text=text("The answer")),
        Paragraph(text=lead, kind="lead"),
    ]
    if more := answer.more(view):
        blocks.append(Paragraph(text=text(" ".join(more)), kind="more"))
    cards = tuple(_card(view, arm) for arm in _best_of_each_kind(view))
    blocks.append(Cards(measure="Test accuracy", cards=cards))
    return Section(id="answer", label="The answer", blocks=(*blocks, *unfinished(view)))


def unfinished(view: StudyView) -> tuple[Block, ...]:
    """What has not finished, and what is left out."""
    blocks: list[Block] = []
    if view.missing:
        done = f"{view.finished:,} of the study’s {view.planned:,} trials have finished."
        rest = f" Still to run: {'; '.join(view.missing)}."
        blocks.append(Paragraph(text=text(bold(done), rest), kind="quiet"))
    if view.superseded:
        one = view.superseded == 1
        blocks.append(
            quiet(
                f"{view.superseded} more finished {'trial' if one else 'trials'} in this folder "
                f"{'is' if one else 'are'} left out: of earlier settings, or repeating an arm that comes out "
                "the same at every seed."
            )
        )
    return tuple(blocks)


def _best_of_each_kind(view: StudyView) -> list[Arm]:
    """The two arms that the headline compares, and the best of each other kind: from scratch, on frozen
    features,
    pretrained and trained further."""
    shown = list(headline.headline_pair(view.study, view.trials))
    kinds: dict[str, list[Arm]] = {}
    for arm in view.arms:
        if not is_control(view, arm):
            kinds.setdefault(_kind(arm), []).append(arm)
    for arms in kinds.values():
        if not any(arm.name in shown for arm in arms):
            shown.append(max(arms, key=lambda arm: arm.mean("test_accuracy") or 0.0).name)
    return [arm for arm in view.arms if arm.name in shown]


def _kind(arm: Arm) -> str:
    if not arm.stored.is_pretrained:
        return "scratch"
    return "frozen" if arm.stored.method in ("knn", "linear_probe") else "trained"


def _card(view: StudyView, arm: Arm) -> Card:
    values = metric_values(arm.trials, "test_accuracy")
    estimated = estimate(values, view.test_images)
    several = len(set(values)) > 1
    over = f"{len(values)} seeds" if several else f"{view.test_images:,} test images, one model"
    seconds = math.fsum(trial.cost.total_seconds for trial in arm.trials) / len(arm.trials)
    scaled = arm.mean("test_ece_calibrated")
    ece = words.share(arm.mean("test_ece"))
    return Card(
        mark=mark(arm),
        title=arm.label,
        value=words.share(estimated.value),
        note=f"95 % interval {words.interval(estimated.interval or (0, 0))}, over {over}",
        facts=(
            ("work", words.flops(sum(trial.cost.flops for trial in arm.trials) / len(arm.trials))),
            *((("time, cold", words.duration(seconds)),) if view.one_machine else ()),
            ("gap to training", words.points(arm.mean("generalization_gap"))),
            ("ECE, scaled", ece if scaled is None else f"{ece}, {words.share(scaled)}"),
        ),
        href=_ACCURACY,
    )


def verdicts(view: StudyView) -> Section | None:
    """The claims with their verdicts; None where the study makes none."""
    rows = tables.ledger(view)
    if not rows:
        return None
    table = Table(
        label="Claims and verdicts",
        head=titles("Claim", "Verdict", "Measured", numbers=1),
        rows=tuple(
            Row(
                cells=(
                    claim_name(row),
                    verdict_cell(row),
                    number(row.effect, _over(row), href=f"#claim-{place}"),
                )
            )
            for place, row in enumerate(rows, 1)
        ),
        kind="ledger brief",
    )
    return Section(
        id="verdicts",
        blocks=(Heading(level=2, text=text("What was claimed, and what was found")), table),
    )


def _over(row: tables.ClaimRow) -> str:
    """The interval of a claim's difference and its number of seeds; empty where it has none."""
    return "" if row.interval == words.NONE else f"{row.interval}; n = {row.n}"


def in_two_figures(view: StudyView, fits: Sequence[labels.Fitted]) -> Section:
    """Accuracy by labels per class, and accuracy against work."""
    figure = labels.figure(view, fits, compared(view), name="fig-answer-labels")
    by_work = pareto.by_work(view, compared(view), name="fig-answer-cost")
    count = f"n = {view.test_images:,} test images; bars: 95 % intervals."
    drawn: list[Figure] = []
    if figure:
        caption = (
            f"{count} Lines: fitted curves with bands, straight where no curve fits; all arms: "
            "section labels."
        )
        drawn.append(dataclasses.replace(figure, caption=caption))
    caption = f"{count} Filled marks on the dashed line: no other arm shown is both as cheap and as accurate."
    drawn.append(dataclasses.replace(by_work, caption=caption))
    return Section(
        id="glance",
        blocks=(
            Heading(level=2, text=text("How many labels it takes, and what accuracy costs")),
            Group(layout="figures", blocks=tuple(drawn)),
        ),
    )


def ladder(view: StudyView) -> Section | None:
    """Accuracy at a few label budgets, from nothing trained to everything; None where the study has one
    budget."""
    budgets = shown_budgets(view)
    if len(budgets) < 2:
        return None
    arms = [*compared(view), *_best_control(view)]
    rows = tuple(
        Row(
            cells=(
                Cell(text=named(arm), kind="row"),
                *(_ladder_cell(view, arm, budget) for budget in budgets),
            )
        )
        for arm in arms
    )
    head = titles("Test accuracy", *(_budget_title(budget) for budget in budgets), numbers=len(budgets))
    return Section(
        id="at-a-glance",
        blocks=(
            Heading(level=2, text=text("The ladder")),
            Table(label="Test accuracy by labels per class", head=head, rows=rows, kind="brief"),
            quiet("95 % intervals over n seeds on these images; where n = 1, over test images."),
        ),
    )


def _budget_title(budget: LabelBudget) -> str:
    return "all labels" if budget.is_all else f"{budget.title} per class"


def shown_budgets(view: StudyView) -> list[LabelBudget]:
    """At most three label budgets: the fewest labels that nearly every arm has, a middle one, and the
    most."""
    counts = {budget: sum(bool(view.at(arm.name, budget)) for arm in view.arms) for budget in view.budgets}
    common = [budget for budget, count in counts.items() if count >= 0.8 * max(counts.values())]
    if len(common) <= _SHOWN_BUDGETS:
        return common
    return [common[0], common[-2], common[-1]]


def _best_control(view: StudyView) -> list[Arm]:
    controls = [arm for arm in view.arms if is_control(view, arm)]
    return sorted(controls, key=lambda arm: -(arm.mean("test_accuracy") or 0.0))[:1]


def _ladder_cell(view: StudyView, arm: Arm, budget: LabelBudget) -> Cell:
    trials = view.at(arm.name, budget)
    values = metric_values(trials, "test_accuracy")
    if not values:
        return number("–")
    estimated = estimate(values, view.test_images)
    note = f"{words.interval(estimated.interval)}; n = {len(trials)}" if estimated.interval else ""
    return number(words.share(estimated.value), note, href=_row_of(view, budget))


def _row_of(view: StudyView, budget: LabelBudget) -> str:
    """Where the accuracies at a label budget stand in the appendix."""
    return f"#labels-{words.anchor(budget.title)}" if len(view.budgets) > 1 else _ACCURACY


def choose(view: StudyView) -> Section:
    """Which arm to choose, by labels per class and by work."""
    grid = choices(view)
    head = titles(
        "Labels per class",
        *(f"up to {words.flops(limit)}" if limit else "any work" for limit in grid.limits),
    )
    rows = tuple(
        Row(
            cells=(
                row_name(_budget_title(row.budget)),
                *(_choice_cell(choice, _row_of(view, row.budget)) for choice in row.choices),
            )
        )
        for row in grid.rows
    )
    note = (
        "The most accurate arm of this study whose training took no more work than that; a recipe made for "
        "less work may reach more. “Or” names arms that the trials do not tell apart from it, the cheapest "
        f"first. Of frozen features, those of the labelled images alone are counted. {grid.rate}"
    )
    return Section(
        id="choose",
        blocks=(
            Heading(level=2, text=text("Which should I choose?")),
            Table(label="Which arm to choose", head=head, rows=rows, kind="choose"),
            quiet(note.strip()),
        ),
    )


def _choice_cell(choice: Choice | None, href: str) -> Cell:
    if choice is None:
        return words_cell("–")
    minutes = "" if choice.minutes is None else f", {_rounded(choice.minutes)}"
    tied = f"; or {words.listing([arm.label for arm in choice.tied])}" if choice.tied else ""
    accuracy = Run(words.share(choice.accuracy.value), href=href)
    note = f"{words.flops(choice.flops)}{minutes}{tied}"
    return Cell(text=text(named(choice.arm), " ", accuracy), notes=(note,))


def _rounded(minutes: float) -> str:
    """Estimated minutes to two digits: no more is known."""
    if minutes < 1:
        return "a minute or less"
    amount = f"{float(f'{minutes:.2g}'):g}\u202fmin" if minutes < 99.5 else f"{minutes / 60:.2g}\u202fh"
    return f"about {amount}"


def published(view: StudyView) -> Section | None:
    """What others have published, beside the study's own; None where nothing compares."""
    pairs = published_figures.beside(view)
    if not pairs:
        return None
    rows = tuple(
        Row(
            cells=(
                row_name(figure.title, figure.source),
                number(f"{100 * figure.accuracy:.1f}\u202f%"),
                number(words.share(arm.mean("test_accuracy")), arm.label, href=_ACCURACY),
                words_cell(figure.differs),
            )
        )
        for figure, arm in pairs
    )
    head = (
        Row(
            cells=(
                Cell(text=text("Published")),
                Cell(text=text("There"), kind="number"),
                Cell(text=text("Here"), kind="number"),
                Cell(text=text("What differs there")),
            )
        ),
    )
    return Section(
        id="published",
        blocks=(
            Heading(level=2, text=text("Published figures beside ours")),
            Table(label="Published figures beside ours", head=head, rows=rows, kind="published"),
        ),
    )


def limits(view: StudyView) -> Section:
    """The threats in five lines, and how to run it again."""
    return Section(
        id="limits",
        blocks=(
            Heading(level=2, text=text("Can I trust it?")),
            Bullets(items=(*(text(line) for line in _threats(view)), _test_set())),
        ),
    )


def _threats(view: StudyView) -> Sequence[str]:
    seeds = len({trial.seed for arm in view.arms for trial in arm.trials})
    lines = [
        f"{'One seed' if seeds == 1 else f'{seeds} seeds'} at {view.budget.words}: "
        + (
            "nothing here says how another seed would come out."
            if seeds == 1
            else "intervals are wide, and arms near each other may change places."
        ),
        "One pretrained network and one CNN; other networks may change the order.",
    ]
    if view.study.dataset.name == "cifar10":
        lines += [
            "The CNN follows speed records that were tuned on this test set; ImageNet’s labels cover most of "
            "CIFAR-10’s classes. Both sides gain an unknown little.",
            "CIFAR-10 is small and low in resolution: what holds here need not hold on your images.",
        ]
    return lines


def _test_set() -> Text:
    """When test images were read, and where all is told."""
    return text(
        "Each trial read the test images once; choices were made on validation images. In full, exceptions "
        "too: ",
        link("threats to validity", "#threats"),
        ".",
    )


def again(view: StudyView) -> Section:
    """How to run it again."""
    command = view.study.command
    rerun = reproduce.rerun(command)
    lines = f"{rerun}   # every trial anew\n{command}" if rerun else command
    lines += "\nheadstart advise photos --minutes 10   # the same question about your own images"
    return Section(
        id="again",
        blocks=(
            Heading(level=2, text=text("How to run it again")),
            Code(text=lines),
            Paragraph(text=text("Trials, versions and hashes: ", link("reproduce it", "#reproduce"), ".")),
        ),
    )
