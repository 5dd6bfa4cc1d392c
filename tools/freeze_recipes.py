"""Freezes what `headstart tune` found in a study's folder as built-in recipes: src/headstart/recipes_tuned.toml.

    python tools/freeze_recipes.py runs/cifar10

A recipe is named STUDY-ARM-LABELS; a study with `tuned = true` takes its own. Those of other studies stay.
"""

from __future__ import annotations

import sys
from pathlib import Path

from headstart.recipes import load_recipes, recipe_toml
from headstart.store import read_json

TUNED = Path(__file__).parents[1] / "src" / "headstart" / "recipes_tuned.toml"


def main(folder: Path) -> None:
    kept = load_recipes(TUNED) if TUNED.exists() else {}
    found = sorted(folder.glob("tuning/*/recipe.toml"))
    if not found:
        sys.exit(f"{folder} holds no tuned recipe; run `headstart tune` first")
    for path in found:
        ((recipe, provenance),) = load_recipes(path).values()
        study = read_json(path.with_name("tuning.json"))["study"]
        kept[f"{study}-{path.parent.name}"] = recipe, provenance
    TUNED.write_text("\n".join(recipe_toml(name, *kept[name]) for name in sorted(kept)), encoding="utf-8")
    print(f"{len(found)} recipes of {folder} are now in {TUNED.name}, {len(kept)} in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
