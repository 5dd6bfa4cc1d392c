"""The report as a typed document: what is said, and as which kind of block; no HTML, Markdown or CSS.

Sections build blocks; `headstart.report.writers` has one writer each for HTML, Markdown and PDF. Text is
plain
text everywhere: each writer escapes it in one place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure as MplFigure

Style = Literal["plain", "bold", "italic", "code", "number", "right", "wrong", "quiet", "verdict"]


@dataclass(frozen=True)
class Run:
    """A piece of text in one style; href makes it a link: "#id" inside the document, else a relative path."""

    text: str
    style: Style = "plain"
    href: str = ""


@dataclass(frozen=True)
class Mark:
    """An arm's marker: its shape (a matplotlib marker) in the colour of its place in the study."""

    place: int
    shape: str


@dataclass(frozen=True)
class Break:
    """A new line inside a text."""


Inline = Run | Mark | Break
Text = tuple[Inline, ...]


def text(*pieces: str | Inline | Text) -> Text:
    """The pieces as one text; a string is a plain run."""
    inlines: list[Inline] = []
    for piece in pieces:
        if isinstance(piece, str):
            inlines += [Run(piece)] if piece else []
        elif isinstance(piece, tuple):
            inlines += piece
        else:
            inlines.append(piece)
    return tuple(inlines)


def bold(value: str) -> Run:
    return Run(value, "bold")


def code(value: str) -> Run:
    return Run(value, "code")


def link(value: str, href: str) -> Run:
    return Run(value, href=href)


def plain(content: Text) -> str:
    """The words of a text alone."""
    return "".join(
        each.text if isinstance(each, Run) else " " if isinstance(each, Break) else "" for each in content
    )


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading. level: 1 to 3. kind: "part" begins a part of the report, "break" sets a sub-part apart."""

    level: int
    text: Text
    id: str = ""
    kind: Literal["", "part", "break"] = ""


@dataclass(frozen=True, kw_only=True)
class Paragraph:
    text: Text
    kind: Literal["", "quiet", "lead", "more"] = ""


@dataclass(frozen=True, kw_only=True)
class Bullets:
    items: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class Code:
    """Lines of a program or of a terminal, as they are."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table. kind: "row" names its row. notes: small print under it, a line each. span: in
    columns."""

    text: Text = ()
    kind: Literal["text", "number", "row", "left", "quiet"] = "text"
    notes: tuple[str, ...] = ()
    span: int = 1


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table. kind: "group" is a title over the rows below it; "first" begins a group without one;
    "hash" is left out on paper. id: where links lead."""

    cells: tuple[Cell, ...]
    kind: Literal["", "group", "first", "hash"] = ""
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """head: one or two rows of titles. label: what a screen reader says. kind: how the style sheets set
    it."""

    label: str
    head: tuple[Row, ...]
    rows: tuple[Row, ...]
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing with its message (a sentence from its own numbers) and caption."""

    name: str
    message: str
    caption: str
    svg: str
    drawing: MplFigure | None = field(default=None, repr=False, compare=False)  # what the SVG was made from


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Pixels as a data: URI. width, height: as shown, in CSS pixels."""

    source: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A picture with lines of text under it; the first line is its title."""

    picture: Picture
    lines: tuple[Text, ...]


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One picture or several side by side; note: a line under all of them."""

    shown: tuple[Shown, ...]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Pictures in rows. name: of its file where pictures are files. kind: "pairs" two a cell, "sheet" wide
    ones."""

    name: str
    title: str
    items: tuple[GalleryItem, ...]
    kind: Literal["", "pairs", "sheet"] = ""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One arm in a few numbers. href: where they come from."""

    mark: Mark
    title: str
    value: str
    note: str
    facts: tuple[tuple[str, str], ...]
    href: str = ""


@dataclass(frozen=True, kw_only=True)
class Cards:
    """A card an arm. measure: what each card's value is."""

    measure: str
    cards: tuple[Card, ...]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A list of links to the document's parts; on paper with page numbers. entries: title, "#id"."""

    title: str
    entries: tuple[tuple[str, str], ...]
    short: bool = False  # in one line, for a screen alone


@dataclass(frozen=True, kw_only=True)
class Details:
    """Blocks that a screen shows on request, and paper always; kind "long": a screen alone."""

    summary: str
    blocks: tuple[Block, ...]
    kind: Literal["", "long"] = ""


Layout = Literal[
    "front",
    "appendix",
    "pair",
    "figures",
    "figures paired",
    "beside",
    "stack",
    "split",
    "whole",
    "methods",
    "panel",
]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Blocks that stand together: side by side ("figures", "split"), or one under another ("stack")."""

    layout: Layout
    blocks: tuple[Block, ...]
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Article:
    """What is said of one arm, beside a line in its colour."""

    place: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the document that links lead to. label: where it has no heading of its own."""

    id: str
    blocks: tuple[Block, ...]
    label: str = ""


Block = (
    Heading
    | Paragraph
    | Bullets
    | Code
    | Table
    | Figure
    | Gallery
    | Cards
    | Contents
    | Details
    | Group
    | Article
    | Section
)


@dataclass(frozen=True, kw_only=True)
class Document:
    """A whole report. eyebrow, title, question: its head. many: wide tables, which paper turns on its
    side."""

    title: str
    eyebrow: str
    question: str
    blocks: tuple[Block, ...]
    footer: str = ""
    many: bool = False


def walk(blocks: Sequence[Block]) -> Iterator[Block]:
    """Every block, those inside others too, in the order of reading."""
    for block in blocks:
        yield block
        if isinstance(block, Details | Group | Article | Section):
            yield from walk(block.blocks)


def figures(document: Document) -> tuple[Figure, ...]:
    """Every figure of a document, in its order."""
    return tuple(block for block in walk(document.blocks) if isinstance(block, Figure))


def links(document: Document) -> set[str]:
    """Every id that something in the document links to."""
    targets: set[str] = set()
    for block in walk(document.blocks):
        for content in texts(block):
            targets |= {each.href for each in content if isinstance(each, Run) and each.href}
        if isinstance(block, Contents):
            targets |= {href for _, href in block.entries}
        if isinstance(block, Cards):
            targets |= {card.href for card in block.cards if card.href}
    return {target[1:] for target in targets if target.startswith("#")}


def texts(block: Block) -> Iterator[Text]:
    """The texts that a block itself shows, in order; not those of the blocks inside it, nor inside
    drawings."""
    match block:
        case Heading() | Paragraph():
            yield block.text
        case Bullets():
            yield from block.items
        case Code():
            yield text(block.text)
        case Table():
            for row in (*block.head, *block.rows):
                for cell in row.cells:
                    yield cell.text
                    yield from (text(note) for note in cell.notes)
        case Figure():
            yield from (text(block.message), text(block.caption))
        case Gallery():
            for item in block.items:
                yield from (line for shown in item.shown for line in shown.lines)
                yield text(item.note)
        case Cards():
            for card in block.cards:
                yield from (text(each) for each in (card.title, card.value, card.note))
                yield from (text(each) for fact in card.facts for each in fact)
        case Details():
            yield text(block.summary)
        case Contents():
            yield from (text(title) for title, _ in block.entries)
        case _:
            return
