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
    if not (stored := searches(view)):
        return None
    budgets = list(dict.fromkeys(_budget(search) for search in stored))
    return {
        "figures": [
            _figure(view, budget, [search for search in stored if _budget(search) == budget])
            for budget in budgets
        ],
        "rows": [_row(view, search) for search in stored],
        "spaces": _spaces(view, stored),
    }


def searches(view: StudyView) -> list[dict[str, Any]]:
    """What the study's folder holds of searches for its arms' recipes, by label budget and arm."""
    stored = [store.read_json(path) for path in sorted(view.folder.glob("tuning/*/tuning.json"))]
    place = {name: number for number, name in enumerate(view.styles)}
    return sorted(
        (search for search in stored if search["arm"] in place and search["tries"]),
        key=lambda search: (_budget(search), place[search["arm"]]),
    )


def effort(view: StudyView) -> str:
    """What a reader must know of the tuning: whether anything was searched, and whose recipes more work went
    into."""
    closing = "a verdict holds for these recipes."
    # A recipe that `headstart tune` chose brings its provenance.
    tuned_recipes = {name for name, sentence in view.study.recipes.items() if sentence}
    used = {arm.name: set(view.recipe_names(arm.name).values()) for arm in view.arms}
    searched = [arm for arm in view.arms if used[arm.name] & tuned_recipes]
    owners = {arm.name: _owner(view, arm, used[arm.name] & tuned_recipes) for arm in searched}
    taken, searched = (
        [arm for arm in searched if bool(owners[arm.name]) == is_taken] for is_taken in (True, False)
    )
    by_hand, usual = (
        [arm.label for arm in view.arms if arm.name not in owners and used[arm.name] <= names]
        for names in (DEVELOPED_BY_HAND, USUAL_VALUES)
    )
    tried = {(search["arm"], _budget(search)) for search in searches(view)}
    if not searched and tried:
        return (
            "Each recipe was chosen on validation images with an effort that is stated, not with all that is "
            f"possible; {closing}"
        )
    if searched:
        most = max(
            view.study.recipes[name]["tries"] for arm in searched for name in used[arm.name] & tuned_recipes
        )
        recipes = [_searched(arm, view.recipe_names(arm.name), tuned_recipes, tried) for arm in searched]
        sentence = (
            f"The {_recipes(recipes)} "
            f"{'was' if len(searched) == 1 else 'were'} searched, with up to {most} tries at a label budget, "
            "on validation images or folds inside it"
        )
        if any(
            view.study.recipes[name]["labels_per_class"] != "all"
            for arm in searched
            for name in used[arm.name] & tuned_recipes
        ):
            sentence += (
                " (where labels are few, inside one seed's subset: the recipe serves the other subsets too)"
            )
        sentence += "".join(f"; {arm.label} takes what was found for {owners[arm.name]}" for arm in taken)
        rest = [
            f"the {_recipes(labels)} {'was' if len(labels) == 1 else 'were'} {how}"
            for labels, how in (
                (by_hand, "developed by hand on validation images"),
                (usual, "taken at usual values"),
            )
            if labels
        ]
        return f"{'; '.join([sentence, *rest])}{': efforts differ' if rest else ''}; {closing}"
    return f"{_without_search(by_hand, usual)}; {closing}"


def _without_search(by_hand: list[str], usual: list[str]) -> str:
    """The sentence of a study whose recipes were not searched; arms by their labels."""
    sentence = "No recipe of this study was searched: all were written before its first trial ran"
    if by_hand and usual:
        first = f"{_recipes(by_hand)} {'was' if len(by_hand) == 1 else 'were'}"
        others = f"those of {len(usual)} others" if len(usual) > 3 else f"the {_recipes(usual)}"
        sentence += (
            f". The {first} developed by hand on validation images; {others} "
            f"{'takes' if len(usual) == 1 else 'take'} usual "
            "values as they are, which favours the former"
        )
    return sentence


def _owner(view: StudyView, arm: Arm, names: set[str]) -> str:
    """The label of the study's other arm for which all of these recipes were found; "" where they are its
    own."""
    provenances = [view.study.recipes[name] for name in names]
    # What another study found counts as the arm's own: its arms are not these.
    arms = {
        provenance["arm"] if provenance.get("study") == view.study.name else arm.name
        for provenance in provenances
    }
    return (
        ""
        if arm.name in arms
        else words.listing([style.label for name, style in view.styles.items() if name in arms])
    )


def _searched(
    arm: Arm,
    recipe_names: Mapping[LabelBudget, str],
    tuned_recipes: set[str],
    tried: set[tuple[str, LabelBudget]],
) -> str:
    """An arm's label, with the label budgets that its search was for where it was not for all that can be
    searched."""
    could = {budget: name for budget, name in recipe_names.items() if budget.allows_selection}
    was = [
        budget.words for budget, name in could.items() if name in tuned_recipes or (arm.name, budget) in tried
    ]
    return arm.label if len(was) == len(could) else f"{arm.label} (with {words.listing(was)} alone)"


def _recipes(labels: list[str]) -> str:
    """ "recipe of A", "recipes of A; B and C": labels may hold commas."""
    return (
        f"recipe of {labels[0]}"
        if len(labels) == 1
        else f"recipes of {'; '.join(labels[:-1])} and {labels[-1]}"
    )


def _figure(view: StudyView, budget: LabelBudget, stored: list[dict[str, Any]]) -> Figure:
    tries = {search["arm"]: [row["accuracy"] for row in search["tries"]] for search in stored}
    gains = {}
    for search in stored:
        if not _is_used(view, search):
            continue
        first, best = search["tries"][0]["accuracy"], _best(search)
        if first is not None and best is not None:
            gains[view.styles[search["arm"]].label] = best["accuracy"] - first
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
            "low" in knob
            for search in stored
            for knob in search["space"]
            if len(search["tries"]) < search["tries_asked"]
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


def _budget(search: Mapping[str, Any]) -> LabelBudget:
    return LabelBudget(search["labels_per_class"])


def _best(search: Mapping[str, Any]) -> dict[str, Any] | None:
    return next((row for row in search["tries"] if row["number"] == search["best"]), None)


def _is_used(view: StudyView, search: Mapping[str, Any]) -> bool:
    """Whether the arm's trials at that label budget have a recipe that a search has found."""
    name = view.recipe_names(search["arm"]).get(_budget(search), "")
    return bool(view.study.recipes.get(name))


def _row(view: StudyView, search: dict[str, Any]) -> Row:
    best, failed = _best(search), sum(row["accuracy"] is None for row in search["tries"])
    chosen = [
        f"{name.replace('_', ' ')} {words.setting(value)}"
        for name, value in (best["values"] if best else {}).items()
    ]
    sentence = words.listing(chosen) or "nothing is searched here: what its method selects, it selects itself"
    if full := search.get("full_length"):
        kept = "; the arm keeps its own recipe" if full["own"] > full["found"] else ""
        sentence += (
            f". In whole trials {100 * full['found']:.2f} % on validation, {100 * full['own']:.2f} % with "
            "its own recipe "
            f"(n = {full['seeds']}){kept}"
        )
    elif (
        best
        and best is not search["tries"][0]
        and view.at(search["arm"], _budget(search))
        and not _is_used(view, search)
    ):
        sentence += ". Found, and not used: the trials here have the arm's own recipe"
    return Row(
        style=view.styles[search["arm"]],
        place=list(view.styles).index(search["arm"]),
        budget=_budget(search).words,
        tries=str(len(search["tries"])) + (f" ({failed} failed)" if failed else ""),
        seconds=math.fsum(row["seconds"] for row in search["tries"]),
        proxy=_proxy(search, best),
        start=search["tries"][0]["accuracy"],
        best=best["accuracy"] if best else None,
        chosen=sentence,
    )


def _proxy(search: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    """What a try was, where it was cheaper than the trial it stands for."""
    proxy = search["proxy"]
    trains = any(knob["name"] == "learning_rate" for knob in search["space"])
    parts = [proxy["duration"]] if "duration" in proxy and trains else []
    if "images" in proxy and best:
        parts.append(f"{best['train_images']:,} training images")
    if "validation_images" in proxy and best:
        parts.append(f"{best['validation_images']:,} validation images")
    if "folds" in proxy:
        parts.append(f"{proxy['folds']} of 5 folds")
    return words.listing(parts) or "as the trial itself"


def _spaces(view: StudyView, stored: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(arms, bounds in words) of each different search space."""
    spaces: dict[str, list[str]] = {}
    for search in stored:
        bounds = words.listing([_knob(knob) for knob in search["space"]])
        label = view.styles[search["arm"]].label
        if bounds and label not in spaces.setdefault(bounds, []):
            spaces[bounds].append(label)
    return [(words.listing(labels), bounds) for bounds, labels in spaces.items()]


def _knob(knob: Mapping[str, Any]) -> str:
    name = knob["name"].replace("_", " ")
    if "values" in knob:
        return f"{name} among {words.listing([words.setting(value) for value in knob['values']])}"
    return f"{name} from {knob['low']:g} to {knob['high']:g}{' (in its logarithm)' if knob['log'] else ''}"
