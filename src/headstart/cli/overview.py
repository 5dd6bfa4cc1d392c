"""What there is to run, by name, with what installed packages add."""

from __future__ import annotations

import tomllib

from headstart.data import DATASETS, DatasetSpec
from headstart.methods import METHODS, MethodSpec
from headstart.models import MODELS, ModelSpec, model_in_words
from headstart.plugins import load_all
from headstart.recipes import RECIPES, all_recipes
from headstart.studies import study_file
from headstart.types import Recipe


def load_plugins() -> list[str]:
    """Load all that installed packages add; a line for each entry that cannot be loaded."""
    return [
        *load_all("dataset", DATASETS, DatasetSpec),
        *load_all("model", MODELS, ModelSpec),
        *load_all("method", METHODS, MethodSpec),
        *load_all("recipe", RECIPES, Recipe),
    ]


def entries() -> dict[str, dict[str, str]]:
    """Name -> words of every study, dataset, model, method and recipe that is loaded, by kind."""
    timm = "any image network of timm (extra timm); its weights are timm's tags, a FILE or a URL"
    return {
        "studies": {
            name: tomllib.loads(path.read_text(encoding="utf-8"))["title"]
            for name, path in study_file.built_in_studies().items()
        },
        "datasets": {name: spec.title for name, spec in DATASETS.items()},
        "models": {name: model_in_words(name) for name in MODELS} | {"timm:NAME": timm},
        "methods": {name: spec.title for name, spec in METHODS.items()},
        "recipes": {
            name: f"for {', '.join(m for m, spec in METHODS.items() if spec.takes(recipe))}"
            for name, recipe in all_recipes().items()
        },
    }
