"""Test images with what each arm said of them, where the networks look, and the examination of the data."""

from __future__ import annotations

from headstart.report import words
from headstart.report.chapters.common import arm_name, mark, number, quiet, row_name, titles
from headstart.report.document import (
    Block,
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
    Text,
    text,
)
from headstart.report.load import StudyView
from headstart.report.sections import gallery, gradcam, health

_PIXELS = 96  # a picture's side as the page shows it


def what_they_say(view: StudyView) -> Section:
    """The clearest cases of each kind."""
    seeds = sorted({trial.seed for arm in view.arms for trial in arm.trials})
    blocks: list[Block] = [Heading(level=2, text=text("What the images say"))]
    if overlap := gallery.overlap(view):
        seen = f", as seed {seeds[0]} saw them" if len(seeds) > 1 else ""
        who = "each arm" if len(view.arms) > 1 else "the arm"
        blocks.append(
            Paragraph(
                text=text(
                    f"{overlap} The clearest cases of each kind follow{seen}: under each image its true "
                    f"class, then what {who} said and how sure it was."
                )
            )
        )
    blocks += [_panel(panel) for panel in (*gallery.disagreements(view), gallery.hardest(view))]
    blocks += [
        Heading(level=3, text=text("Most confidently wrong"), kind="break"),
        Paragraph(
            text=text(
                "The images on which each arm is surest of a wrong answer: some are hard, some are oddly "
                "labelled, some show a bad habit."
            )
        ),
        *(_panel(panel) for panel in gallery.confident_errors(view)),
    ]
    return Section(id="images", blocks=tuple(blocks))


def _panel(panel: gallery.Panel) -> Group:
    count = f"{panel.total:,} images"
    blocks: list[Block] = [Heading(level=3, text=text(panel.title, " ", Run(count, "quiet")))]
    if panel.examples:
        items = tuple(GalleryItem(shown=(_example(example),)) for example in panel.examples)
        blocks.append(Gallery(name=panel.name, title=f"{panel.title} {count}", items=items))
    elif panel.total == 0:
        blocks.append(quiet("No such image in the test set."))
    if panel.missing:
        verb = "is" if panel.missing == 1 else "are"
        blocks.append(
            quiet(f"{panel.missing} more of them {verb} not shown: their pixels are not in gallery.npz.")
        )
    return Group(layout="panel", blocks=tuple(blocks), id=panel.name)


def _example(example: gallery.Example) -> Shown:
    return Shown(
        picture=_picture(example.image, f"test image {example.id}, a {example.truth}"),
        lines=(
            text(example.truth),
            *(
                text(
                    mark(answer.arm),
                    " ",
                    Run(answer.predicted, "right" if answer.right else "wrong"),
                    " ",
                    Run(words.share(answer.confidence, 0), "number"),
                )
                for answer in example.answers
            ),
        ),
    )


def _picture(source: str, alt: str) -> Picture:
    return Picture(source=source, alt=alt, width=_PIXELS, height=_PIXELS)


def where_they_look(view: StudyView) -> Section | None:
    """Grad-CAM; None where the study kept none."""
    figure = gradcam.figure(view)
    if figure is None:
        return None
    return Section(
        id="looks",
        blocks=(
            Heading(level=2, text=text("What each network looks at")),
            Group(
                layout="figures paired",
                blocks=(
                    figure,
                    Group(
                        layout="beside",
                        blocks=(
                            Heading(level=3, text=text("How to read it")),
                            Paragraph(
                                text=text(
                                    "A network ends in a coarse grid of positions, each of which still knows "
                                    "where in the image it lies. Grad-CAM weighs what stands at each "
                                    "position by how much it moves the score of one class: here the class "
                                    "that the network itself answers, right or wrong. Light colours mark the "
                                    "places that speak most for that answer; each picture has a scale of its "
                                    "own, so that colours compare within a picture and not between two."
                                )
                            ),
                            Paragraph(
                                text=text(
                                    "It describes where the evidence lies. It does not prove why a network "
                                    "answers as it does, nor that it would answer otherwise without that "
                                    "part "
                                    "of the image."
                                )
                            ),
                        ),
                    ),
                ),
            ),
        ),
    )


def data_health(view: StudyView) -> Section | None:
    """The examination of the study's data; None where there is none."""
    examined = health.section(view)
    return None if examined is None else health_section(examined)


def health_section(examined: health.Section) -> Section:
    """An examination of data: copies, accuracy without them, labels that look wrong."""
    blocks: list[Block] = [
        Heading(level=2, text=text("Data health")),
        Paragraph(text=text(f"{examined.message}.")),
        Heading(level=3, text=text("Pairs of images that show the same")),
        Table(
            label="Pairs of images that show the same",
            head=titles("Pairs", "Exact", "Hash", "Features", "Any way", "Two labels", "Surplus", numbers=6),
            rows=tuple(
                Row(
                    cells=(
                        row_name(row.title),
                        *(
                            number(value)
                            for value in (
                                row.exact,
                                row.perceptual,
                                row.features,
                                row.pairs,
                                row.two_labels,
                                row.images,
                            )
                        ),
                    )
                )
                for row in examined.counts
            ),
            kind="twice",
        ),
        quiet(
            f"{examined.how} Surplus: images that would go if one of each group were kept; across, the test "
            "images that are in train."
        ),
    ]
    if examined.without:
        blocks += _without(examined)
    blocks += [_pairs(panel, first=place == 0) for place, panel in enumerate(examined.panels)]
    return Section(id="health", blocks=(*blocks, _suspects(examined)))


def _without(examined: health.Section) -> list[Block]:
    title = "Test accuracy without the images that train has"
    rows = tuple(
        Row(
            cells=(
                arm_name(row.arm),
                number(row.every),
                number(row.without, row.without_note),
                number(row.change),
                number(row.affected, row.affected_note),
            )
        )
        for row in examined.without
    )
    head = titles("Arm", "All test images", "Without them", "Change", "On them alone", numbers=4)
    return [
        Heading(level=3, text=text(title)),
        Table(label=title, head=head, rows=rows),
        quiet("Read again from stored logits; nothing was trained anew. Small print: 95 % intervals."),
    ]


def _pairs(panel: health.PairPanel, *, first: bool) -> Group:
    how = (
        " Under each pair: the similarity of their features, the bits in which their hashes differ, who "
        "found "
        "it."
        if first
        else ""
    )
    items = tuple(
        GalleryItem(
            shown=tuple(
                Shown(
                    picture=_picture(half.image, f"{half.place} image, a {half.label}"),
                    lines=(text(half.label), text(Run(half.place, "number"))),
                )
                for half in pair.halves
            ),
            note=pair.note,
        )
        for pair in panel.pairs
    )
    return Group(
        layout="panel",
        id=panel.name,
        blocks=(
            Heading(level=3, text=text(panel.title)),
            quiet(f"{panel.description}{how}"),
            Gallery(name=panel.name, title=panel.title, items=items, kind="pairs"),
        ),
    )


def _suspects(examined: health.Section) -> Group:
    title = "Labels that look wrong"
    total = examined.suspects_total
    count: Text = () if total is None else text(" ", Run(f"{total:,} images", "quiet"))
    items = tuple(
        GalleryItem(
            shown=(
                Shown(
                    picture=_picture(suspect.image, f"{suspect.place} image, labelled {suspect.given}"),
                    lines=(
                        text(f"{suspect.given}?"),
                        text(Run(suspect.given, "wrong"), " ", Run(suspect.given_probability, "number")),
                        text(
                            Run(suspect.suggested, "right"), " ", Run(suspect.suggested_probability, "number")
                        ),
                        text(Run(suspect.place, "number")),
                    ),
                ),
            )
        )
        for suspect in examined.suspects
    )
    shown = (Gallery(name="health-labels", title=title, items=items),) if items else ()
    return Group(
        layout="panel",
        id="health-labels",
        blocks=(
            Heading(level=3, text=text(title, count)),
            Paragraph(text=text(examined.suspects_summary)),
            *shown,
        ),
    )
