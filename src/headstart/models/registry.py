"""MODELS: the networks that can be built, and what is known about each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from headstart import plugins
from headstart.errors import ConfigError
from headstart.models import weights as files
from headstart.models.cnn import CNN
from headstart.models.resnet_models import resnet
from headstart.models.spec import RANDOM_START, ModelSpec
from headstart.models.timm_models import efficientnet_lite0, timm_model
from headstart.models.timm_network import PREFIX as TIMM

MODELS: dict[str, ModelSpec] = {
    "cnn": ModelSpec(
        title="Custom CNN",
        build=CNN,
        sources={"none": RANDOM_START},
        num_classes=10,
        input_pixels=32,
        head="head",
        scratch_recipe="cnn-fast",
    ),
    "resnet18": resnet(18),
    "resnet34": resnet(34),
    "resnet50": resnet(50),
    "resnet101": resnet(101),
    f"resnet50{files.SMALL_STEM}": resnet(50, small_stem=True),
    "efficientnet-lite0": efficientnet_lite0(),
}


def model_spec(name: str) -> ModelSpec:
    """What is known about a model: an entry of MODELS or of an installed package, or "timm:ARCHITECTURE", any
    of timm's.

    Raises: ConfigError for an unknown name, or where timm is needed and not installed."""
    if name.startswith(TIMM):
        return timm_model(name)
    return plugins.look_up("model", name, MODELS, ModelSpec, others=[f"{TIMM}ARCHITECTURE"])


def describe_models(used: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """What reports say of models and their weights, plain values by model; "weights" holds each set of
    weights used.

    used: (model, weights) pairs; weights as `load_model` takes them. Of a file only its name is reported."""
    descriptions: dict[str, dict[str, Any]] = {}
    for name, weights in sorted(set(used)):
        spec = model_spec(name)
        weights = spec.default_weights if weights == "default" else weights
        source = spec.sources.get(weights)
        origin = f"fetched from {weights}" if files.is_url(weights) else f"the file {Path(weights).name}"
        about = {"licence": "", "origin": origin, "pretraining": ""}
        if source is not None:
            about = {"licence": source.licence, "origin": source.origin, "pretraining": source.pretraining}
        entry = descriptions.setdefault(
            name,
            {
                "title": spec.title,
                "parameters": spec.parameters,
                "flops_per_image": spec.flops,
                "input_pixels": spec.input_pixels,
                "weights": {},
            },
        )
        entry["weights"][weights] = about
    return descriptions


def model_in_words(name: str) -> str:
    """A model in a few lines: its size, then each set of weights with its licence and origin."""
    spec = model_spec(name)
    try:
        size = (
            f"{spec.parameters / 1e6:.2f} million parameters, {spec.flops / 1e9:.2f} GFLOP an image at "
            f"{spec.input_pixels} px"
        )
    except ConfigError:  # its architecture is in a package that is not installed
        size = "needs the extra timm"
    sets = [
        f"weights {weights}: {source.licence}, {source.origin}"
        for weights, source in spec.sources.items()
        if weights != "none"
    ]
    return "\n".join([f"{spec.title}: {size}", *sets, *(["no pretrained weights"] if not sets else [])])
