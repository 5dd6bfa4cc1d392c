"""A document as Markdown that any forge renders: the same words, tables and figures, pictures as files."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

from headstart.plots import visible
from headstart.report.document import (
    Article,
    Block,
    Break,
    Bullets,
    Cards,
    Cell,
    Code,
    Contents,
    Details,
    Document,
    Figure,
    Gallery,
    Group,
    Heading,
    Inline,
    Mark,
    Paragraph,
    Row,
    Run,
    Section,
    Table,
    Text,
    links,
)
from headstart.runtime.show import without_markup

WriteGallery = Callable[[Gallery], str]  # writes a gallery's images; returns the file's path
_MARKS = {"bold": "**", "verdict": "**", "italic": "*"}


def markdown(document: Document, write_gallery: WriteGallery, figures: str = "figures") -> str:
    """The document as Markdown. figures: the folder of its figures, `<name>.svg` each. write_gallery:
    writes the images of a gallery into a file and returns its path."""
    writer = _Writer(write_gallery, figures, links(document))
    head = [f"<sub>{escaped(document.eyebrow)}</sub>", f"# {escaped(document.title)}"]
    head += [escaped(document.question)] if document.question else []
    foot = [f"<sub>{escaped(document.footer)}</sub>"] if document.footer else []
    blocks = [*head, *writer.blocks(document.blocks), *foot]
    return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def without_links(block: Table | Paragraph) -> str:
    """A table or a paragraph as Markdown for another page: no links into the document, no anchors."""
    written = "\n\n".join(_Writer(lambda _: "", "", set()).blocks((block,)))
    return re.sub(r"\[((?:[^\[\]\\]|\\.)*)\]\(#[^)]*\)", r"\1", written)


def escaped(content: str) -> str:
    """The only way for text into the Markdown: control characters made visible, markup as text."""
    return re.sub(r" +", " ", without_markup(visible(content).replace("\u2060", "")))


class _Writer:
    def __init__(self, write_gallery: WriteGallery, figures: str, targets: set[str]) -> None:
        self._write_gallery, self._figures, self._targets, self._deeper = write_gallery, figures, targets, 0

    def blocks(self, blocks: tuple[Block, ...]) -> list[str]:
        return [written for block in blocks for written in self._block(block)]

    def _block(self, block: Block) -> list[str]:
        match block:
            case Heading():
                return [self._heading(block)]
            case Paragraph():
                return [_paragraph(block)]
            case Bullets():
                return ["\n".join(f"- {_text(item)}" for item in block.items)]
            case Code():
                return [_fenced(block.text)]
            case Table():
                return [self._table(block)]
            case Figure():
                return self._figure(block)
            case Gallery():
                return [f"![{escaped(block.title)}]({self._write_gallery(block)})"] if block.items else []
            case Cards():
                return [_cards(block)]
            case Contents():
                return [] if block.short else [_contents(block)]
            case _:
                return self._holder(block)

    def _holder(self, block: Details | Group | Article | Section) -> list[str]:
        inner = self.blocks(block.blocks)
        match block:
            case Details():
                return [f"<details>\n<summary>{escaped(block.summary)}</summary>", *inner, "</details>"]
            case Section() | Group() if block.id in self._targets:
                return [f'<a id="{block.id}"></a>', *inner]
            case _:
                return inner

    def _heading(self, heading: Heading) -> str:
        """A part's heading is one level above the sections that follow it."""
        if heading.kind == "part":
            self._deeper = 1
            level = 2
        else:
            level = heading.level + (self._deeper if heading.level > 1 else 0)
        anchor = f'<a id="{heading.id}"></a>\n\n' if heading.id in self._targets else ""
        return f"{anchor}{'#' * level} {_text(heading.text)}"

    def _figure(self, figure: Figure) -> list[str]:
        message = escaped(figure.message)
        anchor = f'<a id="{figure.name}"></a>' if figure.name in self._targets else ""
        return [
            f"{anchor}**{message}**",
            f"![{message}]({self._figures}/{figure.name}.svg)",
            f"<sub>{escaped(figure.caption).strip()}</sub>",
        ]

    def _table(self, table: Table) -> str:
        head = [self._cells(row) for row in table.head]
        rows = []
        numeric: list[bool] = []
        for row in table.rows:
            cells = self._cells(row)
            if row.kind == "group":
                cells = [f"**{cells[0]}**", *[""] * (len(cells) - 1)]
            else:
                numeric = numeric or [
                    cell.kind in ("number", "left", "quiet") for cell in row.cells for _ in range(cell.span)
                ]
            rows.append(cells)
        return _grid(head, rows, numeric)

    def _cells(self, row: Row) -> list[str]:
        cells: list[str] = []
        for cell in row.cells:
            cells += [_cell(cell)] * cell.span
        if row.id in self._targets and cells:
            cells[0] = f'<a id="{row.id}"></a>{cells[0]}'
        return cells


def _paragraph(paragraph: Paragraph) -> str:
    written = _text(paragraph.text)
    if paragraph.kind == "quiet":
        return f"<sub>{written}</sub>"
    # What would begin a heading, a list or a quotation.
    return re.sub(r"^(#|\+|-|\d+(?=[.)]))", r"\\\1", written) if written[:1] in "#+-" else written


def _text(content: Text) -> str:
    written = "".join(_inline(each) for each in content)
    return re.sub(r"[ \t\n]+", " ", written).strip()


def _inline(inline: Inline) -> str:
    match inline:
        case Mark():
            return ""
        case Break():
            return "<br>"
        case Run():
            return _run(inline)


def _run(run: Run) -> str:
    if run.style == "code":
        written = _code(run.text)
    else:
        mark = _MARKS.get(run.style, "")
        inner = escaped(run.text)
        bare = inner.strip()
        written = inner.replace(bare, f"{mark}{bare}{mark}", 1) if bare and mark else inner
    if run.href:
        target = run.href if run.href.startswith("#") else quote(run.href, safe="/.#-_~%")
        return f"[{written}]({target})"
    return written


def _code(content: str) -> str:
    shown = visible(content)
    longest = max((len(ticks) for ticks in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"`{shown}`"


def _fenced(content: str) -> str:
    shown = visible(content, keep_lines=True).strip()
    longest = max((len(ticks) for ticks in re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{shown}\n{fence}"


def _cell(cell: Cell) -> str:
    notes = "".join(f"<br><sub>{escaped(note)}</sub>" for note in cell.notes)
    return (_text(cell.text) + notes).replace("|", "\\|")


def _grid(head: list[list[str]], rows: list[list[str]], numeric: list[bool]) -> str:
    width = max((len(row) for row in (*head, *rows)), default=0)
    titles = ["" for _ in range(width)]
    for row in head:  # two rows of titles become one
        titles = [f"{a} {b}".strip() for a, b in zip(titles, row + [""] * (width - len(row)), strict=True)]
    rule = ["--:" if place < len(numeric) and numeric[place] else "---" for place in range(width)]
    lines = [titles, rule, *([*row, *[""] * (width - len(row))] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cards(cards: Cards) -> str:
    """Cards as one table, a row a card."""
    facts = [name for name, _ in cards.cards[0].facts] if cards.cards else []
    head = ["Arm", escaped(cards.measure), "", *(escaped(name[:1].upper() + name[1:]) for name in facts)]
    rows = []
    for card in cards.cards:
        value = f"[{escaped(card.value)}]({card.href})" if card.href else escaped(card.value)
        rows.append(
            [escaped(card.title), value, escaped(card.note), *(escaped(value) for _, value in card.facts)]
        )
    written = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return _grid([head], written, [False, True, False, *[True] * len(facts)])


def _contents(contents: Contents) -> str:
    return "\n".join(f"- [{escaped(title)}]({href})" for title, href in contents.entries)
