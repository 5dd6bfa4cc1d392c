"""A finished study with a model of every method, on a small folder of images."""

from __future__ import annotations

from pathlib import Path

from tests.support.transfer_trials import random_weights

from headstart.studies.run import run_study

MODELS = """name = "models"
dataset = "{photos}"
precision = "{precision}"
feature_precision = "{precision}"
"""
ARM = """[[arms]]
name = "{name}"
model = "{model}"
method = "{method}"
weights = "{weights}"
{more}
"""


def run_models(
    folder: Path,
    photos: Path,
    precision: str,
    names: tuple[str, ...] | None = None,
    *,
    published: bool = True,
) -> Path:
    """A study with a model of every method on the small folder, two training steps each: the probe on the
    published ResNet-50, the others on a ResNet-18 of random weights in a file.

    names: of the arms, None: all. published: False, where the probe too has the ResNet-18."""
    weights = random_weights(folder)
    small = {"model": "resnet18", "weights": weights}
    probe = {"model": "resnet50", "weights": "imagenet-keras", "more": "input_pixels = 64"}
    short = 'recipe_changes = { duration = "2 steps", batch_size = 16 }'
    arms = [
        {
            "name": "cnn",
            "model": "cnn",
            "method": "scratch",
            "weights": "none",
            "more": 'recipe_changes = { duration = "6 steps", batch_size = 16, widths = [8, 16, 16] }',
        },
        {
            "name": "probe",
            "method": "linear_probe",
            **(probe if published else small | {"more": "input_pixels = 48"}),
        },
        {"name": "knn", "method": "knn", "more": "input_pixels = 48", **small},
    ]
    arms += [
        {"name": method, "method": method, "more": f"input_pixels = 48\n{short}", **small}
        for method in ("partial", "finetune", "lp_ft")
    ]
    text = MODELS.format(photos=photos, precision=precision) + "".join(
        ARM.format(**arm) for arm in arms if names is None or arm["name"] in names
    )
    (folder / "models.toml").write_text(text)
    return run_study(str(folder / "models.toml"), folder / "runs")
