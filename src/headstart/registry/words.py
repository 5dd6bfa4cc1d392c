"""What was done in an arm, in words: paragraphs that say only what the stored recipe says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headstart.store import FinishedTrial, StoredArm

_OPTIMIZERS = {
    "muon": "Muon for the convolution filters and SGD with Nesterov momentum for everything else",
    "sgd": "SGD with momentum",
    "adamw": "AdamW",
}
_FLIPS = {
    "alternating": "mirrored in every other epoch",
    "random": "mirrored at random",
    "none": "never mirrored",
}


@dataclass(frozen=True, kw_only=True)
class ArmFacts:
    """What is stored of an arm.

    model: its title and size in words. trial: one of its finished trials."""

    arm: StoredArm
    model: str
    trial: FinishedTrial

    @property
    def recipe(self) -> Mapping[str, Any]:
        return self.arm.recipe

    @property
    def selected(self) -> Mapping[str, Any]:
        """What validation chose."""
        return self.trial.selected

    @property
    def start(self) -> str:
        return f"the weights “{self.arm.weights}”" if self.arm.is_pretrained else "random weights"

    @property
    def at_pixels(self) -> str:
        """ " at 96×96 pixels", "" where the size is not known."""
        pixels = self.trial.preprocessing.get("size_pixels") or self.arm.input_pixels
        return f" at {pixels}×{pixels} pixels" if pixels else ""


def listing(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def any_method(facts: ArmFacts) -> list[str]:
    """The paragraphs of a method that has none of its own."""
    values = {name: v for name, v in sorted(facts.selected.items()) if isinstance(v, (int, float, str))}
    chosen = listing([f"{name} = {value}" for name, value in values.items()])
    return [
        f"{facts.model}, started from {facts.start}; method {facts.arm.method}.",
        *training(facts.recipe),
        f"Chosen on validation: {chosen}." if chosen else "",
    ]


def scratch(facts: ArmFacts) -> list[str]:
    recipe, is_cnn = facts.recipe, facts.arm.model == "cnn"
    widths = recipe.get("widths")
    blocks = (
        " Its three blocks of two 3×3 convolutions, max-pooling, batch normalisation and ReLU have "
        f"{listing([str(w) for w in widths])} channels; a global max-pool and a linear layer classify."
        if widths and len(widths) == 3 and is_cnn
        else ""
    )
    at = "" if is_cnn else facts.at_pixels
    return [
        f"{facts.model}, started from random weights; every layer learns, end to end{at}.{blocks}",
        *transfer(recipe),
        *training(recipe),
    ]


def linear_probe(facts: ArmFacts) -> list[str]:
    is_unit = facts.recipe.get("scaling") == "unit"
    scaled = "brought to length 1, then to one scale" if is_unit else "standardised"
    return [
        f"{_frozen(facts)} The backbone is frozen, its batch-normalisation statistics too.",
        f"Features are computed once for each image{facts.at_pixels}, without augmentation, and "
        f"{scaled}; the new head on top is a multinomial logistic regression, fitted to its optimum.",
        choice(facts, "L2 penalty", "l2"),
    ]


def knn(facts: ArmFacts) -> list[str]:
    temperature = facts.recipe.get("temperature")
    weighed = (
        f", nearer ones weighing more (exp(similarity / {temperature:g}))"
        if temperature
        else ", all weighing the same"
    )
    return [
        f"{_frozen(facts)} Nothing is trained.",
        f"Features are computed once for each image{facts.at_pixels}, without augmentation. The training "
        "images whose features have the highest cosine similarity vote for their classes"
        f"{weighed}.",
        choice(facts, "number of neighbours", "k"),
    ]


def finetune(facts: ArmFacts) -> list[str]:
    return [
        f"{facts.model}, started from the weights “{facts.arm.weights}” with a new head that begins at "
        f"zero; every layer goes on learning{facts.at_pixels}.",
        *transfer(facts.recipe),
        *training(facts.recipe),
    ]


def partial(facts: ArmFacts) -> list[str]:
    first = facts.recipe.get("trainable_from", "the last stage")
    return [
        f"{facts.model}, started from the weights “{facts.arm.weights}” with a new head that begins at "
        f"zero. From “{first}” on it goes on learning; what lies before is frozen, its batch-normalisation "
        "statistics too.",
        f"The frozen part's output is computed once for each image and its mirror image{facts.at_pixels}, "
        "and kept.",
        *transfer(facts.recipe),
        *training(facts.recipe),
    ]


def lp_ft(facts: ArmFacts) -> list[str]:
    return [
        f"{facts.model}, started from the weights “{facts.arm.weights}”. First a multinomial logistic "
        f"regression is fitted on features of the frozen backbone{facts.at_pixels}; it becomes the head, and "
        "then every layer goes on learning.",
        choice(facts, "L2 penalty", "l2"),
        *transfer(facts.recipe),
        *training(facts.recipe),
    ]


def _frozen(facts: ArmFacts) -> str:
    control = "" if facts.arm.is_pretrained else ", as a control"
    return f"{facts.model} with {facts.start}{control}."


def choice(facts: ArmFacts, title: str, name: str) -> str:
    """How a hyperparameter with candidates `<name>_values` was chosen."""
    value = facts.selected.get(name)
    if value is None:
        return f"The {title} is the recipe's default, {facts.recipe.get(f'default_{name}', 0):g}."
    if facts.selected.get(f"validation_accuracy_by_{name}") == {}:
        return (
            f"Too few labels to select anything: the {title} is the recipe's default, {value:g}, written "
            "beforehand."
        )
    held_out = facts.trial.label_budget.selection_images
    candidates = len(facts.recipe.get(f"{name}_values") or [])
    return f"The {title} was chosen on {held_out} among {candidates} values: {value:g}."


def transfer(recipe: Mapping[str, Any]) -> list[str]:
    """What a recipe for a pretrained network says beyond any training's."""
    paragraphs = []
    if (decay := recipe.get("stage_lr_decay", 1)) != 1:
        paragraphs.append(f"Each stage learns at {decay:g} times the rate of the one after it.")
    if (scale := recipe.get("head_lr_scale", 1)) != 1:
        paragraphs.append(f"The head learns at {scale:g} times the last stage's rate.")
    norms = {
        "train": "Batch normalisation of what learns uses each batch's statistics and goes on updating its "
        "own.",
        "frozen": "Batch normalisation keeps the statistics that came with the weights, in training too.",
    }
    return [*paragraphs, norms.get(recipe.get("batchnorm", ""), "")]


def training(recipe: Mapping[str, Any]) -> list[str]:
    """Augmentation, schedule and regularisation of a gradient training, as far as the recipe has them."""
    return [_augmentation(recipe), _schedule(recipe), _regularisation(recipe)]


def _augmentation(recipe: Mapping[str, Any]) -> str:
    views = []
    if recipe.get("flip") in _FLIPS:
        views.append(_FLIPS[recipe["flip"]])
    if recipe.get("translate_pixels"):
        views.append(
            f"shifted by up to {recipe['translate_pixels']} pixels in each direction, borders reflected"
        )
    return f"Augmentation: images are {listing(views)}." if views else ""


def _schedule(recipe: Mapping[str, Any]) -> str:
    if not recipe.get("duration"):
        return ""
    schedule = f"Schedule: {recipe['duration']}, batches of {recipe.get('batch_size', '?')} images"
    if recipe.get("optimizer"):
        schedule += f", {_OPTIMIZERS.get(recipe['optimizer'], recipe['optimizer'])}"
    warmup = recipe.get("warmup_fraction")
    rise = f"rises over the first {100 * warmup:g} % to" if warmup else "starts at"
    if recipe.get("learning_rate"):
        schedule += f"; the learning rate {rise} {recipe['learning_rate']:g}"
    end = recipe.get("final_lr_fraction") or 0
    return f"{schedule} and falls linearly to {f'{100 * end:g} % of that' if end else 'zero'}."


def _regularisation(recipe: Mapping[str, Any]) -> str:
    parts = []
    if recipe.get("label_smoothing"):
        parts.append(f"label smoothing {recipe['label_smoothing']:g}")
    if recipe.get("weight_decay"):
        parts.append(f"weight decay {recipe['weight_decay']:g}")
    if recipe.get("ema_decay"):
        parts.append(
            f"an average of the weights (decay {recipe['ema_decay']:g} a step) is what gets evaluated"
        )
    return f"Regularisation: {listing(parts)}." if parts else ""
