"""Recipes: every hyperparameter of a method as one frozen value, and the named ones that studies use."""

from headstart.recipes.changes import with_changes
from headstart.recipes.files import load_recipes, recipe_toml
from headstart.recipes.lookup import all_recipes, provenance_of, recipe_named
from headstart.recipes.named import DEVELOPED_BY_HAND, RECIPES, USUAL_VALUES
from headstart.recipes.types import (
    CNNRecipe,
    FineTuneRecipe,
    KNNRecipe,
    LogisticRecipe,
    LPFTRecipe,
    PartialRecipe,
    ProbeRecipe,
    ResNetRecipe,
    TrainingRecipe,
    TransferRecipe,
)

__all__ = [
    "DEVELOPED_BY_HAND",
    "RECIPES",
    "USUAL_VALUES",
    "CNNRecipe",
    "FineTuneRecipe",
    "KNNRecipe",
    "LPFTRecipe",
    "LogisticRecipe",
    "PartialRecipe",
    "ProbeRecipe",
    "ResNetRecipe",
    "TrainingRecipe",
    "TransferRecipe",
    "all_recipes",
    "load_recipes",
    "provenance_of",
    "recipe_named",
    "recipe_toml",
    "with_changes",
]
