"""A document as HTML: one page with everything inside it, no script, nothing fetched."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote

from markupsafe import escape

from headstart import plots
from headstart.plots.fonts import legible
from headstart.plots.svg import on_paper
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
    Picture,
    Row,
    Run,
    Section,
    Shown,
    Table,
    Text,
)

STYLES = Path(__file__).parent / "styles"
# Nothing but what stands in the page itself is ever loaded or run.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
# The arms' marks in the page's text, on a 12 x 12 field, as plots draws them.
_MARKS = {
    "o": '<circle cx="6" cy="6" r="4.6"/>',
    "s": '<rect x="1.8" y="1.8" width="8.4" height="8.4"/>',
    "^": '<path d="M6 1 11.2 10.6H.8Z"/>',
    "D": '<path d="M6 .6 11.4 6 6 11.4.6 6Z"/>',
    "v": '<path d="M6 11 .8 1.4h10.4Z"/>',
    "P": '<path d="M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2Z"/>',
    "X": '<path d="M3.4 1 6 3.6 8.6 1 11 3.4 8.4 6 11 8.6 8.6 11 6 8.4 3.4 11 1 8.6 3.6 6 1 3.4Z"/>',
    "h": '<path d="M6 .8 10.6 3.4v5.2L6 11.2 1.4 8.6V3.4Z"/>',
    "<": '<path d="M1 6 10.6 .8v10.4Z"/>',
    ">": '<path d="M11 6 1.4 .8v10.4Z"/>',
}
_TAGS = {"bold": "b", "italic": "i", "code": "code"}


def escaped(content: str) -> str:
    """The only way for text into the page: control characters made visible, markup as text, numbers tied to
    their units so that no line ends between them."""
    return str(escape(_tied(plots.visible(content))))


def _tied(content: str) -> str:
    content = re.sub(r"(?<=[A-Za-z])-(?=\d)", "-\u2060", content)
    return re.sub(r"(?<=\d) (?=(?:%|seconds?|minutes?|hours?|points?)\b|%)", "\u00a0", content)


def html(document: Document, style: str, *, paper: bool = False) -> str:
    """The whole page. style: CSS. paper: for a page setter - details open, colours that need no CSS
    variables."""
    page = _Page(paper=paper)
    blocks = "\n".join(page.block(block) for block in document.blocks)
    question = f'<p class="question">{escaped(document.question)}</p>\n' if document.question else ""
    footer = f"<footer><p>{escaped(document.footer)}</p></footer>\n" if document.footer else ""
    sheet = "" if paper else f"<style>\n{style}\n</style>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escaped(document.title)}</title>\n{sheet}</head>\n"
        f"<body{_class('many' if document.many else '')}>\n<header>\n"
        f'<p class="eyebrow">{escaped(document.eyebrow)}</p>\n<h1>{escaped(document.title)}</h1>\n'
        f"{question}</header>\n<main>\n{blocks}\n</main>\n{footer}</body>\n</html>\n"
    )


class _Page:
    """Blocks as HTML, each kind by a method of its own."""

    def __init__(self, *, paper: bool) -> None:
        self.paper = paper

    def block(self, block: Block) -> str:
        match block:
            case Heading():
                return self._heading(block)
            case Paragraph():
                return f"<p{_class(block.kind)}>{self._text(block.text)}</p>"
            case Bullets():
                items = "\n".join(f"<li>{self._text(item)}</li>" for item in block.items)
                return f"<ul>\n{items}\n</ul>"
            case Code():
                return f"<pre><code>{escape(plots.visible(block.text, keep_lines=True))}</code></pre>"
            case Table():
                return self._table(block)
            case Figure():
                return self._figure(block)
            case Gallery():
                return self._gallery(block)
            case Cards():
                return self._cards(block)
            case Contents():
                return self._contents(block)
            case _:
                return self._holder(block)

    def _holder(self, block: Details | Group | Article | Section) -> str:
        """A block that holds others."""
        inner = "\n".join(self.block(each) for each in block.blocks)
        match block:
            case Details():
                opened = " open" if self.paper else ""
                return (
                    f"<details{_class(block.kind)}{opened}>\n<summary>{escaped(block.summary)}</summary>\n"
                    f"{inner}\n</details>"
                )
            case Group():
                return f"<div{_class(block.layout)}{_id(block.id)}>\n{inner}\n</div>"
            case Article():
                return f'<article style="--arm:{self._color(block.place)}">\n{inner}\n</article>'
            case Section():
                label = f' aria-label="{escaped(block.label)}"' if block.label else ""
                return f"<section{_id(block.id)}{label}>\n{inner}\n</section>"

    def _heading(self, heading: Heading) -> str:
        tag = f"h{heading.level}"
        return f"<{tag}{_class(heading.kind)}{_id(heading.id)}>{self._text(heading.text)}</{tag}>"

    def _text(self, content: Text) -> str:
        return "".join(self._inline(each) for each in content)

    def _inline(self, inline: Inline) -> str:
        match inline:
            case Mark():
                return self._mark(inline)
            case Break():
                return "<br>"
            case Run():
                return self._run(inline)

    def _run(self, run: Run) -> str:
        inner = escape(plots.visible(run.text)) if run.style == "code" else escaped(run.text)
        if run.style in _TAGS:
            inner = f"<{_TAGS[run.style]}>{inner}</{_TAGS[run.style]}>"
        elif run.style == "number":
            inner = f'<span class="num">{inner}</span>'
        elif run.style == "verdict":
            kind = re.sub(r"[^a-z]", "", run.text.split("(")[0].strip().replace(" ", "-"))
            inner = f'<span class="verdict {kind}">{inner}</span>'
        elif run.style != "plain":
            inner = f'<span class="{run.style}">{inner}</span>'
        return f'<a href="{escape(_address(run.href))}">{inner}</a>' if run.href else str(inner)

    def _color(self, place: int) -> str:
        place %= len(plots.ARM_COLORS_LIGHT)
        return plots.ARM_COLORS_LIGHT[place] if self.paper else f"var(--arm{place})"

    def _mark(self, mark: Mark) -> str:
        return (
            '<svg class="mark" viewBox="0 0 12 12" aria-hidden="true" '
            f'style="fill:{self._color(mark.place)}">'
            f"{_MARKS[mark.shape]}</svg>"
        )

    def _table(self, table: Table) -> str:
        head = "\n".join(self._row(row, head=True) for row in table.head)
        rows = "\n".join(self._row(row, head=False) for row in table.rows)
        return (
            f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(table.label)}">\n'
            f"<table{_class(table.kind)}>\n{f'<thead>{head}</thead>' if head else ''}\n"
            f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>"
        )

    def _row(self, row: Row, *, head: bool) -> str:
        if row.kind == "group":
            (cell,) = row.cells
            return (
                f'<tr class="group"{_id(row.id)}><th colspan="{cell.span}" scope="rowgroup">'
                f"{self._text(cell.text)}</th></tr>"
            )
        cells = "".join(self._head_cell(cell) if head else self._cell(cell) for cell in row.cells)
        return f"<tr{_class(row.kind)}{_id(row.id)}>{cells}</tr>"

    def _head_cell(self, cell: Cell) -> str:
        if not cell.text:
            return "<td></td>"
        number = ' class="num"' if cell.kind == "number" else ""
        if cell.span > 1:
            return f'<th colspan="{cell.span}" scope="colgroup" class="mid">{self._text(cell.text)}</th>'
        return f'<th scope="col"{number}>{self._text(cell.text)}</th>'

    def _cell(self, cell: Cell) -> str:
        classes = {"number": "num", "left": "num left", "quiet": "quiet num"}.get(cell.kind, "")
        span = f' colspan="{cell.span}"' if cell.span > 1 else ""
        inner = self._text(cell.text) + "".join(f"<small>{escaped(note)}</small>" for note in cell.notes)
        if cell.kind == "row":
            return f'<th scope="row"{span}>{inner}</th>'
        return f"<td{_class(classes)}{span}>{inner}</td>"

    def _figure(self, figure: Figure) -> str:
        svg = self._drawn(figure.svg, figure.message) if self.paper else figure.svg
        return (
            f'<figure id="{escape(figure.name)}" class="plot-box">\n'
            f"<h3>{escaped(figure.message)}</h3>\n{svg}\n"
            f"<figcaption>{escaped(figure.caption)}</figcaption>\n</figure>"
        )

    def _drawn(self, svg: str, alt: str) -> str:
        """A drawing as an image of its own: a page setter then matches no rule of the page to its parts."""
        svg = re.sub(r'font-family="[^"]*"', 'font-family="Plain"', on_paper(svg))
        content = base64.b64encode(legible(svg).encode()).decode()
        return f'<img class="plot" src="data:image/svg+xml;base64,{content}" alt="{escaped(alt)}">'

    def _gallery(self, gallery: Gallery) -> str:
        kind = {"": "gallery", "pairs": "gallery pairs", "sheet": "sheet"}[gallery.kind]
        items = []
        for item in gallery.items:
            inner = "\n".join(self._shown(each, gallery.kind) for each in item.shown)
            if len(item.shown) > 1:
                inner = f'<div class="twins">\n{inner}\n</div>'
            note = (
                f'\n<div class="says"><span class="num">{escaped(item.note)}</span></div>'
                if item.note
                else ""
            )
            items.append(f"<li>{inner}{note}</li>")
        joined = "\n".join(items)
        return f'<ul class="{kind}">\n{joined}\n</ul>'

    def _shown(self, shown: Shown, kind: str) -> str:
        first, *rest = shown.lines
        if kind == "sheet":
            return f'<div class="truth">{self._text(first)}</div>{_picture(shown.picture)}'
        says = "".join(f'\n<div class="says">{self._text(line)}</div>' for line in rest)
        inner = f'{_picture(shown.picture)}<div class="truth">{self._text(first)}</div>{says}'
        return f"<div>{inner}</div>"

    def _cards(self, cards: Cards) -> str:
        written = []
        for card in cards.cards:
            facts = "\n".join(
                f'<div><dt>{escaped(name)}</dt><dd class="num">{escaped(value)}</dd></div>'
                for name, value in card.facts
            )
            value = escaped(card.value)
            big = f'<a href="{escape(card.href)}">{value}</a>' if card.href else value
            written.append(
                f'<div class="card" style="--arm:{self._color(card.mark.place)}">\n'
                f'<div class="who">{self._mark(card.mark)} {escaped(card.title)}</div>\n'
                f'<div class="big num">{big}</div>\n<div class="note">{escaped(card.note)}</div>\n'
                f"<dl>\n{facts}\n</dl>\n</div>"
            )
        joined = "\n".join(written)
        return f'<div class="cards">\n{joined}\n</div>'

    def _contents(self, contents: Contents) -> str:
        if contents.short:
            if self.paper:
                return ""
            links = "\n".join(
                f'<a href="{escape(href)}">{escaped(title)}</a>' for title, href in contents.entries
            )
            return f'<nav aria-label="{escaped(contents.title)}">\n{links}\n</nav>'
        items = "\n".join(
            f'<li><a href="{escape(href)}">{escaped(title)}</a></li>' for title, href in contents.entries
        )
        return f'<ul class="contents" aria-label="{escaped(contents.title)}">\n{items}\n</ul>'


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _id(name: str) -> str:
    return f' id="{escape(name)}"' if name else ""


def _address(href: str) -> str:
    """A link inside the page or to a file beside it; never to a scheme."""
    return href if href.startswith("#") else quote(href, safe="/.#-_~%")


def _picture(picture: Picture) -> str:
    return (
        f'<img src="{escape(picture.source)}" alt="{escaped(picture.alt)}" width="{picture.width}" '
        f'height="{picture.height}" loading="lazy">'
    )


def style_sheet() -> str:
    """The page's CSS, the arms' colours with it."""

    def variables(colors: tuple[str, ...]) -> str:
        return "".join(f"--arm{i}:{value};" for i, value in enumerate(colors))

    return (
        (STYLES / "style.css").read_text(encoding="utf-8") + f":root{{{variables(plots.ARM_COLORS_LIGHT)}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(plots.ARM_COLORS_DARK)}}}}}\n"
    )
