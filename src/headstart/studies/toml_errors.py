"""What is wrong with a study file in one line: the file, the line, the key, what was expected."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError

from headstart.errors import unknown_name
from headstart.studies.schema import TABLES, AtTable, StudyFile

_EXPECTED = {
    "string_type": "a text in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
}
_UNION_BRANCHES = ("literal", "int", "constrained")  # pydantic's own steps in a place, no keys of the file


def first_problem(error: ValidationError, where: str, text: str) -> str:
    """The first problem in one line. where: the file's path; text: its content."""
    first = error.errors()[0]
    place = [
        step for step in first["loc"] if not (isinstance(step, str) and step.startswith(_UNION_BRANCHES))
    ]
    key = ".".join(str(step) for step in place)
    line = line_of(text, place)
    begins = f"{where}, line {line}" if line else where
    if first["type"] == "extra_forbidden":
        return f"{begins}: {unknown_name('key', str(place[-1]), _table(place).model_fields)}"
    if first["type"] == "missing":
        return f"{begins}: key {key!r} is missing; add it"
    expected = _EXPECTED.get(first["type"], first["msg"])
    if "labels_per_class" in key or "gap_at" in key:
        expected = 'whole numbers or "all"'
    elif first["type"] == "literal_error":
        expected = first["ctx"]["expected"]
    return f"{begins}: key {key!r} expects {expected}, got {first['input']!r}"


def _table(place: Sequence[int | str]) -> type[BaseModel]:
    """The kind of table that a place like ["arms", 1, "at", 0, "recipe"] lies in."""
    if "at" in place[1:-1]:
        return AtTable
    return TABLES.get(str(place[0]), StudyFile) if len(place) > 1 else StudyFile


def line_of(text: str, place: Sequence[int | str]) -> int | None:
    """The line, from 1, of a key like ["arms", 1, "label"]; its table's line where the key is not there; None
    where neither is found."""
    lines = text.splitlines()
    start, stop = 0, len(lines)
    if len(place) > 2 and isinstance(place[1], int):
        head = re.compile(rf"\s*\[\[\s*{re.escape(str(place[0]))}\s*\]\]")
        heads = [number for number, line in enumerate(lines) if head.match(line)]
        if place[1] < len(heads):
            start, stop = heads[place[1]], (*heads, len(lines))[place[1] + 1]
    names = [step for step in place if isinstance(step, str)]
    for number, line in enumerate(lines[start:stop], start + 1):
        if names and re.match(rf"\s*{re.escape(names[-1])}\s*=", line):
            return number
    return start + 1 if start else None
