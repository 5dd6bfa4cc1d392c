"""An HTML page as a small tree, for tests that ask what a page says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_EMPTY = {"area", "br", "col", "hr", "img", "input", "link", "meta", "wbr"}


@dataclass(eq=False)
class Node:
    """An element with its children, which are elements and text."""

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[Node | str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def elements(self) -> list[Node]:
        return [child for child in self.children if isinstance(child, Node)]

    def walk(self) -> Iterator[Node]:
        """This element and every one in it, in order."""
        yield self
        for child in self.elements:
            yield from child.walk()

    def all(self, tag: str, of_class: str = "") -> list[Node]:
        """Every element in it with that tag ("" for any) and class."""
        return [
            node
            for node in self.walk()
            if tag in ("", node.tag) and (not of_class or of_class in node.classes)
        ]

    def first(self, tag: str, of_class: str = "") -> Node | None:
        return next(iter(self.all(tag, of_class)), None)

    @property
    def text(self) -> str:
        """All text in it, white space as one space, drawings left out."""
        return " ".join(self._raw().split())

    def _raw(self) -> str:
        if self.tag in ("svg", "style", "script"):
            return ""
        return "".join(child if isinstance(child, str) else child._raw() for child in self.children)


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open = [Node("")]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(node)
        if tag not in _EMPTY:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Node(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Node:
    """The tree of a page whose every element is closed."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.open[0]
