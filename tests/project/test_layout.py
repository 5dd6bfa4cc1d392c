"""The layout: its map is made from the code, and tests lie where their modules do."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
layout_numbers = importlib.import_module("layout_numbers")
module_map = importlib.import_module("module_map")


def test_the_map_of_the_modules_is_what_the_code_gives() -> None:
    imports = module_map.imports_between([name for level in module_map.floors() for name in level])
    for path, text in (
        (module_map.PAGE, module_map.page(imports)),
        (module_map.FIGURE, module_map.figure(imports)),
    ):
        assert path.read_text(encoding="utf-8") == text, "run: python tools/module_map.py"


def test_the_numbers_of_the_layout_are_those_of_the_code() -> None:
    text = layout_numbers.PAGE.read_text(encoding="utf-8")
    assert layout_numbers.with_numbers(text) == text, "run: python tools/layout_numbers.py"


def test_no_import_points_up_in_the_map() -> None:
    levels = module_map.floors()
    floor_of = {name: floor for floor, level in enumerate(levels) for name in level}
    imports = module_map.imports_between(list(floor_of))
    assert imports["cli"] >= {"studies", "report", "errors"}
    for name, others in imports.items():
        assert all(floor_of[other] > floor_of[name] for other in others), name


def test_tests_lie_where_their_modules_do() -> None:
    """tests/project and tests/benchmarks are about the repository, tests/support holds what tests share."""
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    mirrored = {folder for folder in folders if folder.parts[:1] not in (("project",), ("benchmarks",))}
    assert len(mirrored) > 15
    assert [folder for folder in mirrored if not (ROOT / "src/headstart" / folder).is_dir()] == []


PAGES = [
    path
    for path in (ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
    if path != module_map.PAGE and path.parent.name != "decisions"  # which stand as they were written
]
FILE = re.compile(r"`([\w/]+/\w+\.py)`((?:,? `\w+`)*)")


def names_in(path: Path) -> set[str]:
    """What a module defines at its top."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    named = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    targets = [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
    return named | {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_module_and_function_that_a_page_names_is_there(page: Path) -> None:
    """A file in code marks, from the top, from src/ or from src/headstart/; then functions of it."""
    for name, behind in FILE.findall(page.read_text(encoding="utf-8")):
        homes = [base / name for base in (ROOT, ROOT / "src", ROOT / "src" / "headstart")]
        (path,) = [home for home in homes if home.exists()] or [None]
        assert path is not None, f"{page.name} names {name}"
        assert set(re.findall(r"\w+", behind)) <= names_in(path), f"{page.name}: {name}{behind}"


def test_the_page_on_one_trial_names_the_functions_that_it_goes_through() -> None:
    found = FILE.findall((ROOT / "docs" / "reference" / "one-trial.md").read_text(encoding="utf-8"))
    assert len(found) > 25 and sum(bool(behind) for _, behind in found) > 20
