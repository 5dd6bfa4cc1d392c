"""How far training runs ahead of test, which mistakes are made, and whether it holds on other images."""

from __future__ import annotations

from headstart.report import words
from headstart.report.chapters.common import (
    arm_name,
    arm_titles,
    by_arm,
    named,
    number,
    number_of,
    quiet,
    row_name,
    titles,
)
from headstart.report.document import (
    Block,
    Break,
    Cell,
    Details,
    Gallery,
    GalleryItem,
    Group,
    Heading,
    Paragraph,
    Picture,
    Row,
    Run,
    Section,
    Shown,
    Table,
    bold,
    text,
)
from headstart.report.load import StudyView
from headstart.report.sections import ladder, mistakes, robustness, tables
from headstart.report.sections.calibration import calibration
from headstart.report.sections.classes import by_class, confusions


def gap(view: StudyView) -> Section:
    """Training against test."""
    figures = ladder.gap_figures(view)
    note = (
        "Gap: accuracy on a fixed sample of training images, without augmentation, less accuracy on test "
        "images. Small print: 95 % interval over seeds."
    )
    title = f"Accuracy by split, {view.budget.words}"
    table = Table(
        label=title,
        head=titles("Arm", "Training", "Validation", "Test", "Gap", numbers=4),
        rows=tuple(
            Row(
                cells=(
                    Cell(text=named(row.arm)),
                    number(row.train),
                    number(row.val),
                    number(row.test),
                    number_of(row.gap),
                )
            )
            for row in ladder.gaps(view)
        ),
    )
    beside = Group(
        layout="beside",
        blocks=(
            Heading(level=3, text=text(title)),
            table,
            quiet(f"{note} {ladder.gap_note(view)}".strip()),
        ),
    )
    return Section(
        id="gap",
        blocks=(
            Heading(level=2, text=text("How far training runs ahead of test")),
            *(
                (Group(layout="figures paired", blocks=(*figures, beside)),)
                if len(figures) < 2
                else (Group(layout="figures", blocks=tuple(figures)), *beside.blocks)
            ),
        ),
    )


def which_mistakes(view: StudyView) -> Section:
    """Confusions, scores by class, and how far the arms err together."""
    table, title = _class_table(view), "Precision, recall and F1 of every class, in %"
    is_beside = len(view.arms) < 3 and len(view.class_names) <= 20
    beside = (
        (Group(layout="beside", blocks=(Heading(level=3, text=text(title)), table)),) if is_beside else ()
    )
    pairs = _pairs(view)
    return Section(
        id="mistakes",
        blocks=(
            Heading(level=2, text=text("Which mistakes they make")),
            Group(layout="figures", blocks=tuple(confusions(view))),
            Group(layout="figures paired", blocks=(by_class(view), *beside)),
            *((Group(layout="figures paired", blocks=pairs),) if pairs else ()),
            *(() if is_beside else (Details(summary=title, blocks=(table,)),)),
        ),
    )


def _class_table(view: StudyView) -> Table:
    above = Row(cells=(Cell(), Cell(), *(Cell(text=named(arm), span=3) for arm in view.arms)))
    columns = ("Prec.", "Recall", "F1")
    below = Row(
        cells=(
            Cell(text=text("Class")),
            Cell(text=text("Images"), kind="number"),
            *(Cell(text=text(name), kind="number") for _ in view.arms for name in columns),
        )
    )
    rows = tuple(
        Row(
            cells=(
                row_name(row.name),
                number(f"{row.support:,}"),
                *(number(score) for scores in row.scores for score in scores),
            )
        )
        for row in tables.classes(view)
    )
    return Table(label="Scores by class", head=(above, below), rows=rows, kind="classes")


def _pairs(view: StudyView) -> tuple[Block, ...]:
    """Which classes are confused, and how far the arms err together."""
    confused = mistakes.confused_pairs(view)
    if not confused:
        return ()
    several = len({trial.seed for arm in view.arms for trial in arm.trials}) > 1
    title = "Classes most often taken for another"
    table = Table(
        label=title,
        head=arm_titles("", view.arms),
        rows=tuple(
            Row(
                cells=(
                    row_name(f"{row.truth} taken for {row.taken_for}"),
                    *(number(words.share(value)) for value in row.shares),
                )
            )
            for row in confused
        ),
        kind="compare",
    )
    note = f"Of the true class’s test images{', seeds together' if several else ''}."
    first = Group(layout="beside", blocks=(Heading(level=3, text=text(title)), table, quiet(note)))
    together = mistakes.agreements(view)
    if not together.rows:
        return (first,)
    return (first, _agreement(view, together, several))


def _agreement(view: StudyView, together: mistakes.Agreements, several: bool) -> Group:
    title = "How far the arms err together"
    head = titles(
        "",
        "Same answer",
        "Both right",
        "Both wrong",
        "Only first right",
        "Only second right",
        "Kappa",
        numbers=6,
    )
    rows = tuple(
        Row(
            cells=(
                row_name(text(named(row.a), Break(), named(row.b))),
                *(
                    number(words.share(value))
                    for value in (row.same_prediction, row.both_right, row.both_wrong, row.only_a, row.only_b)
                ),
                number(words.number(row.kappa, 2)),
            )
        )
        for row in together.rows
    )
    note = (
        f"Image by image{', first seeds' if several else ''}. Cohen’s kappa: agreement beyond chance, 1 at "
        "most."
    )
    if together.about:
        about = " or ".join(arm.label for arm in together.about)
        note += (
            f" Of the {together.pairs} pairs of arms, the {len(together.rows)} with {about}, which the "
            "answer "
            "compares; the others follow from the test logits that each trial keeps (predictions.npz)."
        )
    return Group(
        layout="beside",
        blocks=(
            Heading(level=3, text=text(title)),
            Table(label=title, head=head, rows=rows, kind="agree"),
            quiet(note),
        ),
    )


def confidence(view: StudyView) -> Section:
    """Calibration, before and after temperature scaling."""
    title = "How sure, how right"
    rows = tuple(
        Row(
            cells=(
                Cell(text=named(row.arm)),
                number(words.share(row.confidence)),
                number(words.share(row.accuracy)),
                number(words.number(row.nll)),
                number(words.number(row.nll_calibrated)),
                number(words.share(row.ece)),
                number(
                    words.share(row.ece_calibrated),
                    "" if row.temperature is None else f"T = {words.number(row.temperature, 2)}",
                ),
            )
        )
        for row in tables.confidences(view)
    )
    table = Table(
        label=title,
        head=titles(
            "Arm", "Mean confidence", "Accuracy", "NLL", "NLL, scaled", "ECE", "ECE, scaled", numbers=6
        ),
        rows=rows,
        kind="sure",
    )
    note = quiet(
        "Scaled: all logits divided by one temperature T, fitted on the validation images. It changes how "
        "sure a network is, never which class it picks."
    )
    return Section(
        id="confidence",
        blocks=(
            Heading(level=2, text=text("Whether to believe their confidence")),
            Group(
                layout="figures paired",
                blocks=(
                    calibration(view),
                    Group(layout="beside", blocks=(Heading(level=3, text=text(title)), table, note)),
                ),
            ),
        ),
    )


def corrupted(view: StudyView) -> Section | None:
    """Accuracy under corruption; None where no model was read on corrupted images."""
    read = robustness.robustness(view)
    if read is None:
        return None
    first, second = read.figures
    by_corruption = by_arm(
        "Accuracy by corruption",
        "",
        read.arms,
        [(row_name(row.title), row.cells) for row in read.by_corruption],
        "compare",
    )
    details = Details(summary="Accuracy by corruption, with intervals", blocks=(by_corruption,))
    missing = text(" ", bold("Not read yet:"), f" {'; '.join(read.missing)}.") if read.missing else ()
    left_out = (
        f"; {read.left_out} {'reading' if read.left_out == 1 else 'readings'} of other images "
        f"{'is' if read.left_out == 1 else 'are'} left out"
        if read.left_out
        else ""
    )
    lead = (
        f"{read.lead} The corruptions are those of CIFAR-10-C, made from {read.images:,} of this study’s "
        "test "
        f"images{left_out}. One trained model an arm: intervals are over images, not over seeds."
    )
    return Section(
        id="robustness",
        blocks=(
            Heading(level=2, text=text("Whether it holds on corrupted images")),
            Paragraph(text=text(lead, missing)),
            _corruption_table(read),
            Group(layout="figures paired", blocks=(first, Group(layout="stack", blocks=(second, details)))),
            *_strips(read),
        ),
    )


def _corruption_table(read: robustness.Section) -> Table:
    head = Row(
        cells=tuple(
            Cell(text=text(name))
            for name in ("", "As they are", "Corrupted, mean", "Drop, points", "Share lost")
        )
    )
    rows = tuple(
        Row(
            cells=(
                arm_name(row.arm),
                *(number_of(cell) for cell in (row.clean, row.mean, row.drop, row.relative_drop)),
            )
        )
        for row in read.rows
    )
    return Table(label="Accuracy under corruption", head=(head,), rows=rows, kind="compare")


def _strips(read: robustness.Section) -> tuple[Block, ...]:
    if not read.strips:
        return ()
    items = tuple(
        GalleryItem(
            shown=(
                Shown(
                    picture=Picture(
                        source=strip.image,
                        alt=f"test images under {strip.title.lower()}, severities 1 to 5",
                        width=strip.width,
                        height=strip.height,
                    ),
                    lines=(text(strip.title, " ", Run(strip.family, "quiet")),),
                ),
            )
        )
        for strip in read.strips
    )
    title = "What the corruptions look like"
    return (
        Heading(level=3, text=text(title), kind="break"),
        Paragraph(text=text("Each row: a test image as it is, then at severities 1 to 5.")),
        Gallery(name="corruptions", title=title, items=items, kind="sheet"),
    )


def shifted(view: StudyView) -> Section | None:
    """Accuracy on images from elsewhere; None where no model was read on any."""
    sets = robustness.shifts(view)
    if not sets:
        return None
    blocks: list[Block] = [Heading(level=2, text=text("Whether it holds on images from elsewhere"))]
    for place, each in enumerate(sets, 1):
        count = f"{each.images:,} images of {each.classes} classes"
        head = Row(
            cells=tuple(Cell(text=text(name)) for name in ("", "Test images", each.name, "Drop, points"))
        )
        blocks += [
            Heading(level=3, text=text(each.name, " ", Run(count, "quiet")), id=f"shift-{place}"),
            Table(
                label=f"Accuracy on {each.name}",
                head=(head,),
                rows=tuple(
                    Row(
                        cells=(
                            arm_name(row.arm),
                            number(row.test),
                            number_of(row.accuracy),
                            number_of(row.drop),
                        )
                    )
                    for row in each.rows
                ),
                kind="compare",
            ),
        ]
    note = (
        "One trained model an arm, its first seed. 95 % intervals over images: Wilson for an accuracy, "
        "Newcombe for the drop."
    )
    return Section(id="shift", blocks=(*blocks, quiet(note)))
