"""How the recipes were tuned: search spaces and validation accuracy against tries, from the study's folder
tuning/."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headstart import plots
from headstart.recipes import DEVELOPED_BY_HAND, USUAL_VALUES
from headstart.report import words
from headstart.report.document import Figure
from headstart.report.load import Arm, StudyView
from headstart.report.sections.figure import finish
from headstart.store import SearchRecord
from headstart.store.searches import SearchedHyperparameter
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
    if not view.searches:
        return None
    budgets = list(dict.fromkeys(search.label_budget for search in view.searches))
    return {
        "figures": [
            _figure(view, budget, [search for search in view.searches if search.label_budget == budget])
            for budget in budgets
        ],
        "rows": [_row(view, search) for search in view.searches],
        "spaces": _spaces(view),
    }


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
    tried = {(search.arm, search.label_budget) for search in view.searches}
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
    sentence = "No search ran for this study: its file names every recipe"
    if by_hand:
        sentence += (
            f". The {_recipes(by_hand)} {'was' if len(by_hand) == 1 else 'were'} developed by hand: values "
            "were tried on validation images, those that did worse are listed in docs/negative-results.md"
        )
    if by_hand and usual:
        others = f"those of {len(usual)} others" if len(usual) > 3 else f"the {_recipes(usual)}"
        sentence += (
            f"; {others} {'takes' if len(usual) == 1 else 'take'} usual values as they are, which favours "
            "the former"
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


def _figure(view: StudyView, budget: LabelBudget, searches: Sequence[SearchRecord]) -> Figure:
    tries = {search.arm: [each.accuracy for each in search.candidates] for search in searches}
    gains = {}
    for search in searches:
        if not _is_used(view, search):
            continue
        first, best = search.candidates[0], search.best
        if first.accuracy is not None and best is not None and best.accuracy is not None:
            gains[view.styles[search.arm].label] = best.accuracy - first.accuracy
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
            searched.values is None
            for search in searches
            for searched in search.space
            if len(search.candidates) < search.tries_asked
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


def _is_used(view: StudyView, search: SearchRecord) -> bool:
    """Whether the arm's trials at that label budget have a recipe that a search has found."""
    name = view.recipe_names(search.arm).get(search.label_budget, "")
    return bool(view.study.recipes.get(name))


def _row(view: StudyView, search: SearchRecord) -> Row:
    best, failed = search.best, sum(each.accuracy is None for each in search.candidates)
    chosen = [
        f"{name.replace('_', ' ')} {words.setting(value)}"
        for name, value in (best.values if best else {}).items()
    ]
    sentence = words.listing(chosen) or "nothing is searched here: what its method selects, it selects itself"
    if full := search.full_length:
        kept = "; the arm keeps its own recipe" if full.own > full.tuned else ""
        sentence += (
            f". In whole trials {100 * full.tuned:.2f} % on validation, {100 * full.own:.2f} % with "
            "its own recipe "
            f"(n = {full.seeds}){kept}"
        )
    elif (
        best
        and best is not search.candidates[0]
        and view.at(search.arm, search.label_budget)
        and not _is_used(view, search)
    ):
        sentence += ". Found, and not used: the trials here have the arm's own recipe"
    return Row(
        style=view.styles[search.arm],
        place=list(view.styles).index(search.arm),
        budget=search.label_budget.words,
        tries=str(len(search.candidates)) + (f" ({failed} failed)" if failed else ""),
        seconds=math.fsum(each.seconds for each in search.candidates),
        proxy=_proxy(search),
        start=search.candidates[0].accuracy,
        best=best.accuracy if best else None,
        chosen=sentence,
    )


def _proxy(search: SearchRecord) -> str:
    """What a try was, where it was cheaper than the trial it stands for."""
    proxy, best = search.proxy, search.best
    trains = any(searched.name == "learning_rate" for searched in search.space)
    parts = [proxy.duration] if proxy.duration is not None and trains else []
    if proxy.images is not None and best:
        parts.append(f"{best.train_images:,} training images")
    if proxy.validation_images is not None and best:
        parts.append(f"{best.validation_images:,} validation images")
    if proxy.folds is not None:
        parts.append(f"{proxy.folds} of 5 folds")
    return words.listing(parts) or "as the trial itself"


def _spaces(view: StudyView) -> list[tuple[str, str]]:
    """(arms, bounds in words) of each different search space."""
    spaces: dict[str, list[str]] = {}
    for search in view.searches:
        bounds = words.listing([_bounds(searched) for searched in search.space])
        label = view.styles[search.arm].label
        if bounds and label not in spaces.setdefault(bounds, []):
            spaces[bounds].append(label)
    return [(words.listing(labels), bounds) for bounds, labels in spaces.items()]


def _bounds(searched: SearchedHyperparameter) -> str:
    name = searched.name.replace("_", " ")
    if searched.values is not None:
        return f"{name} among {words.listing([words.setting(value) for value in searched.values])}"
    scale = " (in its logarithm)" if searched.log else ""
    return f"{name} from {searched.low:g} to {searched.high:g}{scale}"
