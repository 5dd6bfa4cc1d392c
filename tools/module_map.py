"""Writes the map of the modules, docs/reference/modules.md, from the code's docstrings and imports.

`python tools/module_map.py`. A test holds the page to the code (tests/project/test_layout.py).
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headstart"
PAGE = ROOT / "docs" / "reference" / "modules.md"
FIGURE = ROOT / "docs" / "pictures" / "modules.svg"

MESSAGE = "Which folder imports which: every square lies right of the diagonal, on a floor below"
INTRODUCTION = f"""# Modules

*Made from the code by `python tools/module_map.py`; a test holds this page to it.*

{{modules}} modules in {{folders}} folders and files on {{floors}} floors. A module imports from its own
folder and from floors below it, never from one above and never from a neighbour on its own floor. The
contract stands in pyproject.toml (`tool.importlinter`), and `make test` checks it.

![{MESSAGE}](../pictures/modules.svg)

*{MESSAGE}. A band is a floor.*

## Floors, from the top

| floor | folder | is for | imports |
|---|---|---|---|
"""


def floors() -> list[list[str]]:
    """The top-level names on each floor, from the top, as import-linter's contract states them; `__main__`,
    which only starts the command line, is no folder to look into."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in layers if layer != "__main__"]


def module_files(name: str) -> list[Path]:
    """The files of a top-level folder, or the one file of a top-level module."""
    single = SOURCE / f"{name}.py"
    return [single] if single.exists() else sorted((SOURCE / name).rglob("*.py"))


@cache
def summary(path: Path) -> str:
    """The first sentence of a module's docstring, on one line, safe in a table."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert text, f"{path.relative_to(ROOT)} has no docstring"
    paragraph = " ".join(text.split("\n\n")[0].split())
    sentence = paragraph.split(". ")[0].removesuffix(".")
    return sentence.replace("|", "\\|").replace("<", "&lt;")


def imports_between(names: Sequence[str]) -> dict[str, set[str]]:
    """For each top-level name, the other ones that its modules import."""
    graph = grimp.build_graph("headstart", exclude_type_checking_imports=True, cache_dir=None)
    imports: dict[str, set[str]] = {name: set() for name in names}
    for module in graph.modules:
        importer = module.split(".")[1:2]
        for imported in graph.find_modules_directly_imported_by(module):
            target = imported.split(".")[1:2]
            if importer and target and importer != target and importer[0] in imports:
                imports[importer[0]].add(target[0])
    return imports


def page(imports: Mapping[str, set[str]]) -> str:
    """The whole page as Markdown."""
    levels = floors()
    names = [name for level in levels for name in level]
    files = {name: module_files(name) for name in names}
    lines = [
        INTRODUCTION.format(
            modules=sum(len(each) for each in files.values()), folders=len(names), floors=len(levels)
        ).rstrip("\n")
    ]
    for number, level in enumerate(levels):
        for name in level:
            imported = ", ".join(other for other in names if other in imports[name])
            lines.append(
                f"| {len(levels) - number} | `{_shown(name)}` | {summary(files[name][0])} | {imported} |"
            )
    for name in names:
        if len(files[name]) > 1:
            lines += ["", f"## {name}/", "", "| module | is for |", "|---|---|", *_rows(name, files[name])]
    return "\n".join(lines) + "\n"


def _shown(name: str) -> str:
    return f"{name}/" if (SOURCE / name).is_dir() else f"{name}.py"


def _rows(name: str, paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        yield f"| `{path.relative_to(SOURCE / name)}` | {summary(path)} |"


CELL, LEFT, TOP = 22, 108, 96  # of the figure, in its own units


def figure(imports: Mapping[str, set[str]]) -> str:
    """The imports as a matrix in SVG: a row imports a column where there is a square."""
    levels = floors()
    names = [name for level in levels for name in level]
    size = CELL * len(names)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + size + 12} {TOP + size + 12}" '
        'font-family="sans-serif" font-size="12">',
        f"<title>{MESSAGE}</title>",
        f'<rect width="{LEFT + size + 12}" height="{TOP + size + 12}" fill="#fff"/>',
    ]
    start = 0
    for number, level in enumerate(levels):  # a floor is a band
        shade = "#f3f4f8" if number % 2 else "#e6e8f0"
        lines.append(
            f'<rect x="{LEFT}" y="{TOP + CELL * start}" width="{size}" height="{CELL * len(level)}" '
            f'fill="{shade}"/>'
        )
        start += len(level)
    for row, name in enumerate(names):
        middle = CELL * row + CELL / 2
        lines += [
            f'<text x="{LEFT - 6}" y="{TOP + middle + 4:g}" text-anchor="end">{escape(name)}</text>',
            f'<text transform="translate({LEFT + middle + 4:g} {TOP - 6}) rotate(-90)">{escape(name)}</text>',
            f'<rect x="{LEFT + CELL * row}" y="{TOP + CELL * row}" width="{CELL}" height="{CELL}" '
            'fill="#c3c7d6"/>',
        ]
        for column, other in enumerate(names):
            if other in imports[name]:
                lines.append(
                    f'<rect x="{LEFT + CELL * column + 2}" y="{TOP + CELL * row + 2}" width="{CELL - 4}" '
                    f'height="{CELL - 4}" fill="#3f51b5">'
                    f"<title>{escape(name)} imports {escape(other)}</title></rect>"
                )
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    imports = imports_between([name for level in floors() for name in level])
    PAGE.write_text(page(imports), encoding="utf-8")
    FIGURE.write_text(figure(imports), encoding="utf-8")


if __name__ == "__main__":
    main()
