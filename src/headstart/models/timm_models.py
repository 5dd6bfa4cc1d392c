"""Models whose networks are timm's: any "timm:ARCHITECTURE", and EfficientNet-Lite0 with weights from a
Python package. Imports torch and timm when one is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from headstart.models.spec import IMAGENET, RANDOM_START, ModelSize, ModelSpec, WeightsSource
from headstart.models.weight_names import EFFICIENTNET_LITE0_PACKAGE
from headstart.types import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.models.network import Network

PREFIX = "timm:"
_EFFICIENTNET_LITE0_PREPROCESSING = Preprocessing(
    size_pixels=224, scale=1.0, mean=(127.0, 127.0, 127.0), std=(128.0, 128.0, 128.0)
)


def efficientnet_lite0() -> ModelSpec:
    """The entry of MODELS; nothing of timm is imported before it is built."""
    architecture = "tf_efficientnet_lite0"  # timm's name

    def build(num_classes: int, image_pixels: int) -> Network:
        from headstart.models.timm_network import TimmNetwork

        return TimmNetwork(architecture, num_classes, image_pixels)

    def adapt(state: Mapping[str, Tensor], image_pixels: int, source: str) -> dict[str, Tensor]:
        from headstart.models import efficientnet_lite
        from headstart.models.timm_network import adapt_state

        return adapt_state(architecture, efficientnet_lite.timm_state(state), image_pixels, source)

    def fetch(weights: str) -> dict[str, Tensor]:
        from headstart.models import efficientnet_lite

        return efficientnet_lite.load_state()

    packaged = WeightsSource(
        preprocessing=_EFFICIENTNET_LITE0_PREPROCESSING,
        licence="Apache-2.0",
        origin="Google's EfficientNet-Lite0 of 2020 (top-1 75.1 %), converted to PyTorch by ML Illustrated, "
        f"Python package {EFFICIENTNET_LITE0_PACKAGE} 0.1.0",
        pretraining=f"{IMAGENET}; the number of passes over them is not stated",
    )
    none = dataclasses.replace(RANDOM_START, preprocessing=_EFFICIENTNET_LITE0_PREPROCESSING)
    return ModelSpec(
        title="EfficientNet-Lite0",
        build=build,
        sources={"imagenet-tf": packaged, "none": none},
        num_classes=1000,
        input_pixels=224,
        head="head",
        fetch=fetch,
        adapt=adapt,
        size=ModelSize(parameters=4_652_008, flops=770_375_104),
        package="timm",
    )


@lru_cache(maxsize=64)
def timm_model(name: str) -> ModelSpec:
    """The entry of "timm:ARCHITECTURE", from timm's own registry.

    Raises: ConfigError for an unknown architecture, or without timm."""
    from headstart.models import timm_network

    architecture = name.removeprefix(PREFIX)
    configured = timm_network.configurations(architecture)
    default = next(iter(configured.values()), None)
    preprocessing = timm_network.preprocessing_of_config(architecture, default)
    sources = {tag: _source(architecture, tag, config) for tag, config in configured.items()}
    sources["none"] = dataclasses.replace(RANDOM_START, preprocessing=preprocessing)

    def build(num_classes: int, image_pixels: int) -> Network:
        return timm_network.TimmNetwork(architecture, num_classes, image_pixels)

    def adapt(state: Mapping[str, Tensor], image_pixels: int, source: str) -> dict[str, Tensor]:
        return timm_network.adapt_state(architecture, state, image_pixels, source)

    return ModelSpec(
        title=f"{architecture} (timm {timm_network.import_timm().__version__})",
        build=build,
        sources=sources,
        num_classes=default.num_classes if default is not None else 1000,
        input_pixels=preprocessing.size_pixels or 224,
        head="head",
        fetch=lambda weights: timm_network.fetch_state(architecture, configured[weights]),
        adapt=adapt,
    )


def _source(architecture: str, tag: str, config: Any) -> WeightsSource:
    from headstart.models.timm_network import preprocessing_of_config

    place = f"timm's {config.hf_hub_id} on Hugging Face" if config.hf_hub_id else str(config.url)
    # Tags end in what was learned from: "a1_in1k" from ImageNet-1k alone, "..._in22k_ft_in1k" from more
    # before.
    alone = (
        tag.split("_")[-1] == "in1k"
        and not any(f"in{size}k" in tag for size in (12, 21, 22))
        and "ft" not in tag.split("_")
    )
    return WeightsSource(
        preprocessing=preprocessing_of_config(architecture, config),
        licence=config.license or "not stated by timm",
        origin=place + (f" ({config.origin_url})" if config.origin_url else ""),
        pretraining=IMAGENET if alone else f"as timm's tag says: {tag}",
    )
