"""The answer as a page of its own, advice.html, and as advice.md: one document, two writers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import plots, store
from headstart.advise.advice import INTERVALS, Advice
from headstart.advise.candidates import Judged
from headstart.advise.images import PartOfImages
from headstart.advise.label_curve import LabelCurve
from headstart.advise.wording import between, percent
from headstart.report.document import (
    Block,
    Bullets,
    Cell,
    Code,
    Document,
    Figure,
    Gallery,
    GalleryItem,
    Group,
    Heading,
    Paragraph,
    Picture,
    Row,
    Run,
    Shown,
    Table,
    text,
)
from headstart.report.load import data_uri
from headstart.report.sections.figure import finish
from headstart.report.writers.html import html, style_sheet
from headstart.report.writers.markdown import markdown
from headstart.results.metrics import probabilities
from headstart.runtime import progress

_SHOWN = 24  # images of each kind
_PIXELS = 96
_STYLE = (  # blocks that stand alone here and within sections in a report
    "main>.lead:first-child{margin-top:28px}main>h2{margin-top:44px}"
    "main>.figures+p{margin-top:28px}main>.gallery+p{margin-top:16px}\n"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What the page shows. judged: of the images uint8 (M, S, S, 3), in their order, with their file
    names."""

    advice: Advice
    judged: Judged
    images: NDArray[np.uint8] | PartOfImages
    names: Sequence[str]
    class_names: Sequence[str]
    curve: LabelCurve | None
    title: str


def write_pages(evidence: Evidence, folder: Path) -> None:
    """Writes advice.html and advice.md. Raises: StoreError."""
    document = advice_document(evidence)
    store.write_bytes(folder / "advice.html", html(document, style_sheet() + _STYLE).encode())
    store.write_bytes(folder / "advice.md", markdown(_words_alone(document), lambda _: "").encode())


def advice_document(evidence: Evidence) -> Document:
    """The page: the sentence, how sure, what was tried, mistakes, which images to label next, what to do."""
    advice = evidence.advice
    blocks: list[Block] = [
        Paragraph(text=text(Run(advice.sentence(), "bold")), kind="lead"),
        Paragraph(text=text(advice.guessing())),
        Paragraph(text=text(advice.confidence())),
        Heading(level=2, text=text("What to do")),
        Bullets(items=tuple(text(line) for line in _to_do(advice))),
        Code(text=advice.command()),
        Heading(level=2, text=text("What was tried")),
        _candidates(advice),
        Paragraph(text=text(INTERVALS), kind="quiet"),
        *_figures(evidence),
    ]
    if advice.dropped:
        blocks += [
            Paragraph(text=text("Not tried, or not further:")),
            Bullets(items=tuple(text(why) for why in advice.dropped)),
        ]
    blocks += [
        Heading(level=2, text=text("Class by class")),
        _classes(advice),
        *_galleries(evidence),
        Heading(level=2, text=text("The model")),
        Paragraph(text=text(advice.learned())),
        Paragraph(text=text(advice.strangers())),
        Paragraph(text=text(advice.cost())),
        Paragraph(text=text(advice.labels())),
    ]
    return Document(
        title=f"Advice on {evidence.title}",
        eyebrow="headstart advise",
        question="For these images: train a network from scratch, or start from a pretrained one?",
        blocks=tuple(blocks),
        footer="Made by headstart advise; advice.json holds the numbers, check/check.html what the "
        "images are like.",
    )


def _to_do(advice: Advice) -> Iterator[str]:
    yield from (f"First in the data: {fix}" for fix in advice.fixes)
    if not advice.beats_guessing:
        yield (
            "Do not use the model as it is: collect more images, or look whether the labels can be told from "
            "images."
        )
    if following := advice.next_labels():
        yield following
    if advice.interrupted:
        yield "The command was interrupted: this is what was known by then; the same command goes on."
    yield "Use the model:"


def _candidates(advice: Advice) -> Table:
    head = ("candidate", "input px", "accuracy", "95 % interval", "over classes", "images", "time")
    rows = tuple(
        Row(
            cells=(
                Cell(
                    text=text(Run(each.label, "bold") if each.name == advice.chosen.name else each.label),
                    kind="row",
                    notes=("recommended",) if each.name == advice.chosen.name else (),
                ),
                _number(str(each.pixels)),
                _number(percent(each.val_accuracy)),
                _number(between(each.interval)),
                _number(percent(each.val_balanced_accuracy)),
                _number(f"{each.images:,}"),
                _number(progress.clock(each.seconds)),
            )
        )
        for each in sorted(advice.tries, key=lambda each: -each.score(advice.balanced))
    )
    return Table(
        label="Candidates", head=(Row(cells=tuple(Cell(text=text(each)) for each in head)),), rows=rows
    )


def _number(value: str) -> Cell:
    return Cell(text=text(value), kind="number")


def _classes(advice: Advice) -> Table:
    head = ("class", "recognised", "95 % interval", "images")
    rows = tuple(
        Row(
            cells=(
                Cell(text=text(each.name), kind="row"),
                _number(percent(each.accuracy)),
                _number(between(each.interval)),
                _number(f"{each.images:,}"),
            )
        )
        for each in advice.classes
    )
    return Table(label="Classes", head=(Row(cells=tuple(Cell(text=text(each)) for each in head)),), rows=rows)


def _figures(evidence: Evidence) -> Iterator[Group]:
    advice = evidence.advice
    drawn = [_accuracy_and_time(advice)]
    if evidence.curve is not None and evidence.curve.points and not advice.all_right:
        drawn.append(_label_curve(evidence.curve))
    yield Group(layout="figures", blocks=tuple(drawn))


def _accuracy_and_time(advice: Advice) -> Figure:
    styles = plots.arm_styles({each.name: f"{each.label}, {each.pixels} px" for each in advice.tries})
    points = {
        each.name: plots.CostPoint(
            cost=max(each.seconds, 0.1),
            estimate=plots.Estimate(value=each.val_accuracy, interval=each.interval),
        )
        for each in advice.tries
    }
    front: list[str] = []
    for name in sorted(points, key=lambda name: points[name].cost):
        if not front or points[name].estimate.value > points[front[-1]].estimate.value:
            front.append(name)
    drawing = plots.accuracy_against_cost(points, front, styles, "seconds", "accuracy on held-out images (%)")
    return finish(
        drawing,
        "fig-advice-time",
        f"{advice.chosen.label} reaches {percent(advice.chosen.val_accuracy)}",
        "Accuracy on images that the model judging them had not learned from, against the seconds of "
        "training, frozen features included; bars are 95 % intervals.",
    )


def _label_curve(curve: LabelCurve) -> Figure:
    rows = [
        plots.BudgetPoint(
            labels=budget,
            tick=f"{budget:g}",
            estimate=plots.Estimate(
                value=float(np.mean(list(values.values()))), points=tuple(values.values())
            ),
        )
        for budget, values in sorted(curve.points.items())
    ]
    name = "probe"
    drawing = plots.accuracy_by_labels(
        {name: rows},
        plots.arm_styles({name: "Linear probe"}),
        "accuracy on held-out images (%)",
    )
    first, last = rows[0], rows[-1]
    return finish(
        drawing,
        "fig-advice-labels",
        f"{percent(first.estimate.value)} with {first.tick} labels a class, {percent(last.estimate.value)} "
        f"with {last.tick}",
        "Means over splits of the linear probe, learned from parts of the images.",
    )


def _galleries(evidence: Evidence) -> Iterator[Block]:
    shares = probabilities(evidence.judged.logits)
    said, labels = shares.argmax(axis=1), evidence.judged.labels
    top = np.sort(shares, axis=1)[:, ::-1]
    confidence, margin = top[:, 0], top[:, 0] - top[:, 1] if shares.shape[1] > 1 else top[:, 0]
    wrong = np.flatnonzero(said != labels)
    kinds = (
        ("mistakes", "Mistakes, the surest first", wrong[np.argsort(-confidence[wrong], kind="stable")]),
        (
            "unsure",
            "Label more like these: right or wrong, the model could hardly decide",
            np.argsort(margin, kind="stable") if len(wrong) else wrong,
        ),
    )
    for name, title, places in kinds:
        if len(places):
            yield Heading(level=2, text=text(title))
            items = tuple(
                _item(evidence, int(place), int(said[place]), float(confidence[place]))
                for place in places[:_SHOWN]
            )
            yield Gallery(name=name, title=title, items=items)
            if name == "mistakes":
                yield Paragraph(
                    text=text(
                        f"{len(wrong):,} of {len(labels):,} held-out images; a label may be wrong too."
                    ),
                    kind="quiet",
                )


def _item(evidence: Evidence, place: int, said: int, confidence: float) -> GalleryItem:
    given = int(evidence.judged.labels[place])
    given_name, said_name = evidence.class_names[given], evidence.class_names[said]
    image = np.asarray(evidence.images[place])
    step = max(1, image.shape[0] // _PIXELS)
    picture = Picture(
        source=data_uri(image[::step, ::step]),
        alt=f"an image labelled {given_name}, taken for {said_name}",
        width=_PIXELS,
        height=_PIXELS,
    )
    lines = (
        text(given_name),
        text(
            Run(said_name, "right" if given == said else "wrong"),
            " ",
            Run(f"{100 * confidence:.0f} %", "number"),
        ),
        text(Run(Path(evidence.names[place]).name, "quiet")),
    )
    return GalleryItem(shown=(Shown(picture=picture, lines=lines),))


def _words_alone(document: Document) -> Document:
    """The document for Markdown without files beside it: no figures, no images."""
    kept = tuple(block for block in document.blocks if not isinstance(block, Gallery | Group))
    return Document(
        title=document.title,
        eyebrow=document.eyebrow,
        question=document.question,
        blocks=kept,
        footer=document.footer,
    )
