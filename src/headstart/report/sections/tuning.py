"""How the recipes were tuned: search spaces and validation accuracy against tries, from the study's folder
tuning/."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart import plots, store
from headstart.recipes import DEVELOPED_BY_HAND, USUAL_VALUES
from headstart.report import words
from headstart.report.load import Arm, StudyView
from headstart.report.sections.figure import Figure, finish
from headstart.types import LabelBudget


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm at one label budget, for the table."""

    style: plots.ArmStyle
    place: int  # of the arm in the study: the key of its colour
    budget: str
    tries: str
    seconds: float
    proxy: str
    start: float | None
    best: float | None
    chosen: str


def tuning(view: StudyView) -> dict[str, Any] | None:
    """Figures (one a label budget), rows and search spaces; None where the study's folder holds no tuning of
    its arms."""
    if not (found := searches(view)):
        return None
    budgets = list(dict.fromkeys(_budget(one) for one in found))
    return {
        "figures": [
            _figure(view, budget, [one for one in found if _budget(one) == budget]) for budget in budgets
        ],
        "rows": [_row(view, one) for one in found],
        "spaces": _spaces(view, found),
    }


def searches(view: StudyView) -> list[dict[str, Any]]:
    """What the study's folder holds of searches for its arms' recipes, by label budget and arm."""
    found = [store.read_json(path) for path in sorted(view.folder.glob("tuning/*/tuning.json"))]
    place = {name: number for number, name in enumerate(view.styles)}
    return sorted(
        (one for one in found if one["arm"] in place and one["tries"]),
        key=lambda one: (_budget(one), place[one["arm"]]),
    )


def effort(view: StudyView) -> str:
    """What a reader must know of the tuning: whether anything was searched, and whose recipes more work went
    into."""
    closing = "a verdict holds for these recipes."
    # A recipe that `headstart tune` chose brings its provenance.
    found = {name for name, told in view.study.recipes.items() if told}
    used = {arm.name: set(view.recipe_names(arm.name).values()) for arm in view.arms}
    searched = [arm for arm in view.arms if used[arm.name] & found]
    owners = {arm.name: _owner(view, arm, used[arm.name] & found) for arm in searched}
    taken, searched = (
        [arm for arm in searched if bool(owners[arm.name]) == is_taken] for is_taken in (True, False)
    )
    by_hand, usual = (
        [arm.label for arm in view.arms if arm.name not in owners and used[arm.name] <= names]
        for names in (DEVELOPED_BY_HAND, USUAL_VALUES)
    )
    tried = {(one["arm"], _budget(one)) for one in searches(view)}
    if not searched and tried:
        return (
            "Each recipe was chosen on validation images with an effort that is stated, not with all that is "
            "possible; "
            f"{closing}"
        )
    if searched:
        most = max(view.study.recipes[name]["tries"] for arm in searched for name in used[arm.name] & found)
        recipes = [_searched(arm, view.recipe_names(arm.name), found, tried) for arm in searched]
        told = (
            f"The {_recipes(recipes)} "
            f"{'was' if len(searched) == 1 else 'were'} searched, with up to {most} tries at a label budget, "
            "on validation images or folds inside it"
        )
        if any(
            view.study.recipes[name]["labels_per_class"] != "all"
            for arm in searched
            for name in used[arm.name] & found
        ):
            told += (
                " (where labels are few, inside one seed's subset: the recipe serves the other subsets too)"
            )
        told += "".join(f"; {arm.label} takes what was found for {owners[arm.name]}" for arm in taken)
        rest = [
            f"the {_recipes(labels)} {'was' if len(labels) == 1 else 'were'} {how}"
            for labels, how in (
                (by_hand, "developed by hand on validation images"),
                (usual, "taken at usual values"),
            )
            if labels
        ]
        return f"{'; '.join([told, *rest])}{': efforts differ' if rest else ''}; {closing}"
    told = "No recipe of this study was searched: all were written before its first trial ran"
    if by_hand and usual:
        first = f"{_recipes(by_hand)} {'was' if len(by_hand) == 1 else 'were'}"
        others = f"those of {len(usual)} others" if len(usual) > 3 else f"the {_recipes(usual)}"
        told += (
            f". The {first} developed by hand on validation images; {others} "
            f"{'takes' if len(usual) == 1 else 'take'} usual "
            "values as they are, which favours the former"
        )
    return f"{told}; {closing}"


def _owner(view: StudyView, arm: Arm, names: set[str]) -> str:
    """The label of the study's other arm for which all of these recipes were found; "" where they are its
    own."""
    told = [view.study.recipes[name] for name in names]
    # What another study found counts as the arm's own: its arms are not these.
    arms = {one["arm"] if one.get("study") == view.study.name else arm.name for one in told}
    return (
        ""
        if arm.name in arms
        else words.listing([style.label for name, style in view.styles.items() if name in arms])
    )


def _searched(
    arm: Arm, recipe_names: Mapping[LabelBudget, str], found: set[str], tried: set[tuple[str, LabelBudget]]
) -> str:
    """An arm's label, with the label budgets that its search was for where it was not for all that can be
    searched."""
    could = {budget: name for budget, name in recipe_names.items() if budget.allows_selection}
    was = [budget.words for budget, name in could.items() if name in found or (arm.name, budget) in tried]
    return arm.label if len(was) == len(could) else f"{arm.label} (with {words.listing(was)} alone)"


def _recipes(labels: list[str]) -> str:
    """ "recipe of A", "recipes of A; B and C": labels may hold commas."""
    return (
        f"recipe of {labels[0]}"
        if len(labels) == 1
        else f"recipes of {'; '.join(labels[:-1])} and {labels[-1]}"
    )


def _figure(view: StudyView, budget: LabelBudget, found: list[dict[str, Any]]) -> Figure:
    tries = {one["arm"]: [row["accuracy"] for row in one["tries"]] for one in found}
    gains = {}
    for one in found:
        if not _is_used(view, one):
            continue
        first, best = one["tries"][0]["accuracy"], _best(one)
        if first is not None and best is not None:
            gains[view.styles[one["arm"]].label] = best["accuracy"] - first
    message = "Validation accuracy against tries"
    if gains:
        most = max(gains, key=lambda label: gains[label])
        message = (
            f"Tuning gains {most} most: {100 * gains[most]:.1f} points on validation"
            if gains[most] > 0
            else "No try was better than the recipe it began with"
        )
    counts = {len(row) for row in tries.values()}
    held_out = budget.selection_images
    each = f"{counts.pop()} tries each."
    if counts:
        cut = any(
            "low" in knob for one in found for knob in one["space"] if len(one["tries"]) < one["tries_asked"]
        )
        each = f"Fewer tries where {'the search was ended early' if cut else 'there was no more to compare'}."
    caption = (
        f"Tuned at {budget.words}, read on {held_out}, never on test images. Line: best so far; "
        "marks: single "
        f"tries, the first of them the recipe that the search began with. {each}"
    )
    name = f"fig-tuning-{budget}"
    drawing = plots.best_so_far(tries, view.styles, "Validation accuracy")
    return finish(drawing, name, message, caption)


def _budget(one: Mapping[str, Any]) -> LabelBudget:
    return LabelBudget(one["labels_per_class"])


def _best(one: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((row for row in one["tries"] if row["number"] == one["best"]), None)


def _is_used(view: StudyView, one: Mapping[str, Any]) -> bool:
    """Whether the arm's trials at that label budget have a recipe that a search has found."""
    name = view.recipe_names(one["arm"]).get(_budget(one), "")
    return bool(view.study.recipes.get(name))


def _row(view: StudyView, one: dict[str, Any]) -> Row:
    best, failed = _best(one), sum(row["accuracy"] is None for row in one["tries"])
    chosen = [
        f"{name.replace('_', ' ')} {words.setting(value)}"
        for name, value in (best["values"] if best else {}).items()
    ]
    told = words.listing(chosen) or "nothing is searched here: what its method selects, it selects itself"
    if full := one.get("full_length"):
        kept = "; the arm keeps its own recipe" if full["own"] > full["found"] else ""
        told += (
            f". In whole trials {100 * full['found']:.2f} % on validation, {100 * full['own']:.2f} % with "
            "its own recipe "
            f"(n = {full['seeds']}){kept}"
        )
    elif (
        best and best is not one["tries"][0] and view.at(one["arm"], _budget(one)) and not _is_used(view, one)
    ):
        told += ". Found, and not used: the trials here have the arm's own recipe"
    return Row(
        style=view.styles[one["arm"]],
        place=list(view.styles).index(one["arm"]),
        budget=_budget(one).words,
        tries=str(len(one["tries"])) + (f" ({failed} failed)" if failed else ""),
        seconds=math.fsum(row["seconds"] for row in one["tries"]),
        proxy=_proxy(one, best),
        start=one["tries"][0]["accuracy"],
        best=best["accuracy"] if best else None,
        chosen=told,
    )


def _proxy(one: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    """What a try was, where it was cheaper than the trial it stands for."""
    proxy = one["proxy"]
    trains = any(knob["name"] == "learning_rate" for knob in one["space"])
    told = [proxy["duration"]] if "duration" in proxy and trains else []
    if "images" in proxy and best:
        told.append(f"{best['train_images']:,} training images")
    if "validation_images" in proxy and best:
        told.append(f"{best['validation_images']:,} validation images")
    if "folds" in proxy:
        told.append(f"{proxy['folds']} of 5 folds")
    return words.listing(told) or "as the trial itself"


def _spaces(view: StudyView, found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(arms, bounds in words) of each different search space."""
    spaces: dict[str, list[str]] = {}
    for one in found:
        told = words.listing([_knob(knob) for knob in one["space"]])
        label = view.styles[one["arm"]].label
        if told and label not in spaces.setdefault(told, []):
            spaces[told].append(label)
    return [(words.listing(labels), told) for told, labels in spaces.items()]


def _knob(knob: Mapping[str, Any]) -> str:
    name = knob["name"].replace("_", " ")
    if "values" in knob:
        return f"{name} among {words.listing([words.setting(value) for value in knob['values']])}"
    return f"{name} from {knob['low']:g} to {knob['high']:g}{' (in its logarithm)' if knob['log'] else ''}"
