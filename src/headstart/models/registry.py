"""MODELS: the networks that can be built, each with its weights and size. Imports torch when one is built."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart import plugins
from headstart.models.resnet_models import resnet
from headstart.models.spec import RANDOM_START, ModelSize, ModelSpec
from headstart.models.timm_models import PREFIX as TIMM
from headstart.models.timm_models import efficientnet_lite0, timm_model
from headstart.models.weight_names import SMALL_STEM, is_url

if TYPE_CHECKING:
    from headstart.models.network import Network


def _cnn(num_classes: int, image_pixels: int, **options: Any) -> Network:
    from headstart.models.cnn import CNN

    return CNN(num_classes, image_pixels, **options)


MODELS: dict[str, ModelSpec] = {
    "cnn": ModelSpec(
        title="Custom CNN",
        build=_cnn,
        sources={"none": RANDOM_START},
        num_classes=10,
        input_pixels=32,
        head="head",
        scratch_recipe="cnn-fast",
        size=ModelSize(parameters=1_972_792, flops=236_294_720),
    ),
    "resnet18": resnet(18, ModelSize(parameters=11_689_512, flops=3_628_146_688)),
    "resnet34": resnet(34, ModelSize(parameters=21_797_672, flops=7_327_522_816)),
    "resnet50": resnet(50, ModelSize(parameters=25_583_592, flops=7_715_946_496)),
    "resnet101": resnet(101, ModelSize(parameters=44_549_160, flops=15_602_810_880)),
    f"resnet50{SMALL_STEM}": resnet(
        50, ModelSize(parameters=25_583_592, flops=2_464_448_512), small_stem=True
    ),
    f"resnet18{SMALL_STEM}": resnet(18, ModelSize(parameters=11_681_832, flops=1111859200), small_stem=True),
    "efficientnet-lite0": efficientnet_lite0(),
}


def model_spec(name: str) -> ModelSpec:
    """The entry of a model: of MODELS or of an installed package, or "timm:ARCHITECTURE", any of timm's.

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
        origin = f"fetched from {weights}" if is_url(weights) else f"the file {Path(weights).name}"
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
    if spec.package and find_spec(spec.package) is None:
        size = f"needs the extra {spec.package}"
    else:
        size = (
            f"{spec.parameters / 1e6:.2f} million parameters, {spec.flops / 1e9:.2f} GFLOP an image at "
            f"{spec.input_pixels} px"
        )
    sets = [
        f"weights {weights}: {source.licence}, {source.origin}"
        for weights, source in spec.sources.items()
        if weights != "none"
    ]
    return "\n".join([f"{spec.title}: {size}", *sets, *(["no pretrained weights"] if not sets else [])])
