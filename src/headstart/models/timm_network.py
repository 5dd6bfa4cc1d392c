"""Any image network of timm as one of ours: a backbone up to the pooled features, and a linear head.

A model's name is "timm:" and timm's architecture, its weights are timm's tags: model = "timm:resnet18",
weights = "a1_in1k". Preprocessing is timm's data configuration of that tag, without its centre crop: images
are looked at whole, as everywhere here. timm comes with the extra of that name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.download import is_reachable
from headstart.data.fetchers import UNKNOWN_BYTES
from headstart.errors import ConfigError, DownloadError, WeightsError, unknown_name
from headstart.models.network import Network
from headstart.models.torchvision_import import import_torchvision
from headstart.types import Preprocessing

_HUB = "https://huggingface.co"


@lru_cache(maxsize=1)
def import_timm() -> ModuleType:
    """timm, imported. Raises: ConfigError where it is not installed, naming what to install."""
    try:
        import_torchvision()  # timm imports it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import timm
            import timm.data
            import timm.models
    except ImportError as error:
        raise ConfigError(
            f"timm's networks need {error.name or 'timm'}, which is not installed: pip install "
            "'headstart[timm]'"
        ) from error
    return timm


class TimmNetwork(Network):
    """A timm architecture; logits float32 (N, num_classes) from preprocessed float (N, 3, S, S).

    image_pixels: side of the input, for architectures that are built for one (transformers).
    Its stages are those by which timm itself groups the parameters: "stem", "stage1", ... in the order of the
    forward pass. Random weights come from torch's global generator: see `headstart.models.load_model` for a
    seeded start.

    Raises: ConfigError where timm cannot build it so, or its classifier is no single linear layer."""

    def __init__(self, architecture: str, num_classes: int, image_pixels: int) -> None:
        super().__init__()
        backbone: Any = create(architecture, num_classes, image_pixels)
        head = backbone.get_classifier()
        if not isinstance(head, nn.Linear):
            raise ConfigError(
                f"timm's {architecture} ends in {type(head).__name__}, not in one linear layer; choose "
                "another architecture"
            )
        backbone.reset_classifier(0)  # its forward pass then ends in the pooled features
        self.backbone, self.head = backbone, head
        self.feature_dim = head.in_features
        self._groups = _groups(backbone)

    def forward_features(self, x: Tensor) -> Tensor:
        """Pooled features, float32 (N, feature_dim)."""
        features: Tensor = self.backbone(x)
        return features.float()

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The backbone's stages in order, each as a list of its parameters."""
        named = dict(self.backbone.named_parameters())
        return [
            (stage, nn.ParameterList(named[name] for name in names)) for stage, names in self._groups.items()
        ]

    @property
    def family(self) -> str:
        return "timm's networks"


def _groups(backbone: nn.Module) -> dict[str, list[str]]:
    """Names of the backbone's parameters by stage, as timm groups them."""
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is None:
        return {"stem": [name for name, _ in backbone.named_parameters()]}
    groups = import_timm().models.group_parameters(backbone, matcher(coarse=True))
    return {f"stage{number}" if number else "stem": groups[key] for number, key in enumerate(sorted(groups))}


def create(architecture: str, num_classes: int, image_pixels: int, **options: Any) -> nn.Module:
    """timm's own network. Raises: ConfigError where timm refuses, in its words."""
    timm = import_timm()
    config = timm.models.get_pretrained_cfg(architecture)
    size = {"img_size": image_pixels} if config is not None and config.fixed_input_size else {}
    try:
        # on the CPU: some compute with values, which the meta device has not
        with torch.device("cpu"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = timm.create_model(architecture, num_classes=num_classes, **size, **options)
            return network
    except Exception as error:  # each architecture has refusals of its own kind
        raise ConfigError(
            f"timm cannot build {architecture} for {num_classes} classes at {image_pixels} px: {_line(error)}"
        ) from error


def configurations(architecture: str) -> Mapping[str, Any]:
    """timm's pretrained configurations of an architecture by tag, its default first; only those that have
    weights.

    Raises: ConfigError for an unknown architecture."""
    timm = import_timm()
    if not timm.is_model(architecture) or timm.models.get_arch_name(architecture) != architecture:
        raise unknown_name("timm architecture", architecture, timm.list_models())
    every = timm.models.get_arch_pretrained_cfgs(architecture).values()
    return {config.tag or "default": config for config in every if config.has_weights}


def preprocessing_of_config(architecture: str, config: Any) -> Preprocessing:
    """timm's data configuration as ours; None: of the architecture's default. Raises: ConfigError where it is
    no square of a known interpolation."""
    timm = import_timm()
    config = config or timm.models.get_pretrained_cfg(architecture) or timm.models.PretrainedCfg()
    data = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = data["input_size"]
    if channels != 3 or height != width or data["interpolation"] not in ("bicubic", "bilinear"):
        raise ConfigError(
            f"timm's {architecture} wants {channels} x {height} x {width} inputs by {data['interpolation']} "
            "interpolation; choose an architecture with square RGB inputs, bicubic or bilinear"
        )
    return Preprocessing(
        size_pixels=height,
        interpolation=data["interpolation"],
        mean=tuple(data["mean"]),
        std=tuple(data["std"]),
    )


def _bytes_on_hub(repository: str, names: Sequence[str]) -> int:
    """The size of the largest of these files that the repository has."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    largest = 0
    for name in names:
        with suppress(EntryNotFoundError):
            largest = max(largest, get_hf_file_metadata(hf_hub_url(repository, name)).size or 0)
    return largest


def fetch_state(architecture: str, config: Any) -> dict[str, Tensor]:
    """A tag's state dict from timm's own cache, or fetched by timm.

    Raises: DownloadError where it is not there and its server cannot be reached, naming what to give
    instead."""
    from huggingface_hub import try_to_load_from_cache
    from timm.models import load_state_dict_from_hf

    by_hand = (
        f"or give a state dict of timm's {architecture} as a file: --weights FILE, in a study "
        'weights = "FILE"'
    )
    if not config.hf_hub_id:
        raise DownloadError(
            f"timm's weights {config.tag} of {architecture} are at {config.url}; fetch them there and give "
            'the file: --weights FILE, in a study weights = "FILE"'
        )
    files = (
        (config.hf_hub_filename,) if config.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")
    )
    cached = any(isinstance(try_to_load_from_cache(config.hf_hub_id, name), str) for name in files)
    if not cached and not is_reachable(_HUB):
        raise DownloadError(
            f"cannot fetch timm's weights {config.tag} of {architecture}: {_HUB} cannot be reached; connect "
            f"to the network, {by_hand}"
        )
    try:
        if not cached and (size := _bytes_on_hub(config.hf_hub_id, files)) > UNKNOWN_BYTES:
            raise ValueError(f"it has {size / 1e6:,.0f} MB, over the limit of {UNKNOWN_BYTES / 1e6:,.0f} MB")
        named = {"filename": config.hf_hub_filename} if config.hf_hub_filename else {}
        return dict(load_state_dict_from_hf(config.hf_hub_id, weights_only=True, **named))
    except Exception as error:  # the hub's client, requests and safetensors each have their own
        raise DownloadError(
            f"cannot fetch timm's weights {config.tag} of {architecture} ({_line(error)}); try again, "
            f"{by_hand}"
        ) from error


def adapt_state(
    architecture: str, state: Mapping[str, Tensor], image_pixels: int, source: str
) -> dict[str, Tensor]:
    """A state dict in timm's names (older forms and other input sizes are timm's to convert), or in ours, in
    ours.

    Raises: WeightsError where it is of another network."""
    if any(name.startswith("backbone.") for name in state):
        return dict(state)
    config = import_timm().models.get_pretrained_cfg(architecture)
    classifier = config.classifier if config is not None and isinstance(config.classifier, str) else "head"
    if f"{classifier}.weight" not in state:
        raise WeightsError(
            f"{source}: {classifier}.weight is missing; give a whole state dict of timm's {architecture}"
        )
    classes = len(state[f"{classifier}.weight"])
    overlay = {"state_dict": dict(state), "num_classes": classes, "label_offset": 0}
    try:
        own = create(architecture, classes, image_pixels, pretrained=True, pretrained_cfg_overlay=overlay)
    except ConfigError as error:
        raise WeightsError(
            f"{source}: no weights of timm's {architecture}: {_line(error.__cause__ or error)}"
        ) from error
    return {our_name(name, classifier): value for name, value in own.state_dict().items()}


def our_name(name: str, classifier: str) -> str:
    """A tensor's name in TimmNetwork from its name in timm's network, whose last layer is `classifier`."""
    return (
        f"head.{name.removeprefix(f'{classifier}.')}"
        if name.startswith(f"{classifier}.")
        else f"backbone.{name}"
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
