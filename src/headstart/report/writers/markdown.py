"""The page as Markdown that any forge renders: the same sections, words, tables and figures, images as
files."""

from __future__ import annotations

import re
from collections.abc import Callable

from headstart.report.writers.outline import Node, parse

WriteGallery = Callable[[Node, str], str | None]  # writes a gallery under a name; returns the file's path

_BLOCKS = {"section", "div", "main", "header", "footer", "article", "figure", "body", "html", ""}
_SKIPPED = {"nav", "style", "head", "script", "svg", "title"}


def markdown(html: str, write_gallery: WriteGallery, figures: str = "figures") -> str:
    """Markdown of a report's page. figures: the folder of its figures, `<name>.svg` each. write_gallery:
    writes the images of a gallery into a file and returns its path, or None where it has none."""
    root = parse(html)
    body = root.first("body") or root
    blocks = [block for block in _Writer(write_gallery, figures).blocks(body) if block.strip()]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(blocks)).replace("\u2060", "").strip() + "\n"


class _Writer:
    def __init__(self, write_gallery: WriteGallery, figures: str) -> None:
        self._write_gallery, self._figures, self._deeper = write_gallery, figures, 0

    def blocks(self, node: Node) -> list[str]:
        """The Markdown blocks of what an element holds."""
        texts: list[str] = []
        loose: list[Node | str] = []

        def flush() -> None:
            if text := _inline(loose):
                texts.append(text)
            loose.clear()

        for child in node.children:
            if isinstance(child, str) or (child.tag not in _BLOCKS and not self._is_block(child)):
                loose.append(child)
                continue
            flush()
            texts += self._block(child)
        flush()
        return texts

    @staticmethod
    def _is_block(node: Node) -> bool:
        return node.tag in (
            "h1",
            "h2",
            "h3",
            "h4",
            "p",
            "ul",
            "ol",
            "table",
            "pre",
            "details",
            "summary",
            "figcaption",
            *_SKIPPED,
        )

    def _block(self, node: Node) -> list[str]:
        tag = node.tag
        if tag in _SKIPPED or "mark" in node.classes:
            return []
        if tag in ("h1", "h2", "h3", "h4"):
            return [self._heading(node)]
        if tag == "p":
            quiet = "quiet" in node.classes or "eyebrow" in node.classes
            text = _inline(node.children)
            return [f"<sub>{text}</sub>" if quiet and text else text]
        if tag == "figure":
            return self._figure(node)
        if "cards" in node.classes:
            return [_cards(node)]
        if tag == "ul" and ("gallery" in node.classes or "sheet" in node.classes):
            file = self._write_gallery(node, self._gallery_name(node))
            return [f"![{_plain(self._gallery_title)}]({file})"] if file else []
        if tag in ("ul", "ol"):
            return ["\n".join(f"- {_inline(item.children)}" for item in node.elements if item.tag == "li")]
        if tag == "table":
            return [_table(node)]
        if tag == "pre":
            return [f"```\n{''.join(_verbatim(node)).strip()}\n```"]
        if tag == "details":
            summary = node.first("summary")
            inner = [
                block for child in node.elements if child.tag != "summary" for block in self._block(child)
            ]
            title = summary.text if summary else "More"
            return [f"<details>\n<summary>{_escape(title)}</summary>", *inner, "</details>"]
        if "panel" in node.classes:
            self._gallery_title, self._gallery_id = (
                (node.first("h3") or node).text,
                node.attributes.get("id", ""),
            )
        return self.blocks(node)

    _gallery_title, _gallery_id = "test images", ""

    def _gallery_name(self, node: Node) -> str:
        name = self._gallery_id or node.attributes.get("id") or "sheet"
        self._gallery_id = ""
        return f"gallery-{name}"

    def _heading(self, node: Node) -> str:
        """A part's heading is one level above the sections that follow it."""
        level = int(node.tag[1])
        if "part" in node.classes:
            self._deeper = 1
            return f"## {_inline(node.children)}"
        if level == 2 and _inline(node.children).startswith(_AFTER_PARTS):
            self._deeper = 0
        return f"{'#' * (level + (self._deeper if level > 1 else 0))} {_inline(node.children)}"

    def _figure(self, node: Node) -> list[str]:
        name = node.attributes.get("id", "")
        title, caption = node.first("h3"), node.first("figcaption")
        message = title.text if title else ""
        return [
            f"**{_escape(message)}**",
            f"![{_plain(message)}]({self._figures}/{name}.svg)",
            f"<sub>{_inline(caption.children) if caption else ''}</sub>",
        ]


_AFTER_PARTS = ("Claims", "Threats")
_INTERVAL = "95 % interval"


def _cards(node: Node) -> str:
    """The answer's cards as one table, a row an arm."""
    rows, head = [], ["Arm", "Test accuracy", ""]
    for card in node.all("div", "card"):
        facts = [(term.text, value.text) for term, value in zip(card.all("dt"), card.all("dd"), strict=True)]
        head = ["Arm", "Test accuracy", _INTERVAL, *(term[:1].upper() + term[1:] for term, _ in facts)]
        cells = [
            (card.first("div", of_class) or card).text.removeprefix(f"{_INTERVAL} ")
            for of_class in ("who", "big", "note")
        ]
        rows.append([*cells, *(value for _, value in facts)])
    return _grid([head], rows, [False, True, False, *[True] * (len(head) - 3)])


def _table(node: Node) -> str:
    head = [_cells(row) for part in node.all("thead") for row in part.all("tr")]
    rows: list[list[str]] = []
    numeric: list[bool] = []
    for row in node.all("tr"):
        if any(row in part.all("tr") for part in node.all("thead")):
            continue
        cells = _cells(row)
        if "group" in row.classes:
            cells = [f"**{cells[0]}**", *[""] * (len(cells) - 1)]
        else:
            numeric = numeric or [
                cell.tag == "td" and "num" in cell.classes
                for cell in row.elements
                for _ in range(_span(cell))
            ]
        rows.append(cells)
    return _grid(head, rows, numeric)


def _grid(head: list[list[str]], rows: list[list[str]], numeric: list[bool]) -> str:
    width = max((len(row) for row in (*head, *rows)), default=0)
    titles = ["" for _ in range(width)]
    for row in head:  # two rows of titles become one
        titles = [f"{a} {b}".strip() for a, b in zip(titles, row + [""] * (width - len(row)), strict=True)]
    rule = ["--:" if place < len(numeric) and numeric[place] else "---" for place in range(width)]
    lines = [titles, rule, *([*row, *[""] * (width - len(row))] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _span(cell: Node) -> int:
    return int(cell.attributes.get("colspan", "1"))


def _cells(row: Node) -> list[str]:
    cells: list[str] = []
    for cell in row.elements:
        cells += [_inline(cell.children).replace("|", "\\|").replace("\n", " ")] * _span(cell)
    return cells


def _inline(children: list[Node | str]) -> str:
    text = "".join(_escape(child) if isinstance(child, str) else _inline_of(child) for child in children)
    return re.sub(r"[ \t\n]+", " ", text).strip()


def _inline_of(node: Node) -> str:
    if node.tag in _SKIPPED:
        return ""
    if node.tag == "br":
        return "<br>"
    if node.tag == "code":
        return f"`{node.text}`"
    inner = _inline(node.children)
    if not inner:
        return ""
    if node.tag == "small":
        return f"<br><sub>{inner}</sub>"
    if node.tag == "a":
        return f"[{inner}]({node.attributes.get('href', '')})"
    marks = {"b": "**", "strong": "**", "i": "*", "em": "*"}
    mark = marks.get(node.tag, "")
    return f" {mark}{inner}{mark} " if mark else f" {inner} " if node.tag in ("span", "div") else inner


def _verbatim(node: Node) -> list[str]:
    return [
        piece
        for child in node.children
        for piece in ([child] if isinstance(child, str) else _verbatim(child))
    ]


def _escape(text: str) -> str:
    return re.sub(r"([*_`\[\]\\])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> str:
    return re.sub(r"[\[\]]", "", text)
