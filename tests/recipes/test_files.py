"""Recipe files: what was written reads back as the same, what is wrong is named in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headstart.errors import ConfigError
from headstart.recipes import RECIPES, all_recipes, load_recipes, provenance_of, recipe_named, recipe_toml


@pytest.mark.parametrize("name", all_recipes())
def test_a_stored_recipe_reads_back_as_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        recipe_toml("mine", recipe_named(name), {"tries": 3, "proxy": {"images": 5}, "arm": 'a "b"'})
    )
    assert load_recipes(tmp_path / "r.toml") == {
        "mine": (recipe_named(name), {"tries": 3, "proxy": {"images": 5}, "arm": 'a "b"'})
    }
    assert recipe_named(str(tmp_path / "r.toml")) == recipe_named(name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("l2_values", "l2_value"), r"recipe field 'l2_values' is missing; add it"),
        (("tolerance", "tolerence"), r"unknown recipe field 'tolerence' \(did you mean 'tolerance'\?\)"),
        (("ProbeRecipe", "ProbRecipe"), r"unknown type 'ProbRecipe' \(did you mean 'ProbeRecipe'\?\)"),
        (
            ("max_passes = 200", 'max_passes = "many"'),
            "recipe field 'max_passes' expects a whole number, got 'many'",
        ),
        (("max_passes = 200", "max_passes ="), "not valid TOML"),
    ],
)
def test_what_is_wrong_with_a_recipe_file_is_named(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    text = recipe_toml("mine", RECIPES["probe"], {})
    assert change[0] in text
    (tmp_path / "r.toml").write_text(text.replace(*change))
    with pytest.raises(ConfigError, match=message) as caught:
        load_recipes(tmp_path / "r.toml")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"cannot read recipe file .*absent\.toml"):
        recipe_named(str(tmp_path / "absent.toml"))


def test_a_field_that_is_younger_than_its_file_has_its_types_default(tmp_path: Path) -> None:
    recipe = RECIPES["cnn-fast"].replace(momentum=0.7)
    text = recipe_toml("mine", recipe, {})
    (tmp_path / "r.toml").write_text(
        "".join(line for line in text.splitlines(True) if not line.startswith("momentum"))
    )
    assert recipe_named(str(tmp_path / "r.toml")) == recipe.replace(momentum=0.9)


def test_none_is_written_as_a_text_and_a_missing_provenance_entry_not_at_all(tmp_path: Path) -> None:
    recipe = RECIPES["knn"].replace(temperature=None)
    (tmp_path / "r.toml").write_text(recipe_toml("mine", recipe, {"input_pixels": None, "seed": 0}))
    assert 'temperature = "none"\n' in (tmp_path / "r.toml").read_text()
    assert load_recipes(tmp_path / "r.toml") == {"mine": (recipe, {"seed": 0})}


def test_a_recipe_file_of_before_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(WRITTEN_BY_0_1_1)
    assert recipe_named(str(tmp_path / "r.toml")) == RECIPES["cnn-fast"].replace(learning_rate=0.443)
    assert provenance_of(str(tmp_path / "r.toml")) == {
        "arm": "cnn",
        "proxy": {},
        "space": [{"name": "translate_pixels", "values": [2, 4]}],
    }


WRITTEN_BY_0_1_1 = """["cnn-all"]
type = "CNNRecipe"
duration = "3.5 epochs"
batch_size = 500
optimizer = "muon"
learning_rate = 0.443
momentum = 0.6
weight_decay = 0.001
label_smoothing = 0.2
warmup_fraction = 0.0
final_lr_fraction = 0.0
flip = "alternating"
translate_pixels = 2
ema_decay = "none"
balance = false
widths = [64, 256, 256]
bias_learning_rate = 0.053
head_learning_rate = 0.67
bias_momentum = 0.85
whiten_bias_fraction = 0.375
activation = "relu"
norm_momentum = 0.4

["cnn-all".provenance]
arm = "cnn"
proxy = {  }
space = [{ "name" = "translate_pixels", "values" = [2, 4] }]
"""


def test_two_recipes_in_a_file_that_an_arm_names_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        recipe_toml("one", RECIPES["probe"], {}) + recipe_toml("two", RECIPES["knn"], {})
    )
    with pytest.raises(ConfigError, match="holds 2 recipes; a file that an arm names holds one"):
        recipe_named(str(tmp_path / "r.toml"))


def test_tuned_recipes_are_read_on_first_use() -> None:
    program = """
from headstart import recipes
from headstart.recipes import lookup
assert "cifar10-cnn-10" not in recipes.RECIPES and lookup._tuned.cache_info().currsize == 0
assert recipes.recipe_named("probe") == recipes.RECIPES["probe"]
assert lookup._tuned.cache_info().currsize == 0
assert recipes.recipe_named("cifar10-cnn-10").learning_rate == 0.443
assert list(recipes.all_recipes())[-1] == "cifar10-random-scratch-all"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
