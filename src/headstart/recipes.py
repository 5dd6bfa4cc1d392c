"""Recipes: every hyperparameter of a method as one frozen value, and the named ones that studies use.

Each named recipe was chosen on the validation split alone; its comment says how, and what was tried.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from headstart.errors import ConfigError, unknown_name
from headstart.types import Recipe


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe(Recipe):
    """How gradient training goes. Learning rates fall linearly to `final_lr_fraction` after a linear warm-up.

    duration: "7.3 epochs", "300 steps" or "120 seconds"; training.resolve_steps converts it.
    optimizer: "muon" (convolution filters by Muon, all else by SGD), "sgd" or "adamw".
    flip: "alternating" (each image's first side is random, then sides alternate by epoch), "random" or "none".
    translate_pixels: largest random shift in each direction, borders reflected.
    ema_decay: decay a step of the averaged weights that are evaluated; None evaluates the weights themselves.
    """

    duration: str
    batch_size: int
    optimizer: str = "sgd"
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    warmup_fraction: float = 0.0  # of all steps
    final_lr_fraction: float = 0.0  # of the peak learning rate
    flip: str = "random"
    translate_pixels: int = 0
    ema_decay: float | None = None


@dataclass(frozen=True, kw_only=True)
class CNNRecipe(TrainingRecipe):
    """A TrainingRecipe for the custom CNN.

    widths: channels of its three blocks. bias_learning_rate, head_learning_rate, bias_momentum: of the parameters
    that are not convolution filters, trained by SGD; the rates are those of a loss summed over the batch (the head's
    output is divided by its width, hence their size). weight_decay here is per step and for those alone: Muon keeps
    each filter bank's norm fixed instead. whiten_bias_fraction: the share of all steps in which the first layer's bias learns.
    """

    optimizer: str = "muon"
    widths: tuple[int, int, int] = (64, 256, 256)
    bias_learning_rate: float = 0.053
    head_learning_rate: float = 0.67
    bias_momentum: float = 0.85
    whiten_bias_fraction: float = 0.375


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe(Recipe):
    """A multinomial logistic regression on frozen, standardised features.

    l2_values: candidates, on the weights of standardised features, mean loss; validation chooses by accuracy, then by loss.
    default_l2: used where nothing may be selected (fewer than 5 labels a class).
    tolerance: largest relative distance of the loss to the optimum.
    """

    l2_values: tuple[float, ...]
    default_l2: float = 0.03
    tolerance: float = 1e-4
    max_passes: int = 200


RECIPES: dict[str, Recipe] = {
    # Learning rate: of two tries at 2 epochs 0.12 gave 88.6 % validation accuracy, 0.24 87.9 %. Activation and widths:
    # docs/negative-results.md. The rest as in cifar10-airbench, not tuned here.
    "cnn-fast": CNNRecipe(
        duration="2.5 epochs", batch_size=500, learning_rate=0.12, momentum=0.6, weight_decay=0.001,
        label_smoothing=0.2, flip="alternating", translate_pixels=2,
    ),
    # Not yet accepted on validation at its full length.
    "cnn-full": CNNRecipe(
        duration="10 epochs", batch_size=500, learning_rate=0.12, momentum=0.6, weight_decay=0.001,
        label_smoothing=0.2, flip="alternating", translate_pixels=2,
    ),
    # Densest where validation accuracy of ResNet-50 features at 96 px peaks (87.5 % at 0.02, 86.2 % at 0.1, 86.6 % at 0.001).
    "probe": ProbeRecipe(l2_values=(1.0, 0.3, 0.1, 0.05, 0.03, 0.02, 0.015, 0.01, 0.005, 0.002)),
}  # fmt: skip


def recipe_named(name: str) -> Recipe:
    """The built-in recipe of that name. Raises: ConfigError naming the choices."""
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]


def with_changes(recipe: Recipe, changes: dict[str, Any], where: str) -> Recipe:
    """The recipe with some fields replaced; each value must have its field's type.

    Raises: ConfigError naming `where`, the field, the value and the type expected."""
    fields = {field.name: field for field in dataclasses.fields(recipe)}
    clean: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in fields:
            raise ConfigError(f"{where}: {unknown_name('recipe field', name, fields)}")
        clean[name] = _fit(value, getattr(recipe, name), str(fields[name].type), f"{where}: recipe field {name!r}")
    changed = dataclasses.replace(recipe, **clean)
    check_recipe(changed, where)
    return changed


def _fit(value: Any, current: Any, kind: str, where: str) -> Any:
    """`value` as the field's type, else a ConfigError; an int is a fine float, a list a fine tuple."""
    if value is None and "None" in kind:
        return None
    if kind.startswith("tuple"):
        if isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value):
            cast = int if "int" in kind else float
            if "..." in kind or len(value) == len(current):
                return tuple(cast(v) for v in value)
        raise ConfigError(f"{where} expects a list like {list(current)}, got {value!r}")
    if kind.startswith("int") and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind.startswith("float") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind.startswith("str") and isinstance(value, str):
        return value
    name = {"int": "a whole number", "float": "a number", "str": "a text"}.get(kind.split(" ")[0], kind)
    raise ConfigError(f"{where} expects {name}, got {value!r}")


_CHOICES = {"optimizer": ("muon", "sgd", "adamw"), "flip": ("alternating", "random", "none")}


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raises: ConfigError for a value outside its range, naming field, value and range."""
    for name, choices in _CHOICES.items():
        if hasattr(recipe, name) and getattr(recipe, name) not in choices:
            raise ConfigError(f"{where}: {unknown_name(name, getattr(recipe, name), choices)}")
    for name in ("learning_rate", "bias_learning_rate", "head_learning_rate", "tolerance", "default_l2"):
        if hasattr(recipe, name) and not 0 < getattr(recipe, name) < float("inf"):
            raise ConfigError(f"{where}: recipe field {name!r} must be above 0, got {getattr(recipe, name)!r}")
    for name in ("batch_size", "max_passes"):
        if hasattr(recipe, name) and getattr(recipe, name) < 1:
            raise ConfigError(f"{where}: recipe field {name!r} must be at least 1, got {getattr(recipe, name)!r}")
    for name in ("momentum", "bias_momentum", "label_smoothing", "warmup_fraction", "final_lr_fraction", "ema_decay"):
        if getattr(recipe, name, None) is not None and not 0 <= getattr(recipe, name) <= 1:
            raise ConfigError(f"{where}: recipe field {name!r} must lie between 0 and 1, got {getattr(recipe, name)!r}")
    for name in ("weight_decay", "translate_pixels", "whiten_bias_fraction"):
        if hasattr(recipe, name) and getattr(recipe, name) < 0:
            raise ConfigError(f"{where}: recipe field {name!r} must not be negative, got {getattr(recipe, name)!r}")
    for name in ("l2_values", "widths"):
        if hasattr(recipe, name) and (not getattr(recipe, name) or min(getattr(recipe, name)) <= 0):
            raise ConfigError(f"{where}: recipe field {name!r} needs values above 0, got {list(getattr(recipe, name))!r}")
