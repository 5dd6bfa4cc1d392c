"""How the modules are laid out, in numbers: `python tools/layout_numbers.py 6f61411 .`, a revision and this.

Without arguments: writes the numbers of what is here into docs/reference/layout.md, beside those of before.

A room is a folder or a lone file directly under headstart/. An arrow is one room that imports another, type
checking left out. Floors: the most rooms on one chain of arrows. Rooms in circles import each other, straight
or over others.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import grimp
import networkx

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headstart"
PAGE = ROOT / "docs" / "reference" / "layout.md"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
NAMED = (*FUNCTIONS, ast.ClassDef)


def unpack(revision: str, folder: Path) -> None:
    """The sources of a revision, from git's history."""
    command = ["git", "archive", revision, "src/headstart"]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as file:
        file.extractall(folder, filter="data")


def room_graph() -> networkx.DiGraph:
    """The rooms of the headstart that comes first on the path, and their arrows."""
    modules = grimp.build_graph("headstart", exclude_type_checking_imports=True, cache_dir=None)
    rooms: networkx.DiGraph = networkx.DiGraph()
    for module in modules.modules - {"headstart"}:
        room = module.split(".")[1]
        rooms.add_node(room)
        for imported in modules.find_modules_directly_imported_by(module):
            if imported != "headstart" and imported.split(".")[1] != room:
                rooms.add_edge(room, imported.split(".")[1])
    return rooms


def function_sizes(path: Path) -> Iterator[tuple[str, int, int]]:
    """Each function of a file by its qualified name, its lines, and its parameters but for self."""

    def below(node: ast.AST, prefix: str) -> Iterator[tuple[str, int, int]]:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}{child.name}" if isinstance(child, NAMED) else prefix.removesuffix(".")
            if isinstance(child, FUNCTIONS):
                parameters = [*child.args.posonlyargs, *child.args.args, *child.args.kwonlyargs]
                own = [each for each in parameters if each.arg not in ("self", "cls")]
                yield name, (child.end_lineno or child.lineno) - child.lineno + 1, len(own)
            yield from below(child, f"{name}." if isinstance(child, NAMED) else prefix)

    yield from below(ast.parse(path.read_text(encoding="utf-8")), "")


def numbers(source: Path) -> dict[str, int]:
    """What docs/reference/layout.md says of the modules in src/headstart."""
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in source.rglob("*.py")]
    functions = [each for path in source.rglob("*.py") for each in function_sizes(path)]
    lone = [path for path in source.glob("*.py") if path.name != "__init__.py"]
    sys.path.insert(0, str(source.parent))
    try:
        rooms = room_graph()
    finally:
        sys.path.pop(0)
    circles = [part for part in networkx.strongly_connected_components(rooms) if len(part) > 1]
    return {
        "modules": len(lengths),
        "of them side by side under headstart/": len(lone),
        "rooms": len(rooms),
        "arrows between rooms": rooms.number_of_edges(),
        "floors": networkx.dag_longest_path_length(networkx.condensation(rooms)) + 1,
        "rooms in circles": sum(map(len, circles)),
        "modules over 400 lines": sum(length > 400 for length in lengths),
        "functions over 60 lines": sum(lines > 60 for _, lines, _ in functions),
        "functions with over 6 parameters": sum(parameters > 6 for _, _, parameters in functions),
    }


def numbers_of(revision: str) -> dict[str, int]:
    """The same of a revision; "." is what is here."""
    if revision == ".":
        return numbers(SOURCE)
    with tempfile.TemporaryDirectory() as folder:
        unpack(revision, Path(folder))
        return numbers(Path(folder) / "src" / "headstart")


def table(*columns: Mapping[str, int], heads: Sequence[str]) -> str:
    """Revisions beside each other, as Markdown."""
    rows = [["", *heads], ["---"] * (len(heads) + 1)]
    rows += [[name, *(str(column[name]) for column in columns)] for name in columns[0]]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def with_numbers(page: str) -> str:
    """The page with the numbers of what is here in the last column of its table."""
    here = numbers(SOURCE)
    for name, number in here.items():
        page, count = re.subn(
            rf"^(\| {re.escape(name)} \| \d+ \|) \d+ \|$", rf"\1 {number} |", page, flags=re.M
        )
        assert count == 1, f"{PAGE.name} has no row for {name}"
    return page


def main(revisions: Sequence[str]) -> None:
    if revisions:
        print(table(*map(numbers_of, revisions), heads=revisions), end="")
    else:
        PAGE.write_text(with_numbers(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
