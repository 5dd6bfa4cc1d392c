"""Freezes what `headstart tune` found in a study's folder as built-in recipes:
src/headstart/recipes/tuned.toml.

    python tools/freeze_recipes.py runs/cifar10 [FOLDER FOLDER]

A recipe is named STUDY-ARM-LABELS; a study with `tuned = true` takes its own. Those of other studies stay.
The two folders hold finished trials of the study, with the arms' own recipes and with the found ones: where
tries were shorter than trials, an arm keeps its own recipe at all labels if that has the higher validation
accuracy at full length (mean over the seeds that both have). What was compared is added to tuning.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

from headstart.recipes import load_recipes, recipe_toml
from headstart.store import finished_trials, read_json, write_json

TUNED = Path(__file__).parents[1] / "src" / "headstart" / "recipes" / "tuned.toml"


def main(folder: Path, own: Path | None = None, found: Path | None = None) -> None:
    kept = load_recipes(TUNED) if TUNED.exists() else {}
    paths = sorted(folder.glob("tuning/*/recipe.toml"))
    if not paths:
        sys.exit(f"{folder} holds no tuned recipe; run `headstart tune` first")
    for path in paths:
        ((recipe, provenance),) = load_recipes(path).values()
        about = read_json(path.with_name("tuning.json"))
        name = f"{about['study']}-{path.parent.name}"
        kept[name] = recipe, provenance
        if (
            own
            and found
            and about["labels_per_class"] is None
            and (compared := _full_length(about["arm"], own, found))
        ):
            write_json(path.with_name("tuning.json"), about | {"full_length": compared})
            if compared["own"] > compared["found"]:
                print(f"{about['arm']} keeps its own recipe: {compared}")
                del kept[name]
    TUNED.write_text("\n".join(recipe_toml(name, *kept[name]) for name in sorted(kept)), encoding="utf-8")
    print(f"{len(paths)} searches in {folder}; {TUNED.name} now holds {len(kept)} recipes")


def _full_length(arm: str, own: Path, found: Path) -> dict[str, float] | None:
    """Mean validation accuracy of whole trials at all labels, over the seeds that both folders have; None
    without any."""
    read = [
        {
            result.seed: result.metrics["val_accuracy"]
            for result in finished_trials(folder)
            if result.arm.name == arm and result.label_budget.is_all
        }
        for folder in (own, found)
    ]
    seeds = sorted(read[0].keys() & read[1].keys())
    if not seeds:
        return None
    own_mean, found_mean = (round(fmean(values[seed] for seed in seeds), 6) for values in read)
    return {"own": own_mean, "found": found_mean, "seeds": len(seeds)}


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
