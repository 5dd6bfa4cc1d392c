"""What was studied and how: the images, the methods, what keeps the comparison fair, and the tuning."""

from __future__ import annotations

from headstart.report import words
from headstart.report.chapters.common import (
    list_items,
    named,
    number,
    quiet,
    row_name,
    titles,
    words_cell,
)
from headstart.report.document import (
    Article,
    Block,
    Bullets,
    Cell,
    Details,
    Group,
    Heading,
    Mark,
    Paragraph,
    Row,
    Run,
    Section,
    Table,
    bold,
    link,
    text,
)
from headstart.report.load import Arm, StudyView
from headstart.report.sections import reproduce, tuning
from headstart.report.sections.methods import method, starts


def data(view: StudyView) -> Section:
    """What the images are and how they are divided."""
    about, plan = view.study.dataset, reproduce.label_plan(view)
    names = about.class_names
    listed = f" ({', '.join(view.class_names)})" if len(names) <= 20 else ""
    source = f" Source: {about.source}." if about.source else ""
    blocks: list[Block] = [
        Heading(level=2, text=text("Data")),
        Paragraph(
            text=text(
                f"{about.title}: {about.train_images:,} training and {about.test_images:,} test images, "
                f"{about.image_pixels}×{about.image_pixels} pixels, of {len(names)} classes{listed}. "
                f"{reproduce.test_balance(view)}{source}"
            )
        ),
    ]
    most = max(arm.first.train_images for arm in view.arms)
    if view.arms[0].first.phase == "select" and most < about.train_images and view.budget.is_all:
        blocks.append(
            Paragraph(
                text=text(
                    f"The training images are divided once and for all: {most:,} to train on with all "
                    f"labels, {about.train_images - most:,} for validation, where everything that is chosen "
                    "is chosen. Test images are read at the end of a trial, once."
                )
            )
        )
    if len(plan) > 1:
        blocks += [
            Paragraph(
                text=text(
                    "A label budget of ",
                    Run("n", "italic"),
                    " labels a class shows an arm ",
                    Run("n", "italic"),
                    " training images of each class and nothing of the others, not even for validation; "
                    "subset ",
                    Run("s", "italic"),
                    " is the same for every arm, and the subsets of one seed nest.",
                )
            ),
            Table(
                label="Label budgets",
                head=titles("Labels a class", "Training images", "Seeds, at most", "Arms", numbers=3),
                rows=tuple(
                    Row(
                        cells=(
                            row_name(row["title"]),
                            *(number(row[column]) for column in ("images", "seeds", "arms")),
                        )
                    )
                    for row in plan
                ),
            ),
        ]
    return Section(id="data", blocks=tuple(blocks))


def methods(view: StudyView) -> Section:
    """What each arm does."""
    lead = (
        f"{starts(view)} The study’s file names every recipe, one for each arm and label budget; what a "
        "trial still chooses for itself, it chooses on validation images, or on folds inside its label "
        "budget."
    )
    articles = tuple(_article(view, arm) for arm in view.arms)
    return Section(
        id="methods",
        blocks=(
            Heading(level=2, text=text("What was done")),
            Paragraph(text=text(lead)),
            Group(layout="methods", blocks=articles),
        ),
    )


def _article(view: StudyView, arm: Arm) -> Article:
    about = method(view, arm)
    recipe = f" (recipe “{about.recipe_name}”)" if about.recipe_name else ""
    settings = Table(
        label=f"Settings of {arm.label}",
        head=(),
        rows=tuple(Row(cells=(row_name(name), words_cell(value))) for name, value in about.settings),
        kind="settings",
    )
    return Article(
        place=arm.place,
        blocks=(
            Heading(level=3, text=named(arm), id=f"arm-{words.anchor(arm.name)}"),
            *(Paragraph(text=text(paragraph)) for paragraph in about.paragraphs),
            Details(summary=f"Every setting{recipe}", blocks=(settings,)),
        ),
    )


def fairness(view: StudyView) -> Section:
    """What keeps the comparison fair."""
    seeds = sorted({trial.seed for arm in view.arms for trial in arm.trials})
    chosen = (
        "at the end of a trial. Everything that was chosen (epoch, penalty, learning rate, recipe) was "
        "chosen "
        "on validation images; one view of each test image counts for every arm."
    )
    before = (
        text(" What happened before is told ", link("with the threats", "#threats"), ".")
        if view.study.notes
        else ()
    )
    one = (
        "One seed gives no interval over seeds: the tables say n/a, and the interval over test images speaks "
        "of this one trained model only."
    )
    several = "An arm that comes out the same at every seed counts once."
    return Section(
        id="fairness",
        blocks=(
            Heading(level=2, text=text("What keeps it fair")),
            Bullets(
                items=(
                    text(
                        bold("Same images."),
                        f" All arms use the same split of {view.study.dataset.title}: training, "
                        "validation and "
                        "test never overlap. Trial seed ",
                        Run("s", "italic"),
                        " draws label subset ",
                        Run("s", "italic"),
                        ", the same for every arm, so that differences pair up.",
                    ),
                    text(bold("Test is read once,"), f" {chosen}", before),
                    *list_items(
                        _phase(view),
                        (
                            f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'} "
                            f"({', '.join(map(str, seeds))}).",
                            one if len(seeds) == 1 else several,
                        ),
                        (
                            "Costs are whole.",
                            "Cold seconds include a frozen backbone’s features; the time spent, with stored "
                            "features reused, stands beside them.",
                        ),
                    ),
                )
            ),
        ),
    )


def _phase(view: StudyView) -> tuple[str, str]:
    """What the trials train on: opening and sentence."""
    if view.arms[0].first.phase == "refit":
        selecting = any("l2" in arm.first.selected for arm in view.arms)
        return (
            "Recipes were chosen before.",
            "These trials train on all training images with recipes already chosen, so there is no "
            "validation "
            "accuracy."
            + (
                " What a recipe leaves to the trial, the L2 penalty of a new head, is chosen with the "
                "validation images held out; then the head is fitted to all."
                if selecting
                else ""
            ),
        )
    sizes = " or ".join(f"{n:,}" for n in sorted({arm.first.train_images for arm in view.arms}))
    return (
        "Validation stays out of training.",
        f"These trials train on the training images less the validation split ({sizes} images), so that what "
        "validation chose was not trained on it.",
    )


def tuned(view: StudyView) -> Section | None:
    """How the recipes were tuned; None where nothing was searched."""
    searched = tuning.tuning(view)
    if searched is None:
        return None
    table = _tuning_table(searched["rows"])
    figures = tuple(searched["figures"])
    beside = len(figures) == 1
    drawn: tuple[Block, ...] = (
        (Group(layout="figures paired", blocks=(*figures, Group(layout="beside", blocks=table))),)
        if beside
        else (Group(layout="figures", blocks=figures), *table)
    )
    chosen = (
        *(
            Paragraph(text=text(bold(title), f", searched: {bounds}."))
            for title, bounds in searched["spaces"]
        ),
        *(
            Paragraph(text=text(bold(row.style.label), f", {row.budget}, chosen: {row.chosen}."))
            for row in searched["rows"]
        ),
    )
    return Section(
        id="tuning",
        blocks=(
            Heading(level=2, text=text("How the recipes were tuned")),
            Paragraph(
                text=text(
                    "Each arm that was searched got a stated number of tries; the first is the recipe that "
                    "the search began with, so that the best is never worse on validation. Proposals come "
                    "from a seeded tree-structured Parzen estimator. No test image was read."
                )
            ),
            *drawn,
            Details(summary="What was searched, and what was chosen", blocks=chosen),
        ),
    )


def _tuning_table(rows: list[tuning.Row]) -> tuple[Block, ...]:
    return (
        Heading(level=3, text=text("Tries, time and what they gained")),
        Table(
            label="Tries, time and what they gained",
            head=titles("Arm", "Tries", "Time", "Before", "Best", numbers=4),
            rows=tuple(
                Row(
                    cells=(
                        Cell(
                            text=text(Mark(row.place, row.style.marker), " ", row.style.label),
                            notes=(f"{row.budget}; a try: {row.proxy}",),
                        ),
                        number(row.tries),
                        number(words.duration(row.seconds)),
                        number(words.share(row.start)),
                        number(words.share(row.best)),
                    )
                )
                for row in rows
            ),
        ),
        quiet("Before: the recipe that the search began with, on the same validation images."),
    )
