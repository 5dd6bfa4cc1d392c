"""ModelSpec: how a model is built, its weights, their origin and licence, what it costs. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headstart.types import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor

    from headstart.models.network import Network

# Channel means and deviations of CIFAR-10's training images, the field's usual constants.
CNN_PREPROCESSING = Preprocessing(
    size_pixels=None, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)
)
IMAGENET = "ImageNet-1k: 1.28 million labelled images of 1,000 classes, supervised"


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """One set of weights of a model. `form`: the options of its network's constructor that differ from the
    defaults."""

    preprocessing: Preprocessing
    licence: str
    origin: str
    pretraining: str
    form: Mapping[str, Any] = field(default_factory=dict)


RANDOM_START = WeightsSource(
    preprocessing=CNN_PREPROCESSING, licence="none needed", origin="random start", pretraining="none"
)


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """Parameters, and floating-point operations of one image's forward pass: see ModelSpec."""

    parameters: int
    flops: int


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """An architecture and its weights.

    build: build(num_classes, image_pixels, **options) -> network with random weights.
    sources: by weights name, the default first; "none" is a random start. num_classes: of the default head.
    input_pixels: side of the input that the default weights expect. head: the network's head_name.
    has_cuts: its frozen part can be computed once up to any block (method "partial").
    scratch_recipe: the name of the recipe that trains it from random weights.
    size: as `counted_size` gives it, so that nothing is built to tell it; None: it is counted where needed.
    package: the module that its architecture is in, where that is an extra.
    fetch: weights name -> state dict of published weights; None where there are none.
    source_of_file: names of the tensors in a file of weights -> what such weights are; None: as the default
        weights.
    adapt: (state dict, image_pixels, where it comes from) -> the same under the network's names, where
        published files use others.
    """

    title: str
    build: Callable[..., Network]
    sources: Mapping[str, WeightsSource]
    num_classes: int
    input_pixels: int
    head: str
    has_cuts: bool = False
    scratch_recipe: str = "resnet-scratch"
    size: ModelSize | None = None
    package: str = ""
    fetch: Callable[[str], dict[str, Tensor]] | None = None
    source_of_file: Callable[[Collection[str]], WeightsSource] | None = None
    adapt: Callable[[Mapping[str, Tensor], int, str], dict[str, Tensor]] | None = None

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that `load_model` takes (a file's path or URL works too)."""
        return tuple(self.sources)

    @property
    def default_weights(self) -> str:
        return self.weights[0]

    @property
    def pretraining(self) -> str:
        """What the default weights learned from."""
        return self.sources[self.default_weights].pretraining

    @property
    def parameters(self) -> int:
        """Number of parameters, default head included (BatchNorm's running statistics are not parameters)."""
        return self._size.parameters

    @property
    def flops(self) -> int:
        """Floating-point operations of one image's forward pass at `input_pixels`; two for each
        multiply-add."""
        return self._size.flops

    @cached_property
    def _size(self) -> ModelSize:
        return self.counted_size() if self.size is None else self.size

    def counted_size(self) -> ModelSize:
        """The size, counted on a network without values. Raises: ConfigError where its architecture is in a
        package that is not installed."""
        import torch

        from headstart.models.resnet import forward_flops, parameter_count

        with torch.device("meta"):
            form = self.sources[self.default_weights].form
            network = self.build(self.num_classes, self.input_pixels, **form).to("meta")
        return ModelSize(parameters=parameter_count(network), flops=forward_flops(network, self.input_pixels))
