"""A recipe from values that a user wrote; what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from headstart.errors import ConfigError, unknown_name
from headstart.types import Recipe

R = TypeVar("R", bound=Recipe)

_EXPECTED = {
    "string_type": "a text",
    "literal_error": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
_NO_LIST = ("tuple_type", "missing", "too_long")  # missing: an element


def with_changes(recipe: R, changes: Mapping[str, Any], where: str) -> R:
    """The recipe with some fields replaced; each value must have its field's type and lie in its range.

    Raises: ConfigError naming `where`, the field, the value and what is expected."""
    return recipe_from(dict(recipe) | dict(changes), recipe, where)


def recipe_from(values: Mapping[str, Any], example: R, where: str) -> R:
    """A recipe of the example's type with these values; a field that is left out has its type's default.

    Raises: ConfigError naming `where`, the field, the value and what is expected."""
    try:
        return type(example).model_validate(values)
    except ValidationError as error:
        raise _refused(error.errors()[0], values, example, where) from error


def _refused(error: ErrorDetails, values: Mapping[str, Any], example: Recipe, where: str) -> ConfigError:
    reason, fields = error["type"], type(example).model_fields
    name, *place = (str(step) for step in error["loc"])  # place: in a list
    begins = f"{where}: recipe field {name!r}"
    if reason == "extra_forbidden":
        return ConfigError(f"{where}: {unknown_name('recipe field', name, fields)}")
    if reason == "missing" and not place:
        return ConfigError(f"{begins} is missing; add it")
    if reason == "value_error":
        return ConfigError(f"{where}: {error['ctx']['error']}")
    value, usual = values[name], getattr(example, name)
    if reason == "literal_error" and isinstance(value, str):
        return ConfigError(f"{where}: {unknown_name(name, value, get_args(fields[name].annotation))}")
    if isinstance(usual, tuple) and (reason in _NO_LIST or reason in _EXPECTED):
        return ConfigError(f"{begins} expects a list like {list(usual)}, got {value!r}")
    if reason in _EXPECTED:
        return ConfigError(f"{begins} expects {_EXPECTED[reason]}, got {value!r}")
    shown = list(value) if isinstance(value, tuple) else value
    return ConfigError(f"{begins} {fields[name].description}, got {shown!r}")
