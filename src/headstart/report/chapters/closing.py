"""The claims with their verdicts, what could still be wrong, what the study cost, and how to run it again."""

from __future__ import annotations

from headstart.report import words
from headstart.report.chapters.common import (
    arm_titles,
    claim_name,
    list_items,
    named,
    number,
    number_of,
    quiet,
    row_name,
    titles,
    verdict_cell,
    words_cell,
)
from headstart.report.document import (
    Block,
    Break,
    Bullets,
    Cell,
    Code,
    Details,
    Heading,
    Paragraph,
    Row,
    Run,
    Section,
    Table,
    Text,
    bold,
    code,
    link,
    text,
)
from headstart.report.load import StudyView
from headstart.report.sections import reproduce, tables, tuning
from headstart.report.sections.methods import pretraining
from headstart.report.sections.spending import Spending, spending

_MANY_TRIALS = 30  # of more, the table is closed on a screen and left out on paper


def claims(view: StudyView) -> Section | None:
    """The claims with their verdicts; None where the study makes none."""
    rows = tables.ledger(view)
    if not rows:
        return None
    lead = (
        "Written into the study before it ran, but where marked post hoc. The claims are one family, those "
        "post hoc another: intervals and p-values are adjusted for their number (Holm). The interval, p and "
        "the verdict are "
        "over seeds and test images: they answer for new trainings read on new images of the same kind. "
        "Below it stands the interval over seeds, on these images; costs have that one alone. One seed on a "
        "side decides nothing."
    )
    table = Table(
        label="Claims ledger",
        head=titles("Claim", "Verdict", "Measured", "Interval", "p", "n", numbers=4),
        rows=tuple(
            Row(
                cells=(
                    claim_name(row, row.measured, row.note),
                    verdict_cell(row),
                    number(row.effect),
                    number(
                        row.interval, row.interval_over_seeds and f"over seeds: {row.interval_over_seeds}"
                    ),
                    number(row.p_value),
                    number(str(row.n)),
                ),
                id=f"claim-{place}",
            )
            for place, row in enumerate(rows, 1)
        ),
        kind="ledger",
    )
    return Section(
        id="claims",
        blocks=(
            Heading(level=2, text=text("Claims, decided")),
            Paragraph(text=text(lead)),
            table,
            *_rewordings(view),
        ),
    )


def _rewordings(view: StudyView) -> tuple[Block, ...]:
    """Claims that were worded otherwise before the study ran."""
    reworded = [(place, claim) for place, claim in enumerate(view.study.claims, 1) if claim.original]
    if not reworded:
        return ()
    lead = (
        "Reworded since, with the same arms, metric, margin and direction. As they stood before the "
        "study ran:"
    )
    items = tuple(text(link(f"Claim {place}", f"#claim-{place}"), f": {c.original}") for place, c in reworded)
    return (Paragraph(text=text(lead)), Bullets(items=items))


_CIFAR10 = (
    (
        "The CNN’s ideas were tuned on this test set.",
        "Its architecture and training follow published speed records (cifar10-airbench), whose settings "
        "were "
        "found on CIFAR-10’s own test set. No test image had a say in this study’s recipes, but the "
        "ideas that "
        "they start from were not: the CNN’s side gains an unknown little.",
    ),
    (
        "ImageNet’s labels overlap CIFAR-10’s classes.",
        "ImageNet has dozens of kinds of dog, cats, birds, frogs, ships, trucks, cars and aeroplanes, so the "
        "pretrained network had seen labelled pictures of nearly every class here. On classes far from "
        "ImageNet’s it would help less.",
    ),
    (
        "CIFAR-10 repeats itself.",
        "Some test images have near copies among the training images (Barz and Denzler, 2020), and a few "
        "labels are wrong (Northcutt and others, 2021); every arm meets the same ones, but an arm that "
        "memorises gains by it.",
    ),
)


def threats(view: StudyView) -> Section:
    """What could still be wrong."""
    seeds = len({trial.seed for arm in view.arms for trial in arm.trials})
    machines = spending(view).machines
    several = len(machines) > 1
    own: list[tuple[str, str]] = []
    if view.study.dataset.name == "cifar10":
        own += [
            *_CIFAR10,
            (
                "Low resolution.",
                "The pretrained network saw photographs of 224 pixels; here it sees "
                f"{view.study.dataset.image_pixels} pixels enlarged to what each method says. Its accuracy "
                "grows with that size, and so does its cost.",
            ),
        ]
    own += [
        (
            "More than one machine." if several else "One machine.",
            f"Seconds were measured on {'; '.join(machines)}. Another machine has another ratio between the "
            "arms’ times; counted operations do not depend on it."
            + (" Seconds of different machines are not compared." if several else ""),
        ),
        (
            "One seed." if seeds == 1 else f"{seeds} seeds at {view.budget.words}.",
            "Nothing here says how another seed would come out; no claim is decided."
            if seeds == 1
            else "Few seeds make wide intervals, and t intervals take seeds for independent draws from a "
            "normal "
            "distribution; the split into training and validation is the same for all of them.",
        ),
        (
            "One set of weights, one network size a side.",
            "Other pretrained networks, larger ones above all, and other CNNs may change the order.",
        ),
        ("Tuning is never equal.", tuning.effort(view)),
    ]
    for note in view.study.notes:
        opening, stop, rest = note.partition(". ")
        own.append((opening + stop.strip(), rest))
    return Section(
        id="threats",
        blocks=(
            Heading(level=2, text=text("Threats to validity")),
            Bullets(items=list_items(*own)),
        ),
    )


def bill(view: StudyView) -> Section:
    """What the whole study cost."""
    spent = spending(view)
    lead = (
        f"All {len(view.trials):,} trials, every label budget and seed. Cold: had every trial begun with an "
        "empty cache. Spent: what the trials took, with stored features read again."
    )
    measured = (
        f"Measured on {'; '.join(spent.machines)}. Work: floating-point operations, counted. Memory: the "
        "highest of the trials."
    )
    return Section(
        id="cost",
        blocks=(
            Heading(level=2, text=text("What it cost")),
            Paragraph(text=text(lead)),
            _bill_table(spent),
            *_budget_costs(view),
            *_steps(spent),
            quiet(measured),
            *_pretraining(view),
        ),
    )


def _bill_table(spent: Spending) -> Table:
    names = ["Trials", "Time, cold", "Time, spent", "Work", "Images passed", "Peak memory"]
    names += ["Energy"] if spent.with_energy else []
    rows = []
    for row in spent.rows:
        values = [f"{row.trials:,}", row.cold, row.spent, row.flops, row.examples, row.memory]
        values += [row.energy] if spent.with_energy else []
        first = Cell(text=named(row.arm) if row.arm else text(bold("All")))
        rows.append(Row(cells=(first, *(number(value) for value in values)), kind="" if row.arm else "first"))
    return Table(label="Cost of the study", head=titles("Arm", *names, numbers=len(names)), rows=tuple(rows))


def _budget_costs(view: StudyView) -> tuple[Block, ...]:
    rows = tables.budget_costs(view)
    if not rows:
        return ()
    table = Table(
        label="Work of a trial by labels a class",
        head=arm_titles("Work of a trial, by labels a class", view.arms),
        rows=tuple(
            Row(
                cells=(row_name(row.title), *(number_of(cell) for cell in row.cells)),
                id=f"work-{words.anchor(row.title)}",
            )
            for row in rows
        ),
        kind="compare labels",
    )
    note = (
        "A mean over trials; n counts them. Work on frozen features is counted whole: they are computed for "
        "all training images once, and serve every budget and seed."
    )
    return (table, quiet(note))


def _steps(spent: Spending) -> tuple[Block, ...]:
    if not spent.steps:
        return ()
    last = len(spent.steps) - 1
    rows = tuple(
        Row(
            cells=(words_cell(step.title), number(step.count), number(step.spent)),
            kind="first" if place == last else "",
        )
        for place, step in enumerate(spent.steps)
    )
    head = titles("Beside the trials", "Number", "Time, spent", numbers=2)
    return (Table(label="Cost beside the trials", head=head, rows=rows),)


def _pretraining(view: StudyView) -> tuple[Block, ...]:
    sources = pretraining(view)
    if not sources:
        return ()
    paragraphs = []
    for source in sources:
        licence = f" ({source['licence']})" if source["licence"] else ""
        origin = f" Weights: {source['origin']}{licence}." if source["origin"] else ""
        paragraphs.append(
            Paragraph(
                text=text(
                    bold(source["title"]),
                    f": {source['pretraining']}.{origin} None of this is in the costs here, which begin "
                    "with the "
                    "downloaded weights.",
                )
            )
        )
    return (Heading(level=3, text=text("What pretraining cost its makers")), *paragraphs)


def again(view: StudyView, files: str) -> Section:
    """How to run the study again, every trial, and what lies beside the page. files: the trials' folders seen
    from the page."""
    command = view.study.command
    rerun = reproduce.rerun(command)
    blocks: list[Block] = [Heading(level=2, text=text("Reproduce it"))]
    if rerun:
        every = (
            "Every trial anew, from the data and weights that the program fetches, then from what "
            "was published:"
        )
        blocks += [Paragraph(text=text(every)), Code(text=f"{rerun}\n{command}")]
    else:
        blocks.append(Code(text=command))
    searched = reproduce.searches(command)
    if searched and view.searches:
        blocks.append(
            Paragraph(text=text("The searches for recipes, on validation images: ", code(searched)))
        )
    same = (
        "The same trial on the same machine, versions and thread count gives the same bits. Finished trials "
        "are found by their key and not run again."
    )
    blocks.append(Paragraph(text=text(same)))
    trials = _trials(view, files)
    if len(view.trials) > _MANY_TRIALS:
        blocks.append(Details(summary=f"All {len(view.trials)} trials", blocks=(trials,), kind="long"))
    else:
        blocks.append(trials)
    return Section(id="reproduce", blocks=(*blocks, _environments(view), Paragraph(text=_beside(files))))


def _trials(view: StudyView, files: str) -> Table:
    phase = view.arms[0].first.phase
    rows = []
    for trial in view.trials:
        about = reproduce.trial(view, trial)
        other = f" ({about['phase']})" if about["phase"] != phase else ""
        folder = Run(about["key"][:12], "code", href=f"{files}{about['folder']}/")
        rows.append(
            Row(
                cells=(
                    words_cell(about["label"] + other),
                    words_cell(about["budget"]),
                    number(str(about["seed"])),
                    number(words.share(about["accuracy"], 2)),
                    number(words.duration(about["seconds"]) + about["machine"]),
                    number(words.duration(about["spent"]) + about["machine"]),
                    words_cell(text(folder)),
                    number(about["started"]),
                )
            )
        )
    names = ("Trial", "Labels", "Seed", "Test", "Cold", "Spent", "Folder", "Started")
    kinds = ("text", "text", "number", "number", "number", "number", "text", "text")
    head = Row(
        cells=tuple(
            Cell(text=text(name), kind="number" if kind == "number" else "text")
            for name, kind in zip(names, kinds, strict=True)
        )
    )
    return Table(label="Trials", head=(head,), rows=tuple(rows), kind="trials")


def _environments(view: StudyView) -> Details:
    about = view.study.dataset
    rows = [
        Row(cells=(row_name(name), words_cell("; ".join(values))))
        for name, values in reproduce.environments(view)
    ]
    source = text(f"{about.title}, {about.source}", Break(), code(about.fingerprint))
    rows.append(Row(cells=(row_name("data set"), words_cell(source))))
    for trial in view.trials:
        each = reproduce.trial(view, trial)
        weights: Text = (
            text(Break(), "weights ", code(each["weights_hash"])) if each["weights_hash"] != "none" else ()
        )
        name = f"{each['label']}, {each['budget']}, seed {each['seed']}"
        rows.append(
            Row(cells=(row_name(name), words_cell(text("trial ", code(each["key"]), weights))), kind="hash")
        )
    table = Table(label="Environment and hashes", head=(), rows=tuple(rows), kind="settings")
    return Details(summary="Environment and hashes", blocks=(table,))


def _beside(files: str) -> Text:
    if not files:
        return text(
            "Beside this page: ",
            link("study.json", "study.json"),
            ", ",
            link("study.toml", "study.toml"),
            ", ",
            link("results.csv", "results.csv"),
            ", and one folder for each trial with its history, logits and weights.",
        )
    return text(
        "Beside this page: the same report as ",
        link("page", "report.html"),
        ", ",
        link("PDF", "report.pdf"),
        " and ",
        link("Markdown", "README.md"),
        ", ",
        link("results.csv", "results.csv"),
        " (a row a trial), ",
        link("findings.json", "findings.json"),
        " (the claims), ",
        link("study.toml", "study.toml"),
        ", ",
        link("every figure", "figures/"),
        " as SVG and PNG, and in ",
        link(files, files),
        " each trial’s summary, history and test logits. From these alone, without data, weights or "
        "network, ",
        code("make report"),
        " makes everything again.",
    )
