"""Recipes are frozen values; types, ranges and choices are checked, and a mistake is named in one line."""

from __future__ import annotations

from typing import Any

import pydantic
import pytest

from headstart.errors import ConfigError
from headstart.recipes import RECIPES, CNNRecipe, FineTuneRecipe, PartialRecipe, ProbeRecipe, with_changes

FINETUNE = RECIPES["finetune"]


def test_a_recipe_is_a_frozen_value() -> None:
    recipe = ProbeRecipe(l2_values=(1.0, 0.1))
    assert recipe == ProbeRecipe(l2_values=(1.0, 0.1)) and len({recipe, recipe.replace()}) == 1
    assert recipe != recipe.replace(max_passes=5)
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        recipe.max_passes = 5  # type: ignore[misc]


def test_replacing_checks_ranges_again() -> None:
    with pytest.raises(pydantic.ValidationError, match="greater than 0"):
        FINETUNE.replace(learning_rate=-1.0)


def test_a_whole_number_is_a_fine_float_and_a_list_a_fine_tuple() -> None:
    recipe = with_changes(RECIPES["cnn-fast"], {"learning_rate": 1, "widths": [8, 16, 24]}, "here")
    assert isinstance(recipe, CNNRecipe)
    assert isinstance(recipe.learning_rate, float) and recipe.widths == (8, 16, 24)


def test_none_may_be_said_as_a_text() -> None:
    assert with_changes(RECIPES["knn"].replace(), {"temperature": "none"}, "here") == RECIPES["knn"].replace(
        temperature=None
    )


def test_fields_stand_in_the_order_in_which_files_list_them() -> None:
    assert list(type(RECIPES["lp_ft"]).model_fields)[:6] == [
        "l2_values",
        "default_l2",
        "tolerance",
        "max_passes",
        "balance",
        "duration",
    ]
    assert list(FineTuneRecipe.model_fields)[-4:] == [
        "stage_lr_decay",
        "head_lr_scale",
        "batchnorm",
        "clip_norm",
    ]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("cnn-fast", {"learning_rate": True}, "recipe field 'learning_rate' expects a number, got True"),
        ("cnn-fast", {"learning_rate": 0}, "recipe field 'learning_rate' must be above 0, got 0"),
        (
            "cnn-fast",
            {"learning_rate": float("inf")},
            "recipe field 'learning_rate' must be above 0, got inf",
        ),
        ("cnn-fast", {"batch_size": 2.5}, "recipe field 'batch_size' expects a whole number, got 2.5"),
        ("cnn-fast", {"batch_size": 0}, "recipe field 'batch_size' must be at least 1, got 0"),
        ("cnn-fast", {"momentum": 1.5}, "recipe field 'momentum' must lie between 0 and 1, got 1.5"),
        ("cnn-fast", {"ema_decay": 2}, "recipe field 'ema_decay' must lie between 0 and 1, got 2"),
        ("cnn-fast", {"weight_decay": -1}, "recipe field 'weight_decay' must not be negative, got -1"),
        ("cnn-fast", {"balance": 1}, "recipe field 'balance' expects true or false, got 1"),
        ("cnn-fast", {"duration": 3}, "recipe field 'duration' expects a text, got 3"),
        ("cnn-fast", {"flip": "randm"}, "unknown flip 'randm' (did you mean 'random'?); choose from: "),
        ("cnn-fast", {"optimizer": 3}, "recipe field 'optimizer' expects a text, got 3"),
        ("cnn-fast", {"widths": [64, 64]}, "'widths' expects a list like [64, 256, 256], got [64, 64]"),
        ("cnn-fast", {"widths": "64"}, "'widths' expects a list like [64, 256, 256], got '64'"),
        ("cnn-fast", {"widths": [64, 64, 4]}, "'widths' needs multiples of 8, got [64, 64, 4]"),
        ("probe", {"l2_values": []}, "recipe field 'l2_values' needs values above 0, got []"),
        ("probe", {"l2_values": [0.1, 0]}, "recipe field 'l2_values' needs values above 0, got [0.1, 0]"),
        ("knn", {"k_values": ["a"]}, "'k_values' expects a list like [1, 3, 5, 10, 20, 50, 100], got ['a']"),
        ("finetune", {"stage_lr_decay": 0}, "'stage_lr_decay' must be above 0 and at most 1, got 0"),
        ("finetune", {"optimizer": "muon"}, "optimizer 'muon' is for the custom CNN's recipes"),
        ("partial", {"translate_pixels": 2}, "recipe field 'translate_pixels' must be 0: the frozen part"),
        ("partial", {"x": 2}, "unknown recipe field 'x'; choose from: balance, batch_size"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_changes(RECIPES[name], changes, "mine.toml: arm 'a'")
    assert message in str(caught.value) and str(caught.value).startswith("mine.toml: arm 'a': ")
    assert "\n" not in str(caught.value)


def test_a_partial_recipe_made_in_python_is_held_to_its_range_too() -> None:
    with pytest.raises(pydantic.ValidationError, match="translate_pixels"):
        PartialRecipe(duration="1 epochs", batch_size=2, learning_rate=0.1, translate_pixels=1)
