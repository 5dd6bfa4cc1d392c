"""The model card beside an exported model: what it is, how to use it, how good it is, and its limits.

Source: Mitchell et al. 2019, "Model cards for model reporting".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.methods import method_spec
from headstart.models import model_spec
from headstart.models.saved import SavedModel
from headstart.plots import visible
from headstart.predict.card_code import card_code
from headstart.runtime.show import without_markup
from headstart.version import __version__


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file that agrees with its model, compared on `images` images from `source`.

    difference: the largest between two probabilities, to PyTorch in float32. stored_difference: the same, to
    the model as it was evaluated, in `precision`. same_predictions: images with the same likeliest class as
    there."""

    path: Path
    card: Path
    images: int
    source: str
    difference: float
    precision: str
    stored_difference: float
    same_predictions: int


_FITS = {
    "crop": "the middle square cut out",
    "pad": "the whole of it on a grey square",
    "squash": "its sides made equal",
}
_METRICS = {
    "test_accuracy": "Accuracy on test images",
    "test_balanced_accuracy": "Balanced accuracy",
    "test_macro_f1": "Macro F1",
    "test_nll": "Negative log-likelihood, nats",
    "test_ece": "Expected calibration error",
}


def model_card(saved: SavedModel, format: str, exported: Exported) -> str:
    """The card as Markdown."""
    lines = [
        *_title(saved, exported),
        *_model(saved),
        *_input_and_output(saved, format, exported.path.name),
        *_quality(saved),
        *_comparison(exported),
        *_LIMITS,
    ]
    return "\n".join(lines)


def _training_images(saved: SavedModel) -> str:
    return _escaped(saved.dataset.title or saved.dataset.name or "unknown images")


def _escaped(text: str) -> str:
    """A name as text of the card, whatever it holds."""
    return without_markup(visible(text))


def _title(saved: SavedModel, exported: Exported) -> list[str]:
    names = ", ".join(map(_escaped, saved.class_names))
    return [
        f"# {_escaped(saved.label or model_spec(saved.model).title)} on {_training_images(saved)}",
        "",
        f"{_escaped(exported.path.name)}, written by headstart {__version__}. It tells "
        f"{len(saved.class_names)} classes apart: {names}.",
        "",
    ]


def _model(saved: SavedModel) -> list[str]:
    start = "random weights" if saved.weights == "none" else f"weights {_escaped(saved.weights)}"
    number = "" if saved.train_images is None else f"{saved.train_images:,} images of "
    return [
        "## Model",
        "",
        f"- Network: {model_spec(saved.model).title}. Method: {method_spec(saved.method).title}.",
        f"- Start: {start}. Trained on {number}{_training_images(saved)}.",
        f"- Licence: {_escaped(licence(saved))}.",
        "",
    ]


def _input_and_output(saved: SavedModel, format: str, file: str) -> list[str]:
    size, input_pixels = saved.image_pixels, saved.input_pixels
    resized = (
        f"resized to {input_pixels} x {input_pixels} ({saved.preprocessing.interpolation}) and "
        if input_pixels != size
        else ""
    )
    return [
        "## Input and output",
        "",
        f"- `images`: uint8 (N, {size}, {size}, 3), RGB, any N. Inside the file they are {resized}normalised "
        "as in training.",
        f"- `probabilities`: float32 (N, {len(saved.class_names)}), in the order of the labels above, which "
        "the file holds too.",
        f"- An image is brought to {size} x {size} before by the lines below, which read it as headstart "
        "does: turned "
        f"upright, colours in sRGB, transparency laid on white, {_FITS[saved.reading.fit]}, resized with "
        "Pillow's "
        "bicubic filter. Another resizing gives other answers. Colours of 16 bits a channel that use "
        "fewer are "
        "the exception: there only `headstart predict` keeps the lower bits.",
        *_ranges(saved),
        "",
        "```python",
        card_code(saved, format, file),
        "```",
        "",
    ]


def _ranges(saved: SavedModel) -> list[str]:
    """The values that are black and white in files of more than 8 bits."""
    ranges = {"whole numbers": saved.reading.integer_range, "fractions": saved.reading.float_range}
    return [
        f"- Files of more than 8 bits, {kind}: {value_range[0]:g} is black, {value_range[1]:g} is white."
        for kind, value_range in ranges.items()
        if value_range is not None
    ]


def _quality(saved: SavedModel) -> list[str]:
    rows = [
        f"| {title} | {value:.4f} |"
        for name, title in _METRICS.items()
        if (value := saved.metrics.get(name)) is not None
    ]
    table = ["| measured on test images that it never saw | |", "|---|---|", *rows]
    return ["## How good it is", "", *(table if rows else ["No test result is stored with it."]), ""]


def _comparison(exported: Exported) -> list[str]:
    unlike = " On images unlike these up to 0.01 was seen." if exported.precision == "bf16" else ""
    return [
        "## Checked",
        "",
        f"- Against PyTorch in float32 on {exported.images} {_escaped(exported.source)}: probabilities "
        f"differ by at most {exported.difference:.2g}.",
        f"- Against the model as it was evaluated ({exported.precision}): by at most "
        f"{exported.stored_difference:.2g}; the same likeliest class on {exported.same_predictions} of "
        f"{exported.images}.{unlike}",
        "",
    ]


_LIMITS = (
    "## Limits",
    "",
    "- It always names one of its classes, also for an image that shows none of them.",
    "- Its accuracy and its probabilities were measured on images like those that it learned from; on "
    "others both can be far off.",
    "- Nothing was measured about people or about fairness between groups.",
    "",
)


def licence(saved: SavedModel) -> str:
    """The terms of the model's parts: the pretrained weights it started from, and its training images."""
    sources = model_spec(saved.model).sources
    if saved.weights == "none":
        weights = "weights trained from a random start, no licence of others"
    elif saved.weights in sources:
        source = sources[saved.weights]
        weights = f"started from weights {saved.weights} under {source.licence} ({source.origin})"
    else:
        weights = f"started from the weights file {Path(saved.weights).name}, whose licence holds"
    return f"{weights}; trained on: {saved.dataset.source or 'images of unknown source'}"
