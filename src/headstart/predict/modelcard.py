"""The page beside an exported model: what it is, how to ask it, how good it is, what it must not be trusted
with.

After Mitchell et al. 2019, "Model cards for model reporting"."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import headstart
from headstart.methods import method_spec
from headstart.models import model_spec
from headstart.predict.saved import SavedModel


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that agrees with its model. difference: the largest between two probabilities, over `images`
    images.

    stored_difference, same_answers: against the model as it was evaluated, in `precision`; same_answers
    counts images."""

    path: Path
    card: Path
    images: int
    source: str
    difference: float
    precision: str
    stored_difference: float
    same_answers: int


_ASK = {
    "onnx": """import json
import numpy as np, onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
square = ImageOps.fit(photo, ({size}, {size}), Image.Resampling.BICUBIC)
(probabilities,) = session.run(None, {{"images": np.asarray(square)[None]}})
print(labels[probabilities[0].argmax()], probabilities[0].max())""",
    "torchscript": """import json
import numpy as np, torch
from PIL import Image, ImageOps

files = {{"labels.txt": ""}}
model = torch.jit.load("{file}", _extra_files=files)
labels = json.loads(files["labels.txt"])
photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")
square = ImageOps.fit(photo, ({size}, {size}), Image.Resampling.BICUBIC)
with torch.no_grad():
    probabilities = model(torch.from_numpy(np.array(square)[None])).numpy()
print(labels[probabilities[0].argmax()], probabilities[0].max())""",
}
_SHOWN = {
    "test_accuracy": "Accuracy on test images",
    "test_balanced_accuracy": "Balanced accuracy",
    "test_macro_f1": "Macro F1",
    "test_nll": "Negative log-likelihood, nats",
    "test_ece": "Expected calibration error",
}


def write(saved: SavedModel, format: str, exported: Exported) -> str:
    """The card as Markdown."""
    built, size = saved.architecture, saved.image_pixels
    model = model_spec(built["model"])
    start = str(built.get("weights", "none"))
    dataset = saved.dataset.get("title") or saved.dataset.get("name") or "unknown images"
    inner = (
        f"resized to {saved.input_pixels} x {saved.input_pixels} ({saved.preprocessing.interpolation}) and "
        if (saved.input_pixels != size)
        else ""
    )
    measured = saved.result.get("metrics", {})
    rows = [
        f"| {title} | {measured[name]:.4f} |"
        for name, title in _SHOWN.items()
        if measured.get(name) is not None
    ]
    train_images = f"{saved.result['train_images']:,} images of " if "train_images" in saved.result else ""
    names = ", ".join(f"`{name}`" for name in saved.class_names)
    lines = [
        f"# {saved.label or model.title} on {dataset}",
        "",
        f"`{exported.path.name}`, written by headstart {headstart.__version__}. It tells "
        f"{len(saved.class_names)} classes apart: "
        f"{names}.",
        "",
        "## Model",
        "",
        f"- Network: {model.title}. Method: {method_spec(saved.method).title}.",
        f"- Start: {'random weights' if start == 'none' else f'weights `{start}`'}. Trained on "
        f"{train_images}{dataset}.",
        f"- Licence: {licence(saved)}.",
        "",
        "## Input and output",
        "",
        f"- `images`: uint8 (N, {size}, {size}, 3), RGB, any N. Inside the file they are {inner}normalised "
        "as in training.",
        f"- `probabilities`: float32 (N, {len(saved.class_names)}), in the order of the labels above, which "
        "the file holds too.",
        f"- A photo is brought to {size} x {size} before: turned upright, its shorter side resized with "
        "Pillow's bicubic filter, "
        "the middle cut out, transparency laid on white. This is how headstart prepares photos; another "
        "resizing gives other "
        "answers.",
        "",
        "```python",
        _ASK[format].format(file=exported.path.name, size=size),
        "```",
        "",
        "## How good it is",
        "",
    ]
    header = ["| measured on test images that it never saw | |", "|---|---|"]
    lines += [*header, *rows] if rows else ["No test result is stored with it."]
    lines += [
        "",
        "## Checked",
        "",
        f"- Against PyTorch in float32 on {exported.images} {exported.source}: probabilities differ by at "
        "most "
        f"{exported.difference:.2g}.",
        f"- Against the model as it was evaluated ({exported.precision}): by at most "
        f"{exported.stored_difference:.2g}; the same "
        f"likeliest class on {exported.same_answers} of {exported.images}.",
        "",
        "## Limits",
        "",
        "- It always names one of its classes, also for a picture that shows none of them.",
        "- Its accuracy and its probabilities were measured on images like those that it learned from; on "
        "others both can be "
        "far off.",
        "- Nothing was measured about people or about fairness between groups.",
        "",
    ]
    return "\n".join(lines)


def licence(saved: SavedModel) -> str:
    """Under which terms its parts are: the pretrained weights it began from, and its training images."""
    start = str(saved.architecture.get("weights", "none"))
    sources = model_spec(saved.architecture["model"]).sources
    if start == "none":
        weights = "weights trained from a random start, no licence of others"
    elif start in sources:
        weights = f"started from weights {start} under {sources[start].licence} ({sources[start].origin})"
    else:
        weights = f"started from the weights file {Path(start).name}, whose licence holds"
    return f"{weights}; trained on: {saved.dataset.get('source') or 'images of unknown source'}"
