"""A small study that says how it is tuned, and what is equal of two of its searches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLANNED = """name = "small"
dataset = "{photos}"
precision = "fp32"
labels_per_class = [5, "all"]
[[arms]]
name = "a"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "2 steps", batch_size = 16, widths = [8, 8, 8] }}
[[arms]]
name = "b"
model = "cnn"
method = "scratch"
tuned_as = "a"
recipe_changes = {{ duration = "1 steps", batch_size = 16, widths = [8, 8, 8] }}
[[tuning]]
arms = ["a", "b"]
tries = 2
duration = "1 steps"
[[tuning]]
arms = ["a"]
labels_per_class = 5
tries = 3
folds = 2
"""


def assert_equal_searches(one: Path, other: Path) -> None:
    """Both folders hold the same search: question, tries and the best recipe, but for seconds and dates."""
    assert _timeless(one / "tuning.json") == _timeless(other / "tuning.json")
    assert _recipe(one) == _recipe(other)


def _timeless(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    tries = [{name: value for name, value in each.items() if name != "seconds"} for each in content["tries"]]
    kept = ("question", "arm", "space", "proxy", "best", "start", "seed")
    return {name: content[name] for name in kept} | {"tries": tries}


def _recipe(folder: Path) -> list[str]:
    lines = (folder / "recipe.toml").read_text().splitlines()
    return [line for line in lines if not line.startswith(("seconds", "date"))]
