"""A recipe by its name: one of RECIPES, one that was tuned and frozen, or one in a file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from headstart import plugins
from headstart.errors import ConfigError
from headstart.recipes.files import load_recipes
from headstart.recipes.named import RECIPES
from headstart.types import Recipe

_TUNED = Path(__file__).with_name("tuned.toml")


@cache
def _tuned() -> dict[str, tuple[Recipe, dict[str, Any]]]:
    return load_recipes(_TUNED)


def all_recipes() -> dict[str, Recipe]:
    """RECIPES, then those that were tuned and frozen, by name."""
    return RECIPES | {name: recipe for name, (recipe, _) in _tuned().items() if name not in RECIPES}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name, built in or of an installed package, or the one in a recipe file
    ("tuned/probe.toml", as `headstart tune` writes it).

    Raises: ConfigError naming the choices, or what is wrong with the file."""
    if name.endswith(".toml"):
        return _only_recipe(name)[0]
    if name in RECIPES:
        return RECIPES[name]
    if name in _tuned():
        return _tuned()[name][0]
    others = [*_tuned(), "a recipe FILE.toml"]
    return plugins.look_up("recipe", name, RECIPES, Recipe, others)


def provenance_of(name: str) -> Mapping[str, Any]:
    """How a recipe that was tuned came about; empty for one that was written by hand. Raises: as
    recipe_named."""
    if name.endswith(".toml"):
        return _only_recipe(name)[1]
    return _tuned()[name][1] if name in _tuned() else {}


def _only_recipe(path: str) -> tuple[Recipe, dict[str, Any]]:
    recipes = load_recipes(path)
    if len(recipes) != 1:
        raise ConfigError(f"{path} holds {len(recipes)} recipes; a file that an arm names holds one")
    return next(iter(recipes.values()))
