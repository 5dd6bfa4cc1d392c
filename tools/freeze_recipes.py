"""Freeze the recipes that `headstart tune` wrote into a study's folder as built-in ones, in
src/headstart/recipes/tuned.toml.

    python tools/freeze_recipes.py runs/cifar10 [FOLDER FOLDER]

A recipe is named STUDY-ARM-LABELS; a study with `tuned = true` takes its own. Those of other studies stay.
The two folders hold finished trials of the study, with the arms' own recipes and with the tuned ones: where
search trials were shorter than trials, an arm keeps its own recipe at all labels if that has the higher
validation accuracy at full length (mean over the seeds that both have). The comparison is added to
tuning.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import fmean

from headstart.recipes import load_recipes, recipe_toml
from headstart.store import finished_trials, read_json, write_json

TUNED = Path(__file__).parents[1] / "src" / "headstart" / "recipes" / "tuned.toml"


def main(folder: Path, own: Path | None = None, tuned: Path | None = None) -> None:
    """own, tuned: folders with finished trials with the arms' own recipes and with the tuned ones."""
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
            and tuned
            and about["labels_per_class"] is None
            and (compared := _full_length(about["arm"], own, tuned))
        ):
            write_json(path.with_name("tuning.json"), about | {"full_length": compared})
            if compared["own"] > compared["found"]:
                print(f"{about['arm']} keeps its own recipe: {compared}")
                del kept[name]
    TUNED.write_text("\n".join(recipe_toml(name, *kept[name]) for name in sorted(kept)), encoding="utf-8")
    print(f"{len(paths)} searches in {folder}; {TUNED.name} now holds {len(kept)} recipes")


def _full_length(arm: str, own: Path, tuned: Path) -> dict[str, float] | None:
    """Mean validation accuracy of whole trials at all labels with both recipes, over the seeds that both
    folders have; None without any."""
    accuracies = [
        {
            trial.seed: trial.metrics["val_accuracy"]
            for trial in finished_trials(folder)
            if trial.arm.name == arm and trial.label_budget.is_all
        }
        for folder in (own, tuned)
    ]
    seeds = sorted(accuracies[0].keys() & accuracies[1].keys())
    if not seeds:
        return None
    own_mean, tuned_mean = (round(fmean(values[seed] for seed in seeds), 6) for values in accuracies)
    return {"own": own_mean, "found": tuned_mean, "seeds": len(seeds)}


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:]))
