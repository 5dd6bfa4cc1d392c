"""A Study built in Python as the tables of a study file; read again, they give the same study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headstart import store
from headstart.errors import ConfigError
from headstart.recipes import RECIPES, recipe_named
from headstart.registry.methods import method_spec
from headstart.types import DEFAULT_RECIPE, Arm, Cell, Claim, LabelBudget, Recipe, Search, Study


def study_tables(study: Study) -> dict[str, Any]:
    """What TOML says of a study, as plain values.

    An arm may leave out its dataset, label, weights and recipe. Where the study names no cells, every arm is
    at every label budget with every seed.

    Raises: ConfigError for what a file cannot say: two datasets, seeds of one arm alone, a recipe whose type
    no named recipe has."""
    tables: dict[str, Any] = {
        "name": study.name,
        "title": study.title,
        "question": study.question,
        "dataset": study.dataset,
        "seeds": list(study.seeds),
        "seeds_at": _seeds_at(study),
        "labels_per_class": [budget.toml for budget in study.label_budgets],
        "phase": study.phase,
        "precision": study.precision,
        "feature_precision": study.feature_precision,
        "data_health": study.data_health,
        "looks": study.looks,
        "notes": list(study.notes),
        "arms": [_arm(study, arm) for arm in study.arms],
        "claims": [_claim(claim) for claim in study.claims],
        "robustness": store.as_stored(study.robustness),
        "shift_sets": store.as_stored(study.shift_sets),
        "tuning": [_search(search) for search in study.searches],
        "tuned": study.tuned,
        "chosen": study.chosen,
    }
    return {key: value for key, value in tables.items() if value is not None}


def _seeds_at(study: Study) -> list[dict[str, Any]]:
    """The label budgets whose seeds are not the study's."""
    seeds: dict[LabelBudget, tuple[int, ...]] = {}
    for cell in study.cells:
        if seeds.setdefault(cell.label_budget, tuple(cell.seeds)) != tuple(cell.seeds):
            raise ConfigError(
                f"study {study.name!r}: all arms have the same seeds at a label budget; at "
                f"{cell.label_budget.plain_words} arm {cell.arm.name!r} has {list(cell.seeds)}, another "
                f"{list(seeds[cell.label_budget])}"
            )
    return [
        {"labels_per_class": budget.toml, "seeds": list(own)}
        for budget, own in seeds.items()
        if own != tuple(study.seeds)
    ]


def _arm(study: Study, arm: Arm) -> dict[str, Any]:
    begins = f"study {study.name!r}: arm {arm.name!r}"
    if arm.dataset not in ("", study.dataset):
        raise ConfigError(
            f"{begins}: dataset {arm.dataset!r} is not the study's {study.dataset!r}; leave the arm's out"
        )
    table: dict[str, Any] = {"name": arm.name, "model": arm.model, "method": arm.method}
    table |= {
        key: value
        for key, value in (("label", arm.label), ("weights", arm.weights), ("input_pixels", arm.input_pixels))
        if value not in ("", None)
    }
    table |= _recipe(arm, begins)
    return table | (_cells(study, arm, begins) if study.cells else {})


def _cells(study: Study, arm: Arm, begins: str) -> dict[str, Any]:
    """The label budgets of an arm, and its recipe where a budget has one of its own."""
    own = [cell for cell in study.cells if cell.arm.name == arm.name]
    _require_sound(own, arm, begins)
    budgets = [cell.label_budget for cell in own]
    table: dict[str, Any] = {"tuned": False} if study.tuned else {}  # the cells' recipes stand in the file
    if budgets != list(study.label_budgets):
        table["labels_per_class"] = [budget.toml for budget in budgets]
    changed = [
        {"labels_per_class": cell.label_budget.toml, **_recipe(cell.arm, begins)}
        for cell in own
        if (cell.arm.recipe, cell.arm.recipe_name) != (arm.recipe, arm.recipe_name)
    ]
    return table | ({"at": changed} if changed else {})


def _require_sound(cells: Sequence[Cell], arm: Arm, begins: str) -> None:
    """Raises: ConfigError where an arm has no cell, two at one label budget, or one of another arm's kind."""
    if not cells:
        raise ConfigError(f"{begins}: the study's cells leave it out; add one, or leave the arm out")
    if len({cell.label_budget for cell in cells}) < len(cells):
        raise ConfigError(f"{begins}: two cells have the same label budget")
    for cell in cells:
        for field in ("label", "dataset", "model", "weights", "method", "input_pixels"):
            own, there = getattr(arm, field), getattr(cell.arm, field)
            if own != there:
                raise ConfigError(
                    f"{begins}: its cell with {cell.label_budget.plain_words} has {field} {there!r}, the arm "
                    f"{own!r}; only its recipe may differ, else it is another arm"
                )


def _recipe(arm: Arm, begins: str) -> dict[str, Any]:
    """A named recipe and what differs from it."""
    if arm.recipe == DEFAULT_RECIPE:
        return {"recipe": arm.recipe_name} if arm.recipe_name else {}
    name = arm.recipe_name or _name_of_kind(arm, begins)
    base = recipe_named(name)
    if type(base) is not type(arm.recipe):
        raise ConfigError(
            f"{begins}: recipe_name {name!r} is a {type(base).__name__}, its recipe a "
            f"{type(arm.recipe).__name__}; leave recipe_name out"
        )
    fields = dict(base)
    changes = {
        field: "none" if value is None else value for field, value in arm.recipe if value != fields[field]
    }
    return {"recipe": name} | ({"recipe_changes": changes} if changes else {})


def _name_of_kind(arm: Arm, begins: str) -> str:
    """The method's default recipe, or else the first named one of the recipe's type."""
    default = method_spec(arm.method).default_recipe
    kind: type[Recipe] = type(arm.recipe)
    for name, recipe in {default: recipe_named(default), **RECIPES}.items():
        if type(recipe) is kind:
            return name
    raise ConfigError(
        f"{begins}: no named recipe is a {kind.__name__}, so a study file cannot say it; add one to RECIPES"
    )


def _claim(claim: Claim) -> dict[str, Any]:
    table: dict[str, Any] = store.as_stored(claim)
    table["labels_per_class"] = claim.label_budget.toml
    return {key: value for key, value in table.items() if value not in (None, "")}


def _search(search: Search) -> dict[str, Any]:
    return {
        "arms": list(search.arms),
        "labels_per_class": search.label_budget.toml,
        "tries": search.tries,
        **search.proxy.settings(),
    }
