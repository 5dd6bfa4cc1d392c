"""Networks with their weights: published ones, those of a file, or those that a trial has trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from headstart.errors import WeightsError, unknown_name
from headstart.models import weights as files
from headstart.models.network import Network
from headstart.models.preprocessing import stored_preprocessing
from headstart.models.registry import model_spec
from headstart.models.spec import ModelSpec, WeightsSource
from headstart.types import Preprocessing

_DRAWS = (Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)


class _NoDraws(TorchFunctionMode):
    """Leaves out the drawing of random weights that are replaced at once: half of the time that loading a
    ResNet-50 takes (0.40 against 0.20 s of an AVX2 core)."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_model(
    name: str,
    weights: str = "default",
    *,
    num_classes: int | None = None,
    seed: int = 0,
    image_pixels: int | None = None,
    **options: Any,
) -> Network:
    """A network in eval mode that carries its `preprocessing` (types.Preprocessing) and `weights_hash`.

    name: a key of MODELS, or "timm:ARCHITECTURE". weights: one of its weights' names, "default", "none"
    (random start), or the path or URL of a .safetensors or .pth file of a state dict. num_classes: None keeps
    the head of the weights (of a random start: the model's default); a number gives a new head with random
    weights. seed: of all random weights; the global generators stay as they are.
    image_pixels: side of the input, None for the weights' own. options: passed to the network's constructor.

    Examples:
        >>> model = headstart.load_model("resnet50", "imagenet-keras", num_classes=10, image_pixels=64)
        >>> model.preprocessing.size_pixels, model.preprocessing.channel_order, model.fc.out_features
        (64, 'bgr', 10)

    Raises: ConfigError for an unknown name; WeightsError for a file that is missing, damaged or of another
    network; DownloadError where published weights cannot be fetched; StoreError; BusyError."""
    spec = model_spec(name)
    weights = resolve_weights(name, weights)
    preprocessing = preprocessing_of(name, weights, image_pixels)
    # An architecture that is built for one size is built for the one that its weights expect.
    pixels = image_pixels or (preprocessing.size_pixels if spec.adapt else None) or spec.input_pixels
    state = _read_state(spec, weights)
    if spec.adapt is not None and state:
        state = spec.adapt(state, pixels, f"{name} weights {weights}")
    form = spec.sources[weights].form if weights in spec.sources else _file_source(spec, state).form
    head = f"{spec.head}.weight"
    kept_classes = len(state[head]) if head in state else spec.num_classes
    all_replaced = weights != "none" and num_classes is None
    with torch.random.fork_rng(devices=[]), _NoDraws() if all_replaced else nullcontext():
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs' generators too
        model = spec.build(num_classes or kept_classes, pixels, **form, **options)
    if weights != "none":
        if num_classes is not None:
            state = {key: value for key, value in state.items() if not key.startswith(f"{spec.head}.")}
            state |= {f"{spec.head}.{key}": value for key, value in model.classifier.state_dict().items()}
        files.load_into(model, state, f"{name} weights {weights}")
    model.preprocessing = preprocessing
    model.weights_hash = files.start_hash(weights, name, seed)
    return model.channels_last().eval()


def rebuild_model(
    name: str, state: Mapping[str, Tensor], preprocessing: Preprocessing, *, image_pixels: int, **options: Any
) -> Network:
    """The network around trained weights, in eval mode; state: its whole state dict, head included.

    The form of a ResNet is read off the names of its tensors. image_pixels, options: as `load_model`.
    Raises: ConfigError for an unknown name; WeightsError where `state` is of another network."""
    spec = model_spec(name)
    head = f"{spec.head}.weight"
    if head not in state:
        raise WeightsError(f"the stored weights of {name} have no {head}; train the model again")
    with torch.random.fork_rng(devices=[]), _NoDraws():
        model = spec.build(len(state[head]), image_pixels, **_file_source(spec, state).form, **options)
    files.load_into(model, state, f"the stored weights of {name}")
    model.preprocessing = preprocessing
    return model.channels_last().eval()


def preprocessing_of(name: str, weights: str = "default", image_pixels: int | None = None) -> Preprocessing:
    """What the weights were trained with, but image_pixels where that is given. No published weights are
    fetched.

    Of a file: what our own files say in their metadata, else by the form of the network. Raises: as
    `load_model`."""
    spec = model_spec(name)
    weights = resolve_weights(name, weights)
    if weights in spec.sources:
        preprocessing = spec.sources[weights].preprocessing
    elif stored := files.read_description(weights).get("preprocessing"):
        preprocessing = stored_preprocessing(stored)
    elif spec.source_of_file is None:
        preprocessing = spec.sources[spec.default_weights].preprocessing
    else:
        preprocessing = spec.source_of_file(files.tensor_names(weights)).preprocessing
    if image_pixels is None:
        return preprocessing
    return dataclasses.replace(preprocessing, size_pixels=image_pixels)


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


def _read_state(spec: ModelSpec, weights: str) -> dict[str, Tensor]:
    """The tensors of published weights or of a file; none for a random start."""
    if weights == "none":
        return {}
    if spec.fetch is not None and weights in spec.sources:
        return spec.fetch(weights)
    return files.load_state_file(weights)


def _file_source(spec: ModelSpec, tensor_names: Collection[str]) -> WeightsSource:
    if spec.source_of_file is None:
        return spec.sources[spec.default_weights]
    return spec.source_of_file(tensor_names)
