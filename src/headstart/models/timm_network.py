"""Any image network of timm as one of ours: a backbone up to the pooled features, and a linear head.

A model's name is "timm:" and timm's architecture, its weights are timm's tags: model = "timm:resnet18",
weights = "a1_in1k". Preprocessing is timm's data configuration of that tag, without its centre crop: images
are looked at whole, as everywhere here. timm comes with the extra of that name.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.download import is_reachable
from headstart.errors import ConfigError, DownloadError, WeightsError, unknown_name
from headstart.models.torchvision_import import import_torchvision
from headstart.types import Preprocessing

PREFIX = "timm:"
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


class TimmNetwork(nn.Module):
    """A timm architecture; logits float32 (N, num_classes) from preprocessed float (N, 3, S, S).

    image_pixels: side of the input, for architectures that are built for one (transformers).
    Its stages are those by which timm itself groups the parameters: "stem", "stage1", ... in the order of the
    forward pass. Random weights come from torch's global generator: see `headstart.models.load_model` for a
    seeded start.

    Raises: ConfigError where timm cannot build it so, or its classifier is no single linear layer."""

    preprocessing: Preprocessing | None = None

    def __init__(self, architecture: str, num_classes: int, image_pixels: int) -> None:
        super().__init__()
        backbone: Any = create(architecture, num_classes, image_pixels)
        head = backbone.get_classifier()
        if not isinstance(head, nn.Linear):
            raise ConfigError(
                f"timm's {architecture} ends in {type(head).__name__}, not in one linear layer; choose "
                "another "
                "architecture"
            )
        backbone.reset_classifier(0)  # its forward pass then ends in the pooled features
        self.backbone, self.head = backbone, head
        self.feature_dim = head.in_features
        self._groups = _groups(backbone)
        self._frozen: frozenset[str] = frozenset()
        self._keep_statistics = False

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x).to(self.head.weight.dtype)).float()

    def forward_features(self, x: Tensor) -> Tensor:
        """Pooled features, float32 (N, feature_dim)."""
        return self.backbone(x).float()

    # --- what learns: as models.resnet.ResNet, by timm's groups of parameters ---

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The backbone's stages in order, each as a list of its parameters."""
        named = dict(self.backbone.named_parameters())
        return [
            (stage, nn.ParameterList(named[name] for name in names)) for stage, names in self._groups.items()
        ]

    def set_trainable(self, from_stage: str | None, *, keep_statistics: bool = False) -> None:
        """Lets `from_stage` and all after it learn, freezes all before it: weights and BatchNorm statistics.

        from_stage: "stem" (everything), a later stage, "head" or None (nothing). keep_statistics: BatchNorm
        of what learns also normalises with its stored statistics and leaves them alone. The policy outlasts
        `train()`.
        Raises: ValueError for a name that is no stage."""
        order = [*self._groups, "head"]
        if from_stage is not None and from_stage not in order:
            raise ValueError(f"{from_stage!r} is no stage of this network; choose one of {', '.join(order)}")
        start = len(order) if from_stage is None else order.index(from_stage)
        frozen = {name for stage in order[:start] for name in self._groups.get(stage, ())}
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(name not in frozen)
        self.head.requires_grad_(start < len(order))
        self._frozen = frozenset(
            name.rpartition(".")[0] for name in frozen
        )  # modules that own a frozen parameter
        self._keep_statistics = keep_statistics
        self.train(self.training)

    def freeze(self) -> None:
        """Freezes the backbone, weights and BatchNorm statistics; the head learns."""
        self.set_trainable("head")

    def train(self, mode: bool = True) -> TimmNetwork:
        """As nn.Module's, except that frozen parts stay in eval mode."""
        super().train(mode)
        if not any(p.requires_grad for p in self.backbone.parameters()):
            self.backbone.eval()  # its dropout too
        for name, module in self.backbone.named_modules():
            normalises = isinstance(module, nn.modules.batchnorm._BatchNorm)
            unnamed = normalises and not module.affine and bool(self._frozen)  # no parameter tells its stage
            if name in self._frozen or unnamed or (normalises and self._keep_statistics):
                module.training = False  # not eval(): what lies inside may belong to a later stage
        return self


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
        with (
            torch.device("cpu"),
            warnings.catch_warnings(),
        ):  # some compute with values, which the meta device has not
            warnings.simplefilter("ignore")
            return timm.create_model(architecture, num_classes=num_classes, **size, **options)
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
    found = timm.data.resolve_data_config(pretrained_cfg=config.to_dict())
    channels, height, width = found["input_size"]
    if channels != 3 or height != width or found["interpolation"] not in ("bicubic", "bilinear"):
        raise ConfigError(
            f"timm's {architecture} wants {channels} x {height} x {width} inputs by {found['interpolation']} "
            "interpolation; choose an architecture with square RGB inputs, bicubic or bilinear"
        )
    return Preprocessing(
        size_pixels=height,
        interpolation=found["interpolation"],
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
    )


def fetch_state(architecture: str, config: Any) -> dict[str, Tensor]:
    """A tag's state dict from timm's own cache, or fetched by timm.

    Raises: DownloadError where it is not there and its server cannot be reached, naming what to give
    instead."""
    from huggingface_hub import try_to_load_from_cache
    from timm.models import load_state_dict_from_hf

    by_hand = (
        f"or give a state dict of timm's {architecture} as a file: --weights FILE, in a study weights = "
        '"FILE"'
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
            "to "
            f"the network, {by_hand}"
        )
    try:
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
