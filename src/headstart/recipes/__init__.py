"""Recipes: every hyperparameter of a method as one frozen value, and the named ones that studies use.

Each named recipe was chosen on the validation split alone; its comment says how, and what was tried.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import ConfigError, unknown_name
from headstart.types import Recipe


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe(Recipe):
    """How gradient training goes. Learning rates fall linearly to `final_lr_fraction` after a linear warm-up.

    duration: "7.3 epochs", "300 steps", "120 seconds", "0.36 PFLOP" or "3 epochs, at least 300 steps"; see
        training.resolve_steps.
    optimizer: "muon" (convolution filters by Muon, all else by SGD), "sgd" or "adamw".
    flip: "alternating" (each image's first side is random, then sides alternate by epoch), "random" or
    "none".
    translate_pixels: largest random shift in each direction, borders reflected.
    ema_decay: decay a step of the averaged weights that are evaluated; None evaluates the weights themselves.
    balance: weigh each class alike in the loss, however many images it has.
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
    balance: bool = False


@dataclass(frozen=True, kw_only=True)
class CNNRecipe(TrainingRecipe):
    """A TrainingRecipe for the custom CNN.

    widths: channels of its three blocks. bias_learning_rate, head_learning_rate, bias_momentum: of the
    parameters that are not convolution filters, trained by SGD; the rates are those of a loss summed over the
    batch (the head's output is divided by its width, hence their size). weight_decay here is per step and for
    those alone: Muon keeps each filter bank's norm fixed instead. whiten_bias_fraction: the share of all
    steps in which the first layer's bias learns.
    activation: "relu" or "gelu". norm_momentum: how far BatchNorm's running statistics move a step.
    """

    optimizer: str = "muon"
    widths: tuple[int, int, int] = (64, 256, 256)
    bias_learning_rate: float = 0.053
    head_learning_rate: float = 0.67
    bias_momentum: float = 0.85
    whiten_bias_fraction: float = 0.375
    activation: str = "relu"
    norm_momentum: float = 0.4


@dataclass(frozen=True, kw_only=True)
class ResNetRecipe(TrainingRecipe):
    """A TrainingRecipe for a ResNet from random weights: all layers learn at one rate."""


@dataclass(frozen=True, kw_only=True)
class LogisticRecipe(Recipe):
    """A multinomial logistic regression on frozen, standardised features.

    l2_values: candidates, on the weights of standardised features, mean loss; validation chooses by accuracy,
    then by loss.
    default_l2: used where nothing may be selected (fewer than 5 labels a class).
    tolerance: largest relative distance of the loss to the optimum.
    balance: weigh each class alike in the loss, however many images it has.
    """

    l2_values: tuple[float, ...]
    default_l2: float = 0.03
    tolerance: float = 1e-4
    max_passes: int = 200
    balance: bool = False


@dataclass(frozen=True, kw_only=True)
class ProbeRecipe(LogisticRecipe):
    """The regression as a method of its own: a linear probe."""


@dataclass(frozen=True, kw_only=True)
class KNNRecipe(Recipe):
    """Votes of the k nearest training images by cosine similarity of frozen features.

    k_values: candidates; validation chooses by accuracy, then by loss. default_k: used where nothing may be
    selected. A k above the number of training images means all of them.
    temperature: a neighbour's vote weighs exp(similarity / temperature); None: all votes weigh the same.
    smoothing: votes spread evenly over the classes before shares are taken; keeps the logarithm finite.
    """

    k_values: tuple[int, ...]
    default_k: int = 5
    temperature: float | None = 0.07
    smoothing: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TransferRecipe(TrainingRecipe):
    """A TrainingRecipe for a network that has learned before.

    stage_lr_decay: a stage's learning rate is this times that of the stage after it; the last stage has the
    recipe's own.
    head_lr_scale: the new head's learning rate over the last stage's.
    batchnorm: of the layers that learn. "train": normalise with the batch's statistics and update the stored
    ones; "frozen": normalise with the stored ones and leave them, in training too. Scales and shifts learn in
    both.
    """

    stage_lr_decay: float = 1.0
    head_lr_scale: float = 1.0
    batchnorm: str = "train"


@dataclass(frozen=True, kw_only=True)
class FineTuneRecipe(TransferRecipe):
    """All layers go on learning under a new head that begins at zero."""


@dataclass(frozen=True, kw_only=True)
class PartialRecipe(TransferRecipe):
    """`trainable_from` ("layer4", "layer4.1", ...) and all after it go on learning, the rest is frozen and
    computed once.

    Each image has two stored views, plain and mirrored: translate_pixels must be 0.
    """

    trainable_from: str = "layer4"


@dataclass(frozen=True, kw_only=True)
class LPFTRecipe(TransferRecipe, LogisticRecipe):
    """A logistic regression on frozen features gives the head from which all layers are then fine-tuned.

    Source: Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
    out-of-distribution".
    """


# Densest where validation accuracy of ResNet-50 features at 96 px peaks (87.5 % at 0.02, 86.2 % at 0.1, 86.6
# % at 0.001).
_L2_VALUES = (1.0, 0.3, 0.1, 0.05, 0.03, 0.02, 0.015, 0.01, 0.005, 0.002)
_LEAST = ", at least 300 steps"  # small label budgets have one or two steps an epoch

RECIPES: dict[str, Recipe] = {
    # Learning rate: of two tries at 2 epochs 0.12 gave 88.6 % validation accuracy, 0.24 87.9 %. Activation
    # and widths: docs/negative-results.md. The rest as in cifar10-airbench, not tuned here. A fifth of
    # cnn-full's work.
    "cnn-fast": CNNRecipe(
        duration="3.5 epochs",
        batch_size=500,
        learning_rate=0.12,
        momentum=0.6,
        weight_decay=0.001,
        label_smoothing=0.2,
        flip="alternating",
        translate_pixels=2,
    ),
    # Accepted on validation (45,000 images, one view, seeds 1 and 2): 14 epochs 92.8 and 93.2 %, 18 epochs
    # 93.2 and 93.3 %; 10 epochs had 93.0 %, and no other setting did better (docs/negative-results.md). 18
    # epochs of 50,000 images: 0.65 PFLOP.
    "cnn-full": CNNRecipe(
        duration="18 epochs",
        batch_size=500,
        learning_rate=0.12,
        momentum=0.6,
        weight_decay=0.001,
        label_smoothing=0.2,
        flip="alternating",
        translate_pixels=2,
    ),
    "probe": ProbeRecipe(l2_values=_L2_VALUES),
    # From here on: usual values; what a search found for the study `cifar10` is in tuned.toml.
    # Temperature: Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination".
    "knn": KNNRecipe(k_values=(1, 3, 5, 10, 20, 50, 100)),
    "finetune": FineTuneRecipe(
        duration="3 epochs" + _LEAST,
        batch_size=64,
        learning_rate=0.01,
        weight_decay=1e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        translate_pixels=2,
        stage_lr_decay=0.7,
    ),
    "partial": PartialRecipe(
        duration="5 epochs" + _LEAST,
        batch_size=64,
        learning_rate=0.01,
        weight_decay=1e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
    ),
    "lp_ft": LPFTRecipe(
        l2_values=_L2_VALUES,
        duration="3 epochs" + _LEAST,
        batch_size=64,
        learning_rate=0.003,
        weight_decay=1e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        translate_pixels=2,
        stage_lr_decay=0.7,
    ),
    "resnet-scratch": ResNetRecipe(
        duration="20 epochs" + _LEAST,
        batch_size=128,
        learning_rate=0.1,
        weight_decay=5e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        translate_pixels=4,
    ),
}


# How the recipes above came about, for what a report says of tuning. The others choose for themselves what
# they need.
DEVELOPED_BY_HAND = frozenset({"cnn-fast", "cnn-full"})  # on validation images, as their comments say
USUAL_VALUES = frozenset({"knn", "finetune", "partial", "lp_ft", "resnet-scratch"})


def recipe_named(name: str) -> Recipe:
    """The built-in recipe of that name, or the one in a recipe file ("tuned/probe.toml", as `headstart tune`
    writes it).

    Raises: ConfigError naming the choices, or what is wrong with the file."""
    if name.endswith(".toml"):
        recipes = load_recipes(name)
        if len(recipes) != 1:
            raise ConfigError(f"{name} holds {len(recipes)} recipes; a file that an arm names holds one")
        return next(iter(recipes.values()))[0]
    if name not in RECIPES:
        raise unknown_name("recipe", name, [*RECIPES, "a recipe FILE.toml"])
    return RECIPES[name]


def provenance_of(name: str) -> Mapping[str, Any]:
    """How a recipe that was tuned came about; empty for one that was written by hand. Raises: as
    recipe_named."""
    if name.endswith(".toml"):
        return next(iter(load_recipes(name).values()))[1]
    return PROVENANCE.get(name, {})


def load_recipes(path: str | Path) -> dict[str, tuple[Recipe, dict[str, Any]]]:
    """Recipes of a TOML file, each with its provenance. A table a recipe: its `type`, its fields, a table
    `provenance`. A field that is left out (it may be younger than the file) has its type's own default.

    Raises: ConfigError naming the file, the recipe and what is wrong."""
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read recipe file {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; mend that line") from error
    found = {}
    for name, table in tables.items():
        where = f"{path}: recipe {name!r}"
        kinds = {type(recipe).__name__: recipe for recipe in reversed(RECIPES.values())}
        values = dict(table) if isinstance(table, dict) else {}
        provenance, kind = values.pop("provenance", {}), values.pop("type", "")
        if kind not in kinds:
            raise ConfigError(f"{where}: {unknown_name('type', str(kind), kinds)}")
        clean = {
            field: None if value == "none" and field in _MAY_BE_NONE else value
            for field, value in values.items()
        }
        for field in dataclasses.fields(kinds[kind]):
            if field.name not in clean and field.default is dataclasses.MISSING:
                raise ConfigError(f"{where}: recipe field {field.name!r} is missing; add it")
            clean.setdefault(field.name, field.default)
        found[name] = (with_changes(kinds[kind], clean, where), provenance)
    return found


_MAY_BE_NONE = ("ema_decay", "temperature")  # TOML has no null: a stored recipe says "none"


def recipe_toml(name: str, recipe: Recipe, provenance: Mapping[str, Any]) -> str:
    """A recipe as `load_recipes` reads it."""

    def lines(values: Mapping[str, Any]) -> list[str]:
        return [f"{field} = {_toml(value)}" for field, value in values.items()]

    fields = {"type": type(recipe).__name__} | dataclasses.asdict(recipe)
    known = {field: value for field, value in provenance.items() if value is not None}
    text = [f"[{json.dumps(name)}]", *lines(fields), "", f"[{json.dumps(name)}.provenance]", *lines(known)]
    return "\n".join(text) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(part) for part in value)}]"
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(part)}" for name, part in value.items()) + " }"
    # repr gives the shortest text that reads back as the same number
    return '"none"' if value is None else json.dumps(value) if isinstance(value, str | bool) else repr(value)


def with_changes(recipe: Recipe, changes: dict[str, Any], where: str) -> Recipe:
    """The recipe with some fields replaced; each value must have its field's type.

    Raises: ConfigError naming `where`, the field, the value and the type expected."""
    fields = {field.name: field for field in dataclasses.fields(recipe)}
    clean: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in fields:
            raise ConfigError(f"{where}: {unknown_name('recipe field', name, fields)}")
        clean[name] = _fit(
            value, getattr(recipe, name), str(fields[name].type), f"{where}: recipe field {name!r}"
        )
    changed = dataclasses.replace(recipe, **clean)
    check_recipe(changed, where)
    return changed


def _fit(value: Any, current: Any, kind: str, where: str) -> Any:
    """`value` as the field's type, else a ConfigError; an int is a fine float, a list a fine tuple."""
    if value is None and "None" in kind:
        return None
    if kind.startswith("tuple"):
        if isinstance(value, (list, tuple)) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) for v in value
        ):
            cast = int if "int" in kind else float
            if "..." in kind or len(value) == len(current):
                return tuple(cast(v) for v in value)
        raise ConfigError(f"{where} expects a list like {list(current)}, got {value!r}")
    if kind.startswith("bool") and isinstance(value, bool):
        return value
    if kind.startswith("int") and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind.startswith("float") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if kind.startswith("str") and isinstance(value, str):
        return value
    name = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}.get(
        kind.split(" ")[0], kind
    )
    raise ConfigError(f"{where} expects {name}, got {value!r}")


_CHOICES = {
    "optimizer": ("muon", "sgd", "adamw"),
    "flip": ("alternating", "random", "none"),
    "batchnorm": ("train", "frozen"),
    "activation": ("relu", "gelu"),
}


def check_recipe(recipe: Recipe, where: str) -> None:
    """Raises: ConfigError for a value outside its range, naming field, value and range."""
    for name, choices in _CHOICES.items():
        if hasattr(recipe, name) and getattr(recipe, name) not in choices:
            raise ConfigError(f"{where}: {unknown_name(name, getattr(recipe, name), choices)}")
    if getattr(recipe, "optimizer", "") == "muon" and not isinstance(recipe, CNNRecipe):
        raise ConfigError(
            f"{where}: optimizer 'muon' is for the custom CNN's recipes; choose 'sgd' or 'adamw'"
        )
    if isinstance(recipe, PartialRecipe) and recipe.translate_pixels:
        raise ConfigError(
            f"{where}: recipe field 'translate_pixels' must be 0: the frozen part's output is stored for the "
            f"plain and the mirrored image alone; got {recipe.translate_pixels!r}"
        )
    for name in (
        "learning_rate",
        "bias_learning_rate",
        "head_learning_rate",
        "tolerance",
        "default_l2",
        "temperature",
        "smoothing",
        "stage_lr_decay",
        "head_lr_scale",
    ):
        if getattr(recipe, name, None) is not None and not 0 < getattr(recipe, name) < float("inf"):
            raise ConfigError(
                f"{where}: recipe field {name!r} must be above 0, got {getattr(recipe, name)!r}"
            )
    for name in ("batch_size", "max_passes", "default_k"):
        if hasattr(recipe, name) and getattr(recipe, name) < 1:
            raise ConfigError(
                f"{where}: recipe field {name!r} must be at least 1, got {getattr(recipe, name)!r}"
            )
    for name in (
        "momentum",
        "bias_momentum",
        "norm_momentum",
        "label_smoothing",
        "warmup_fraction",
        "final_lr_fraction",
        "ema_decay",
        "stage_lr_decay",
    ):
        if getattr(recipe, name, None) is not None and not 0 <= getattr(recipe, name) <= 1:
            raise ConfigError(
                f"{where}: recipe field {name!r} must lie between 0 and 1, got {getattr(recipe, name)!r}"
            )
    for name in ("weight_decay", "translate_pixels", "whiten_bias_fraction"):
        if hasattr(recipe, name) and getattr(recipe, name) < 0:
            raise ConfigError(
                f"{where}: recipe field {name!r} must not be negative, got {getattr(recipe, name)!r}"
            )
    for name in ("l2_values", "widths", "k_values"):
        if hasattr(recipe, name) and (not getattr(recipe, name) or min(getattr(recipe, name)) <= 0):
            raise ConfigError(
                f"{where}: recipe field {name!r} needs values above 0, got {list(getattr(recipe, name))!r}"
            )
    if isinstance(recipe, CNNRecipe) and any(width % 8 for width in recipe.widths):
        # oneDNN of torch 2.13 writes beyond its buffers for 4 channels where the processor has AVX2 and no
        # AVX-512
        raise ConfigError(f"{where}: recipe field 'widths' needs multiples of 8, got {list(recipe.widths)!r}")


# Chosen by `headstart tune` and frozen; added to RECIPES under their own names.
_TUNED = Path(__file__).with_name("tuned.toml")
_tuned = load_recipes(_TUNED) if _TUNED.exists() else {}
PROVENANCE: dict[str, Mapping[str, Any]] = {name: provenance for name, (_, provenance) in _tuned.items()}
RECIPES |= {name: recipe for name, (recipe, _) in _tuned.items()}
