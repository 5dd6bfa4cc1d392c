"""What the arms reach, how they learn, what accuracy costs, and how many labels it takes."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.report import machines, words
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
    Cell,
    Figure,
    Group,
    Heading,
    Paragraph,
    Row,
    Section,
    Table,
    text,
)
from headstart.report.load import StudyView
from headstart.report.sections import comparison, labels, ladder, pareto, tables
from headstart.report.sections.accuracy import accuracy
from headstart.report.sections.choice import in_figures
from headstart.report.sections.cost import cost
from headstart.report.sections.learning import TimeRow, clock_marks, learning, time_rows, times


def side_by_side(view: StudyView) -> Section:
    """Every measure of every arm at the main label budget."""
    about = view.study.dataset
    several = len({trial.seed for arm in view.arms for trial in arm.trials}) > 1
    apart = machines.legend(view)
    lead = (
        f"{about.title}: {about.train_images:,} training and {about.test_images:,} test images of "
        f"{len(about.class_names)} classes, {about.image_pixels}×{about.image_pixels} pixels. Every number "
        f"below is at {view.budget.words}{' and a mean over seeds' if several else ''}; bold marks the "
        "better "
        f"side{'; what depends on the machine has none here' if apart else ''}."
    )
    few = len(view.arms) < 3
    notes = (quiet(apart),) if apart else ()
    return Section(
        id="comparison",
        blocks=(
            Heading(level=2, text=text("Side by side")),
            Paragraph(text=text(lead)),
            Group(
                layout="split" if few else "whole",
                blocks=(
                    Group(layout="whole", blocks=(_comparison_table(view), *notes)),
                    Group(layout="stack" if few else "figures", blocks=(accuracy(view), cost(view))),
                ),
            ),
        ),
    )


def _comparison_table(view: StudyView) -> Table:
    rows = []
    for group in comparison.comparison(view):
        title = Cell(text=text(group.title), span=len(view.arms) + 1)
        rows.append(Row(cells=(title,), kind="group"))
        rows += [
            Row(
                cells=(row_name(row.title, row.hint), *(number_of(cell) for cell in row.cells)),
                id="" if row.title.startswith("…") else f"row-{words.anchor(row.title)}",
            )
            for row in group.rows
        ]
    return Table(label="Comparison table", head=arm_titles("", view.arms), rows=tuple(rows), kind="compare")


def how_they_learn(view: StudyView) -> Section | None:
    figures = tuple(learning(view))
    if not figures:
        return None
    return Section(
        id="learning",
        blocks=(
            Heading(level=2, text=text("How they learn")),
            Group(layout="figures", blocks=figures),
        ),
    )


def time_to_accuracy(view: StudyView) -> Section | None:
    figure = times(view)
    if figure is None:
        return None
    note = (
        "From the evaluation before to the first that read the target on the validation images: in "
        "between nothing "
        "is known, and arms whose ranges overlap have no order. Time and work are cold: they include the "
        "features of "
        "a frozen backbone."
    )
    return Section(
        id="time",
        blocks=(
            Heading(level=2, text=text("Time to accuracy")),
            Group(
                layout="figures paired",
                blocks=(
                    figure,
                    Group(
                        layout="beside",
                        blocks=(
                            Heading(level=3, text=text("What each target cost")),
                            _time_table(time_rows(view)),
                            quiet(f"{note} {clock_marks(view)}".strip()),
                        ),
                    ),
                ),
            ),
        ),
    )


def _time_table(rows: list[TimeRow]) -> Table:
    written = []
    for place, row in enumerate(rows):
        first = place == 0 or row.target != rows[place - 1].target
        target = Cell(text=text(f"{100 * row.target:g} %" if first else ""), kind="left")
        written.append(
            Row(cells=(target, Cell(text=named(row.arm)), *_time_cells(row)), kind="first" if first else "")
        )
    return Table(
        label="What each target cost",
        head=titles("Target", "Arm", "Time", "Epochs", "Work", numbers=3),
        rows=tuple(written),
    )


def _time_cells(row: TimeRow) -> tuple[Cell, ...]:
    if row.seconds is None and row.epochs is None and row.flops is None:
        never = "never" if row.reached == 0 else f"{row.reached} of {row.seeds} seeds"
        return (Cell(text=text(never), kind="quiet", span=3),)
    return (
        number(words.between(row.seconds, words.duration) + (row.machine if row.seconds is not None else "")),
        number(words.between(row.epochs, lambda epochs: f"{epochs:.3g}")),
        number(words.between(row.flops, words.flops)),
    )


def costs(view: StudyView) -> Section:
    """What accuracy costs."""
    measured = pareto.section(view)
    blocks: list[Block] = [Heading(level=2, text=text("What accuracy costs"))]
    if measured.shared:
        shared = f"Computed once and read by several trials, frozen features cost less: {measured.shared}."
        blocks.append(Paragraph(text=text(shared)))
    blocks.append(Group(layout="figures", blocks=measured.figures))
    equal = [
        (title, first, rows)
        for title, first, rows in (
            ("At equal time", "Time of training", measured.by_seconds),
            ("At equal work", "Work", measured.by_flops),
        )
        if rows
    ]
    if equal:
        beside = tuple(
            Group(
                layout="beside",
                blocks=(
                    Heading(level=3, text=text(title)),
                    by_arm(
                        title,
                        first,
                        view.arms,
                        [(row_name(row.title), row.cells) for row in rows],
                        "compare equal",
                    ),
                ),
            )
            for title, first, rows in equal
        )
        clock = (
            "Time of training is cold and counts a frozen backbone’s features; validation and reading "
            "come on "
            "top. "
            if measured.by_seconds
            else ""
        )
        blocks += [
            Group(layout="figures paired", blocks=beside),
            quiet(
                f"{clock}Validation accuracy at the last evaluation within that cost; nothing is "
                "interpolated, and test images are never read along the way."
            ),
        ]
    return Section(id="costs", blocks=tuple(blocks))


def label_budgets(view: StudyView, fits: Sequence[labels.Fitted]) -> Section | None:
    """Accuracy by labels per class; None where the study has one budget."""
    by_name = {arm.name: arm for arm in view.arms}
    figures = [
        figure
        for suffix, names in in_figures(view, list(by_name))
        if (figure := labels.figure(view, fits, [by_name[n] for n in names], f"fig-labels{suffix}"))
    ]
    if not figures:
        return None
    table = _budget_table(view)
    drawn: tuple[Block, ...] = (
        (Group(layout="figures paired", blocks=(*figures, table)),)
        if len(figures) == 1
        else (Group(layout="figures", blocks=tuple(figures)), *table.blocks)
    )
    return Section(
        id="labels",
        blocks=(
            Heading(level=2, text=text("How many labels it takes")),
            *drawn,
            *_curves(view, labels.table(view, fits)),
        ),
    )


def _budget_table(view: StudyView) -> Group:
    title = "Test accuracy by labels a class"
    rows = tables.budgets(view)
    table = Table(
        label=title,
        head=arm_titles("Labels a class", view.arms),
        rows=tuple(
            Row(
                cells=(row_name(row.title), *(number_of(cell) for cell in row.cells)),
                id=f"labels-{words.anchor(row.title)}",
            )
            for row in rows
        ),
        kind="compare labels",
    )
    return Group(
        layout="beside",
        blocks=(
            Heading(level=3, text=text(title)),
            table,
            quiet("Small print: 95 % intervals, over seeds on these images; of one trial, over test images."),
        ),
    )


def _curves(view: StudyView, table: labels.LabelTable | None) -> tuple[Block, ...]:
    """What the fitted label curves say."""
    if table is None:
        return ()
    missing = "; ".join(table.missing)
    blocks: list[Block] = []
    if table.rows:
        blocks += [
            Heading(level=3, text=text("What the curves say")),
            by_arm(
                "What the curves say",
                "",
                view.arms,
                [(row_name(row.title, row.hint), row.cells) for row in table.rows],
                "compare",
            ),
            quiet(
                "Small print: 95 % intervals, from a bootstrap over seeds. A dash: the data cannot say."
                + (f" No curve: {missing}." if missing else "")
            ),
        ]
    elif missing:
        blocks.append(quiet(f"No curve is fitted: {missing}."))
    return (*blocks, *(Paragraph(text=text(sentence)) for sentence in table.meetings))


def fine_tuning(view: StudyView) -> Section | None:
    """How much of the pretrained network to train on; None where the study has nothing to compare."""
    steps = ladder.steps(view)
    if not steps.rows:
        return None
    lead = (
        "From a head on frozen features to every layer. Test accuracy by labels a class; small print: the "
        "step from the row above in points, paired by seed, with its 95 % interval."
    )
    if steps.rows[0].apart:
        lead += " Where rows see images of different sizes, a step is of both, size and method."
    return Section(
        id="ladder",
        blocks=(
            Heading(level=2, text=text("How much of the pretrained network to train on")),
            Paragraph(text=text(lead)),
            _ladder_table("Fine-tuning ladder", "Arm", steps, ladder_rows=True),
        ),
    )


def _ladder_table(label: str, first: str, table: ladder.Table, *, ladder_rows: bool) -> Table:
    rows = []
    for row in table.rows:
        against = f"less {row.against.label}" if row.against and not ladder_rows else ""
        note = ", ".join(part for part in (against, row.apart) if part)
        rows.append(
            Row(
                cells=(arm_name(row.arm, note), *(number_of(cell) for cell in row.cells)),
                id=f"ladder-{words.anchor(row.arm.name)}" if ladder_rows else "",
            )
        )
    head = Row(cells=(Cell(text=text(first)), *(Cell(text=text(title)) for title in table.budgets)))
    return Table(label=label, head=(head,), rows=tuple(rows), kind="compare")


def controls(view: StudyView) -> Section | None:
    """What pretraining adds; None where the study has no control."""
    table = ladder.controls(view)
    if not table.rows:
        return None
    lead = (
        "Each row: test accuracy of an arm that starts from pretrained weights less that of its control, the "
        "same network from random weights, in points and paired by seed. A row says where the recipe or the "
        "input size differs too: such differences are of weights, recipe and size together."
    )
    figure: Figure | None = ladder.pretraining_figure(view)
    drawn = (Group(layout="figures", blocks=(figure,)),) if figure else ()
    return Section(
        id="controls",
        blocks=(
            Heading(level=2, text=text("What pretraining adds, and what the architecture does")),
            Paragraph(text=text(lead)),
            _ladder_table(
                "Controls from random weights", "Pretrained, less its control", table, ladder_rows=False
            ),
            quiet("Small print: 95 % intervals over seeds."),
            *drawn,
        ),
    )
