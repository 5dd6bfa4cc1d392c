"""Which arms make sense: model, weights, method and recipe must fit together."""

from __future__ import annotations

from headstart.errors import ConfigError
from headstart.models import MODELS, model_spec
from headstart.recipes import CNNRecipe, recipe_named
from headstart.registry.methods import method_spec
from headstart.types import Arm


def check_arm(arm: Arm, where: str) -> None:
    """Check that an arm's model, weights, method and recipe fit together.

    where: the file or class that the arm is from, for the message.
    Raises: ConfigError where they do not, naming what to set instead."""
    method, model = method_spec(arm.method), model_spec(arm.model)
    begins = f"{where}: arm {arm.name!r}: "
    if not method.takes(arm.recipe):
        names = ", ".join(kind.__name__ for kind in method.spaces)
        raise ConfigError(
            f"{begins}method {arm.method!r} takes a recipe of type {names}, got {type(arm.recipe).__name__}"
        )
    if not method.needs_weights and arm.weights != "none":
        raise ConfigError(
            f"{begins}method {arm.method!r} starts from random weights; leave weights out, or set method = "
            '"finetune"'
        )
    if arm.weights == "none" and method.needs_weights and not method.random_control:
        raise ConfigError(
            f'{begins}method {arm.method!r} needs pretrained weights, e.g. weights = "imagenet-keras"; '
            'random ones are for method = "scratch", which takes recipe = "finetune" too'
        )
    if method.needs_weights and model.default_weights == "none" and model.adapt is None:
        fitting = sorted(name for name, spec in MODELS.items() if spec.default_weights != "none")
        raise ConfigError(
            f"{begins}method {arm.method!r} is for networks that come with weights: {', '.join(fitting)}; "
            f"got {arm.model!r}"
        )
    if method.needs_cuts and not model.has_cuts:
        fitting = sorted(name for name, spec in MODELS.items() if spec.has_cuts)
        raise ConfigError(
            f"{begins}method {arm.method!r} keeps the output of frozen blocks, which it can of "
            f"{', '.join(fitting)}; for "
            f'{arm.model!r} set method = "linear_probe", "finetune" or "lp_ft"'
        )
    own_recipe = recipe_named(model.scratch_recipe)
    if isinstance(arm.recipe, CNNRecipe) != isinstance(own_recipe, CNNRecipe):
        raise ConfigError(
            f"{begins}recipe {arm.recipe_name!r} is not for model {arm.model!r}; set recipe = "
            f'"{model.scratch_recipe}"'
        )
