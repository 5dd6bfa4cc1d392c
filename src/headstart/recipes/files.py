"""Recipes as TOML files, each with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from headstart import plugins
from headstart.errors import ConfigError, unknown_name
from headstart.recipes.changes import recipe_from
from headstart.recipes.named import RECIPES
from headstart.store.toml import read_toml
from headstart.types import Recipe


def load_recipes(path: str | Path) -> dict[str, tuple[Recipe, dict[str, Any]]]:
    """Recipes of a TOML file, each with its provenance, by name.

    A recipe is a table: its `type`, its fields, a table `provenance`. A field that is left out (it may be
    younger than the file) has its type's own default.

    Raises: ConfigError naming the file, the recipe and what is wrong."""
    _, tables = read_toml(Path(path), "recipe file")
    recipes = {}
    for name, table in tables.items():
        where = f"{path}: recipe {name!r}"
        fields = dict(table) if isinstance(table, dict) else {}
        provenance, kind = fields.pop("provenance", {}), fields.pop("type", "")
        recipes[name] = recipe_from(fields, _of_type(str(kind), where), where), provenance
    return recipes


def _of_type(kind: str, where: str) -> Recipe:
    """The first named recipe of a type."""
    if kind not in (types := _first_by_type()):
        plugins.load_all("recipe", RECIPES, Recipe)
        types = _first_by_type()
    if kind not in types:
        raise ConfigError(f"{where}: {unknown_name('type', kind, types)}")
    return types[kind]


def _first_by_type() -> dict[str, Recipe]:
    return {type(recipe).__name__: recipe for recipe in reversed(RECIPES.values())}


def recipe_toml(name: str, recipe: Recipe, provenance: Mapping[str, Any]) -> str:
    """A recipe and its provenance as TOML, as `load_recipes` reads it; what is None in the provenance is left
    out."""
    fields = {field: "none" if value is None else value for field, value in recipe}
    reported = {key: value for key, value in provenance.items() if value is not None}
    return tomli_w.dumps({name: {"type": type(recipe).__name__, **fields, "provenance": reported}})
