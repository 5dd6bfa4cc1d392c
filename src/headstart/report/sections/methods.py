"""What was done in each arm, and what its weights cost their makers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from headstart.registry.methods import stored_method
from headstart.report import words
from headstart.report.load import Arm, StudyView


@dataclass(frozen=True, kw_only=True)
class Method:
    arm: Arm
    paragraphs: tuple[str, ...]
    recipe_name: str
    settings: tuple[tuple[str, str], ...]


def method(view: StudyView, arm: Arm) -> Method:
    trial = arm.first
    # What ran: at the main label budget an arm may have another recipe than the one that its study's file
    # begins with.
    ran = dataclasses.replace(
        arm.stored,
        recipe={**arm.stored.recipe, **trial.arm.recipe},
        recipe_name=view.recipe_names(arm.name).get(view.budget, ""),
    )
    extra = [("precision", trial.precision)]
    if stored_method(ran.method).frozen_backbone:
        extra.append(("precision of frozen layers", trial.feature_precision))
    extra += [
        (f"selected {name}", words.setting(value))
        for name, value in trial.selected.items()
        if not isinstance(value, (dict, list))
    ]
    extra += [
        (f"tuned: {name.replace('_', ' ')}", words.setting(value))
        for name, value in view.study.recipes.get(ran.recipe_name, {}).items()
        if not isinstance(value, (dict, list))
    ]
    return Method(
        arm=arm,
        paragraphs=tuple(words.method_in_words(ran, view.study.models.get(ran.model), trial)),
        settings=(*words.settings(ran.recipe), *extra),
        recipe_name=ran.recipe_name or trial.arm.recipe_name,
    )


def pretraining(view: StudyView) -> list[dict[str, str]]:
    """What the makers of the weights paid, for each pretrained model that an arm uses."""
    used = {(arm.model, arm.weights) for arm in view.study.arms if arm.is_pretrained}
    several = {name for name, _ in used if len([model for model, _ in used if model == name]) > 1}
    rows = []
    for name, weights in sorted(used):
        if (model := view.study.models.get(name)) is None:
            continue
        source = model.weights.get(weights, model.default_weights)
        rows.append(
            {
                "title": model.title + (f", {weights}" if name in several else ""),
                "pretraining": (source.pretraining or "not stated by the weights' source").rstrip("."),
                "origin": source.origin.rstrip("."),
                "licence": source.licence,
            }
        )
    return rows


def starts(view: StudyView) -> str:
    """Which arms start from random weights and which from pretrained ones, in words."""
    sides = {
        start: [arm.label for arm in view.arms if (not arm.stored.is_pretrained) == start]
        for start in (True, False)
    }
    sentences = [
        f"From {name} weights: {'; '.join(sides[start])}."
        for start, name in ((True, "random"), (False, "pretrained"))
        if sides[start]
    ]
    return " ".join(sentences)
