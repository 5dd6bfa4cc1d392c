"""Numbers and methods as people write them: the template's filters, and what a recipe means in plain
words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from headstart.plots import percent, short_duration
from headstart.results.pairing import machine_of
from headstart.types import Result

NONE = "n/a"
_THIN = "\u202f"  # a narrow no-break space: numbers stay with their units


def share(value: float | None, digits: int = 1) -> str:
    """A share 0..1 in percent, or "n/a"."""
    return NONE if value is None else percent(value, digits)


def points(value: float | None, digits: int = 1) -> str:
    """A difference of shares in percentage points, with its sign."""
    if value is None:
        return NONE
    return minus(f"{100 * value:+z.{digits}f}{_THIN}points")


def interval(bounds: tuple[float, float], digits: int = 1, *, signed: bool = False) -> str:
    """ "low to high" in percent; signed: of a difference, with a plus too. One digit more where both ends
    would read the same."""
    low, high = (f"{100 * bound:{'+' if signed else ''}z.{digits}f}" for bound in bounds)
    if low == high and bounds[0] < bounds[1]:
        low, high = (f"{100 * bound:{'+' if signed else ''}z.{digits + 1}f}" for bound in bounds)
    return minus(f"{low} to {high}")


def minus(text: str) -> str:
    """A number's text with a proper minus sign in place of a hyphen."""
    return text.replace("-", "−")


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def duration(value: float | None) -> str:
    return NONE if value is None else short_duration(value)


def count(value: float | None) -> str:
    """A large number in words' steps: "1.97 million", "4,500"."""
    if value is None:
        return NONE
    return _scaled(value, (1e9, "billion"), (1e6, "million")) or f"{value:,.0f}"


def flops(value: float | None) -> str:
    """Floating-point operations in a fitting unit: "1.9 PFLOP"."""
    if value is None:
        return NONE
    units = ((1e18, "EFLOP"), (1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"))
    return _scaled(value, *units) or f"{value / 1e6:.3g}{_THIN}MFLOP"


def energy(value: float | None) -> str:
    """Joules in a fitting unit: "12.3 kJ"."""
    if value is None:
        return NONE
    return _scaled(value, (1e9, "GJ"), (1e6, "MJ"), (1e3, "kJ")) or f"{value:.3g}{_THIN}J"


def _scaled(value: float, *units: tuple[float, str]) -> str:
    """Three digits in the first of the units (size, name) that the value reaches; "" where it reaches
    none."""
    return next((f"{value / size:.3g}{_THIN}{name}" for size, name in units if value >= size), "")


def memory(value: float | None) -> str:
    """Bytes as GB (10^9) or MB."""
    if not value:
        return NONE
    return f"{value / 1e9:.2f}{_THIN}GB" if value >= 1e9 else f"{value / 1e6:.0f}{_THIN}MB"


def anchor(text: str) -> str:
    """A text as an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def listing(items: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def budget(labels_per_class: int | None) -> str:
    if labels_per_class is None:
        return "all labels"
    return f"{labels_per_class:,} {'label' if labels_per_class == 1 else 'labels'} a class"


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


def method_in_words(
    arm: Mapping[str, Any], model: Mapping[str, Any], trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    """What was done in an arm, one paragraph an item; says only what the stored recipe says."""
    title = model.get("title", arm["model"])
    size = f" ({count(model['parameters'])} parameters)" if model.get("parameters") else ""
    told = _METHODS.get(arm["method"], _other)(arm, title + size, trial, selected)
    return [sentence for sentence in told if sentence]


def _scratch(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    recipe = arm["recipe"]
    widths = recipe.get("widths")
    blocks = (
        " Its three blocks of two 3×3 convolutions, max-pooling, batch normalisation and ReLU have "
        f"{listing([str(w) for w in widths])} channels; a global max-pool and a linear layer classify."
        if widths and len(widths) == 3 and arm["model"] == "cnn"
        else ""
    )
    at = "" if arm["model"] == "cnn" else _at(arm, trial)
    return [
        f"{model}, started from random weights; every layer learns, end to end{at}.{blocks}",
        *_transfer(recipe),
        *_training(recipe),
    ]


def _training(recipe: Mapping[str, Any]) -> list[str]:
    views = []
    if recipe.get("flip") in _FLIPS:
        views.append(_FLIPS[recipe["flip"]])
    if recipe.get("translate_pixels"):
        views.append(
            f"shifted by up to {recipe['translate_pixels']} pixels in each direction, borders reflected"
        )
    told = [f"Augmentation: images are {listing(views)}." if views else ""]
    if recipe.get("duration"):
        schedule = f"Schedule: {recipe['duration']}, batches of {recipe.get('batch_size', '?')} images"
        if recipe.get("optimizer"):
            schedule += f", {_OPTIMIZERS.get(recipe['optimizer'], recipe['optimizer'])}"
        schedule += (
            f"; the learning rate starts at {recipe['learning_rate']:g}"
            if recipe.get("learning_rate")
            else ""
        )
        if recipe.get("warmup_fraction"):
            schedule = schedule.replace(
                "the learning rate starts at",
                f"the learning rate rises over the first {100 * recipe['warmup_fraction']:g} % to",
            )
        end = recipe.get("final_lr_fraction") or 0
        schedule += f" and falls linearly to {f'{100 * end:g} % of that' if end else 'zero'}"
        told.append(schedule + ".")
    guards = []
    if recipe.get("label_smoothing"):
        guards.append(f"label smoothing {recipe['label_smoothing']:g}")
    if recipe.get("weight_decay"):
        guards.append(f"weight decay {recipe['weight_decay']:g}")
    if recipe.get("ema_decay"):
        guards.append(
            f"an average of the weights (decay {recipe['ema_decay']:g} a step) is what gets evaluated"
        )
    told.append(f"Regularisation: {listing(guards)}." if guards else "")
    return told


def _probe(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    return [
        f"{_frozen(arm, model)} The backbone is frozen, its batch-normalisation statistics too.",
        f"Features are computed once for each image{_at(arm, trial)}, without augmentation, and "
        "standardised; the new head on "
        "top is a multinomial logistic regression, fitted to its optimum.",
        _choice("L2 penalty", "l2", arm["recipe"], trial, selected),
    ]


def _knn(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    temperature = arm["recipe"].get("temperature")
    weighed = (
        f", nearer ones weighing more (exp(similarity / {temperature:g}))"
        if temperature
        else ", all weighing the same"
    )
    return [
        f"{_frozen(arm, model)} Nothing is trained.",
        f"Features are computed once for each image{_at(arm, trial)}, without augmentation. The training "
        "images whose features "
        f"have the highest cosine similarity vote for their classes{weighed}.",
        _choice("number of neighbours", "k", arm["recipe"], trial, selected),
    ]


def _finetune(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    return [
        f"{model}, started from the weights “{arm['weights']}” with a new head that begins at zero; every "
        "layer goes on "
        f"learning{_at(arm, trial)}.",
        *_transfer(arm["recipe"]),
        *_training(arm["recipe"]),
    ]


def _partial(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    start = arm["recipe"].get("trainable_from", "the last stage")
    return [
        f"{model}, started from the weights “{arm['weights']}” with a new head that begins at zero. From "
        f"“{start}” on it "
        "goes on learning; what lies before is frozen, its batch-normalisation statistics too.",
        f"The frozen part's output is computed once for each image and its mirror image{_at(arm, trial)}, "
        "and kept.",
        *_transfer(arm["recipe"]),
        *_training(arm["recipe"]),
    ]


def _lp_ft(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    return [
        f"{model}, started from the weights “{arm['weights']}”. First a multinomial logistic regression is "
        "fitted on "
        f"features of the frozen backbone{_at(arm, trial)}; it becomes the head, and then every layer goes "
        "on learning.",
        _choice("L2 penalty", "l2", arm["recipe"], trial, selected),
        *_transfer(arm["recipe"]),
        *_training(arm["recipe"]),
    ]


def _frozen(arm: Mapping[str, Any], model: str) -> str:
    weights = (
        "random weights, as a control" if arm["weights"] == "none" else f"the weights “{arm['weights']}”"
    )
    return f"{model} with {weights}."


def _at(arm: Mapping[str, Any], trial: Mapping[str, Any]) -> str:
    pixels = (trial.get("preprocessing") or {}).get("size_pixels") or arm.get("input_pixels")
    return f" at {pixels}×{pixels} pixels" if pixels else ""


def _choice(
    title: str, name: str, recipe: Mapping[str, Any], trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> str:
    """How a hyperparameter with candidates `<name>_values` was chosen."""
    value = selected.get(name)
    if value is None:
        return f"The {title} is the recipe's default, {recipe.get(f'default_{name}', 0):g}."
    if selected.get(f"validation_accuracy_by_{name}") == {}:
        return (
            f"Too few labels to select anything: the {title} is the recipe's default, {value:g}, written "
            "beforehand."
        )
    held_out = (
        "the validation images" if trial.get("labels_per_class") is None else "folds inside the label budget"
    )
    candidates = len(recipe.get(f"{name}_values") or [])
    return f"The {title} was chosen on {held_out} among {candidates} values: {value:g}."


def _transfer(recipe: Mapping[str, Any]) -> list[str]:
    """What a recipe for a pretrained network says beyond any training's."""
    told = []
    if (decay := recipe.get("stage_lr_decay", 1)) != 1:
        told.append(f"Each stage learns at {decay:g} times the rate of the one after it.")
    if (scale := recipe.get("head_lr_scale", 1)) != 1:
        told.append(f"The head learns at {scale:g} times the last stage's rate.")
    norms = {
        "train": "Batch normalisation of what learns uses each batch's statistics and goes on updating its "
        "own.",
        "frozen": "Batch normalisation keeps the statistics that came with the weights, in training too.",
    }
    return [*told, norms.get(recipe.get("batchnorm", ""), "")]


_METHODS = {
    "scratch": _scratch,
    "linear_probe": _probe,
    "knn": _knn,
    "finetune": _finetune,
    "partial": _partial,
    "lp_ft": _lp_ft,
}


def _other(
    arm: Mapping[str, Any], model: str, trial: Mapping[str, Any], selected: Mapping[str, Any]
) -> list[str]:
    start = "random weights" if arm["weights"] == "none" else f"the weights “{arm['weights']}”"
    chosen = listing([f"{k} = {v}" for k, v in sorted(selected.items()) if isinstance(v, (int, float, str))])
    return [
        f"{model}, started from {start}; method {arm['method']}.",
        *_training(arm["recipe"]),
        f"Chosen on validation: {chosen}." if chosen else "",
    ]


def settings(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A recipe's fields for a table, in its own order."""
    return [(name.replace("_", " "), setting(value)) for name, value in recipe.items()]


def setting(value: Any) -> str:
    """One setting as text: numbers short, lists with commas, None as "none"."""
    if isinstance(value, (list, tuple)):
        return ", ".join(setting(v) for v in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def machines(results: Sequence[Result]) -> list[str]:
    """The machines that trials ran on, each with its number of trials."""
    counted = Counter(machine_of(result) for result in results)
    return [
        f"{machine(each)} ({count:,} {'trial' if count == 1 else 'trials'})"
        for each, count in sorted(counted.items())
    ]


def machine(facts: tuple[str, str, str, str, str]) -> str:
    """One machine, as `machine_of` gives it, in words."""
    device, processor, threads, precision, jobs = facts
    return (
        f"{device}: {processor}, {threads} {'thread' if threads == '1' else 'threads'}, {precision}"
        f"{'' if jobs == '1' else f', {jobs} trials side by side'}"
    )
