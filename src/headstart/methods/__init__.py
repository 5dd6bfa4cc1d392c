"""METHODS: how a model learns. Adding one: a file with a `run(Context) -> Outcome`, and an entry here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headstart.errors import ConfigError
from headstart.methods import finetune, knn, linear_probe, lp_ft, partial, scratch
from headstart.methods.base import Context, Outcome
from headstart.models import MODELS, model_spec
from headstart.recipes import (
    CNNRecipe,
    FineTuneRecipe,
    KNNRecipe,
    LPFTRecipe,
    PartialRecipe,
    ProbeRecipe,
    ResNetRecipe,
)
from headstart.types import Arm, Recipe


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method for people and for the program. schema: raised when the same trial would give another result.

    recipe: the types of recipe that it takes. random_control: weights = "none" is allowed where it is said in
    so many
    words: one random start, frozen, the same for every trial.
    deterministic: with all labels, every seed gives the same result, so one is run."""

    title: str
    run: Callable[[Context], Outcome]
    recipe: tuple[type[Recipe], ...]
    default_recipe: str
    needs_weights: bool
    schema: int
    random_control: bool = False
    deterministic: bool = False


METHODS: dict[str, MethodSpec] = {
    "scratch": MethodSpec(
        title="all layers trained from random weights",
        run=scratch.run,
        recipe=(CNNRecipe, ResNetRecipe, FineTuneRecipe),
        default_recipe="cnn-fast",
        needs_weights=False,
        schema=1,
    ),
    "knn": MethodSpec(
        title="frozen pretrained backbone, votes of the nearest training images",
        run=knn.run,
        recipe=(KNNRecipe,),
        default_recipe="knn",
        needs_weights=True,
        schema=1,
        random_control=True,
        deterministic=True,
    ),
    # Schema 2: the folds of a label budget are drawn from its own labels alone.
    "linear_probe": MethodSpec(
        title="frozen pretrained backbone, logistic regression on its features",
        run=linear_probe.run,
        recipe=(ProbeRecipe,),
        default_recipe="probe",
        needs_weights=True,
        schema=2,
        random_control=True,
        deterministic=True,
    ),
    "partial": MethodSpec(
        title="the last stages of a pretrained network trained on, the rest frozen",
        run=partial.run,
        recipe=(PartialRecipe,),
        default_recipe="partial",
        needs_weights=True,
        schema=1,
    ),
    "finetune": MethodSpec(
        title="all layers of a pretrained network trained on",
        run=finetune.run,
        recipe=(FineTuneRecipe,),
        default_recipe="finetune",
        needs_weights=True,
        schema=1,
    ),
    "lp_ft": MethodSpec(
        title="linear probe first, then all layers trained on from it",
        run=lp_ft.run,
        recipe=(LPFTRecipe,),
        default_recipe="lp_ft",
        needs_weights=True,
        schema=1,
    ),
}


def check_arm(arm: Arm, where: str) -> None:
    """Raises: ConfigError where model, weights, method and recipe do not fit together, naming what to set
    instead."""
    method, model = METHODS[arm.method], model_spec(arm.model)
    begins = f"{where}: arm {arm.name!r}: "
    if not isinstance(arm.recipe, method.recipe):
        names = ", ".join(kind.__name__ for kind in method.recipe)
        raise ConfigError(
            f"{begins}method {arm.method!r} takes a recipe of type {names}, got {type(arm.recipe).__name__}"
        )
    if arm.method == "scratch" and arm.weights != "none":
        raise ConfigError(
            f"{begins}method 'scratch' starts from random weights; leave weights out, or set method = "
            '"finetune"'
        )
    if arm.weights == "none" and method.needs_weights and not method.random_control:
        raise ConfigError(
            f'{begins}method {arm.method!r} needs pretrained weights, e.g. weights = "imagenet-keras"; '
            "random ones "
            'are for method = "scratch", which takes recipe = "finetune" too'
        )
    if method.needs_weights and model.default_weights == "none" and model.adapt is None:
        known = ", ".join(sorted(name for name, spec in MODELS.items() if spec.default_weights != "none"))
        raise ConfigError(
            f"{begins}method {arm.method!r} is for networks that come with weights: {known}; got "
            f"{arm.model!r}"
        )
    if arm.method == "partial" and not model.has_cuts:
        known = ", ".join(sorted(name for name, spec in MODELS.items() if spec.has_cuts))
        raise ConfigError(
            f"{begins}method 'partial' keeps the output of frozen blocks, which it can of {known}; for "
            f'{arm.model!r} set method = "linear_probe", "finetune" or "lp_ft"'
        )
    if isinstance(arm.recipe, CNNRecipe) != (arm.model == "cnn"):
        fitting = '"cnn-fast"' if arm.model == "cnn" else '"resnet-scratch"'
        raise ConfigError(
            f"{begins}recipe {arm.recipe_name!r} is not for model {arm.model!r}; set recipe = {fitting}"
        )


__all__ = ["METHODS", "Context", "MethodSpec", "Outcome", "check_arm"]
