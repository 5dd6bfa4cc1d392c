"""Network: an image classifier as the rest of the project knows it, whatever its architecture."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headstart.errors import ConfigError
from headstart.types import Preprocessing


class Network(nn.Module, ABC):
    """A backbone up to pooled features, and one linear layer on them: the classifier.

    A subclass defines `forward_features`, sets `feature_dim` and holds its classifier under `head_name`.
    Where it can be frozen in part it tells its `stages`; where it can be cut in two, also its `units`.

    head_name: name of the classifier among the modules, as in the state dict. feature_dim: number of
    features. preprocessing: what its weights were trained with. weights_hash: what identifies the weights
    that it was loaded with, as weights.start_hash has it. `load_model` sets the last two."""

    head_name: str = "head"
    feature_dim: int
    preprocessing: Preprocessing
    weights_hash: str
    _frozen: frozenset[str] = frozenset()  # modules that own a frozen parameter
    _is_backbone_frozen = False
    _keep_statistics = False

    if TYPE_CHECKING:

        def __call__(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def forward_features(self, x: Tensor) -> Tensor:
        """Pooled features, float (N, feature_dim), of preprocessed images, float (N, 3, S, S)."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32 (N, num_classes), of preprocessed images, float (N, 3, S, S)."""
        classifier = self.classifier
        logits: Tensor = classifier(self.forward_features(x).to(classifier.weight.dtype))
        return logits.float()

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer from the features to the logits."""
        layer = self.get_submodule(self.head_name)
        assert isinstance(layer, nn.Linear)
        return layer

    @property
    def family(self) -> str:
        """What messages call networks of this kind."""
        return type(self).__name__

    def fit_to_images(self, sample: Callable[[int], Tensor]) -> None:
        """Sets what a random start takes from training images, before training; nothing by default.

        sample: number of images -> that many preprocessed training images, float (N, 3, S, S)."""

    # --- its parts ---

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The backbone's stages in order, the first one "stem"; none where it cannot be frozen in part."""
        return []

    def units(self) -> list[tuple[str, nn.Module]]:
        """The backbone as modules applied one after the other, the last one "pool"; none where it is no such
        row. A unit is a stage ("stem") or a part of one ("layer1.0")."""
        return []

    def forward_to(self, x: Tensor, cut: str) -> Tensor:
        """Activations after `cut`: (N, C, H, W), or the pooled features (N, feature_dim) after "pool".

        cut: a unit, or a stage: its last unit. Raises: ValueError for a name that is no cut."""
        for _, unit in self.units()[: self._position(cut) + 1]:
            x = unit(x)
        return x

    def forward_from(self, x: Tensor, cut: str) -> Tensor:
        """Pooled features from the activations after `cut`: forward_from(forward_to(x, c), c) is
        forward_features(x).

        Raises: ValueError for a name that is no cut."""
        for _, unit in self.units()[self._position(cut) + 1 :]:
            x = unit(x)
        return x

    def cut_before(self, from_stage: str) -> str | None:
        """The cut after which everything learns under `set_trainable(from_stage)`; None if that is
        everything. Raises: ValueError for a name that is no stage."""
        names = [name for name, _ in self.units()]
        start = self._places(from_stage, [*names, self.head_name], "stage")[0]
        return names[start - 1] if start else None

    def last_block(self) -> nn.Module:
        """The part whose output (N, C, H, W) is pooled into features: its positions still know where they are
        in the image. Raises: ConfigError where the network does not tell."""
        if len(units := self.units()) < 2:
            raise ConfigError(
                "images are explained for the CNN and this project's ResNets, not for other networks"
            )
        return units[-2][1]

    def _position(self, cut: str) -> int:
        """Index of the unit, or of the last unit of the stage."""
        return self._places(cut, [name for name, _ in self.units()], "cut")[-1]

    def _places(self, wanted: str, names: list[str], kind: str) -> list[int]:
        places = [
            index for index, name in enumerate(names) if name == wanted or name.startswith(f"{wanted}.")
        ]
        if not places:
            choice = "choose a stage or one of" if self.units() else "choose one of"
            raise ValueError(f"{wanted!r} is no {kind} of this network; {choice} {', '.join(names)}")
        return places

    # --- what learns ---

    def set_trainable(self, from_stage: str | None, *, keep_statistics: bool = False) -> None:
        """Lets `from_stage` and all after it learn, freezes all before it: weights and BatchNorm statistics.

        from_stage: "stem" (everything), a later stage ("layer4"), a unit ("layer4.1"), the head's name or
        None (nothing). keep_statistics: BatchNorm of what learns also normalises with its stored statistics
        and leaves them alone. The policy outlasts `train()`: what is frozen stays in eval mode until the next
        call.

        Raises: ValueError for a name that is no stage; ConfigError where the network cannot be frozen in
        part."""
        parts = self.units() or self.stages()
        if not parts:
            if from_stage == "stem" and not keep_statistics:
                return
            raise ConfigError(
                f'{type(self).__name__} cannot be frozen in part; use a ResNet, or method "finetune" with '
                'batchnorm = "train"'
            )
        names = [*(name for name, _ in parts), self.head_name]
        start = len(names) if from_stage is None else self._places(from_stage, names, "stage")[0]
        frozen = {id(parameter) for _, part in parts[:start] for parameter in part.parameters()}
        if from_stage is None:
            frozen |= {id(parameter) for parameter in self.classifier.parameters()}
        owners = set()
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(id(parameter) not in frozen)
            if id(parameter) in frozen:
                owners.add(name.rpartition(".")[0])
        self._frozen, self._keep_statistics = frozenset(owners), keep_statistics
        self._is_backbone_frozen = start >= len(parts)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As nn.Module's, except that frozen parts stay in eval mode."""
        super().train(mode)
        if self._is_backbone_frozen:
            for name, child in self.named_children():
                if name != self.head_name:
                    child.eval()  # its dropout too
        for name, module in self.named_modules():
            normalises = isinstance(module, _BatchNorm)
            # without parameters of its own, nothing tells its stage
            is_unnamed = normalises and not module.affine and bool(self._frozen)
            if name in self._frozen or is_unnamed or (normalises and self._keep_statistics):
                module.training = False  # not eval(): what lies inside may belong to a later stage
        return self

    def frozen_copy(self) -> Network:
        """A copy in eval mode of which nothing learns, as fast as this architecture allows; outputs equal up
        to rounding."""
        return copy.deepcopy(self).eval().requires_grad_(False)

    def channels_last(self) -> Self:
        """This network, its weights stored channels last: convolutions are faster so on most devices."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self


class Tail(Network):
    """What comes after a cut of a network, as a network of its own: its input is activations (N, C', H, W).

    The units before the cut are dropped from `network`; the names of the others stay (under "network."), and
    so does its freezing policy."""

    def __init__(self, network: Network, cut: str) -> None:
        super().__init__()
        dropped = {
            id(module)
            for _, unit in network.units()[: network._position(cut) + 1]
            for module in unit.modules()
        }
        replaced: tuple[str, ...] = ()
        for name, module in list(network.named_modules()):
            if id(module) in dropped and not name.startswith(replaced):
                network.set_submodule(name, nn.Identity())
                replaced += (f"{name}.",)
        self.network, self.cut = network, cut
        self.feature_dim, self.head_name = network.feature_dim, f"network.{network.head_name}"

    def forward_features(self, x: Tensor) -> Tensor:
        """Pooled features, float32 (N, feature_dim), of activations (N, C', H, W)."""
        return self.network.forward_from(x, self.cut)

    def stages(self) -> list[tuple[str, nn.Module]]:
        """The network's; those before the cut have no parameters."""
        return self.network.stages()
