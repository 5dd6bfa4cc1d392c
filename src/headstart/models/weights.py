"""Weights: the published ones by name, files of them, and what identifies each.

A file is verified where a hash of it is published, read as plain tensors, and loaded with every shape
checked.
"""

from __future__ import annotations

import hashlib
import pickle
import urllib.parse
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn

from headstart import store
from headstart.data.download import downloads_folder, fetch_archive
from headstart.errors import DownloadError, WeightsError
from headstart.models.weight_names import SMALL_STEM, TORCHVISION_FILES, TORCHVISION_URL, is_url, url_digits
from headstart.store.reading import first_fault, parse_json
from headstart.store.schema import StoredPreprocessing

PINNED_SHA256 = {  # by weights name
    # of the converted tensors, as `tensors_hash` has it
    "imagenet-keras": "ada46350044e4d4afa122253ef0f57cd507b70c0e0abdde72054c87929d9190b",
    # of the file that a Python package carries
    "imagenet-tf": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}


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


_COPIES: dict[str, str] = {}


def use_copy(weights: str, copy: Path) -> None:
    """From here on this process reads the weights of that path from another file of the same content."""
    _COPIES[weights] = str(copy)


def local_file(weights: str) -> str:
    """A path as it is, or its copy (`use_copy`); of a URL that of the fetched, verified copy in the cache.

    Raises: as url_digits; DownloadError where this machine is offline, or another file came; StoreError."""
    if not is_url(weights):
        return _COPIES.get(weights, weights)
    digits = url_digits(weights)
    # asked several times a trial: file_hash remembers, fetch_archive would lock and read the whole file each
    # time
    kept = downloads_folder() / Path(urllib.parse.urlsplit(weights).path).name
    if kept.is_file() and file_hash(kept).startswith(digits):
        return str(kept)
    return str(fetch_archive(weights, f"sha256:{digits}"))


def is_fetched(url: str) -> bool:
    """Whether the file of a URL is in the cache, verified. Raises: as url_digits."""
    kept = downloads_folder() / Path(urllib.parse.urlsplit(url).path).name
    return kept.is_file() and file_hash(kept).startswith(url_digits(url))


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
    except Exception as error:  # what a damaged pickle raises has no base of its own
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


class _Description(BaseModel):
    """What is read here of a saved model's description of itself."""

    preprocessing: StoredPreprocessing | None = None


def read_description(path: str | Path) -> dict[str, Any]:
    """What a file of one of our models says of it; empty for any other. Raises: WeightsError where it is
    damaged."""
    try:
        description = parse_json(read_metadata(path).get("headstart", "{}"))
        _Description.model_validate(description)
        return dict(description)
    except (ValueError, RecursionError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError | RecursionError) else error
        raise WeightsError(
            f"{path} is damaged (its description: {fault}); take another copy of it"
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
    content = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        content.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return content.hexdigest()


def content_hash(description: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 (hex) of tensors and of what is said of them, as one file holds both."""
    return store.digest([description, tensors_hash(tensors)])


def weights_hash(weights: str, model: str = "") -> str:
    """What identifies weights in a trial's and a feature's key: "none", the pinned hash of published ones, or
    a file's SHA-256; of a small stem another than of the network that the same weights were made for.

    weights: "none", "imagenet-keras", "imagenet-tf", "torchvision", "torchvision-v2", a tag of timm's, a name
    of an installed package (no file is read for these), a path or a URL. model: its name, which picks one of
    torchvision's files; without it the hash is that of all of them.
    Raises: WeightsError for a missing file; as local_file."""
    if weights == "none":
        return "none"
    if model.endswith(SMALL_STEM):
        return store.digest({"small stem": weights_hash(weights)})
    if weights in PINNED_SHA256:
        return PINNED_SHA256[weights]
    if weights in TORCHVISION_FILES:
        return store.digest(TORCHVISION_FILES[weights].get(model, TORCHVISION_FILES[weights]))
    if model.startswith("timm:") and not is_url(weights) and not Path(weights).is_file():
        return store.digest({"timm": model, "tag": weights})
    is_name = not Path(weights).suffix and Path(weights).name == weights and not Path(weights).exists()
    if model and is_name:  # published by an installed package: their name is all that is known
        return store.digest({"model": model, "weights": weights})
    return file_hash(local_file(weights))


def random_start_hash(model: str, seed: int) -> str:
    """What identifies the random weights that `load_model(model, "none", seed=seed)` draws."""
    return store.digest({"random start": 1, "model": model, "seed": seed})


def start_hash(weights: str, model: str, seed: int) -> str:
    """What identifies the weights that a network starts from: those named, or where there are none
    ("none") the random ones of that seed.

    Arguments and errors: as weights_hash."""
    return random_start_hash(model, seed) if weights == "none" else weights_hash(weights, model)


def file_hash(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes, remembered while its size and time of change stay.

    Raises: WeightsError where it cannot be read."""
    try:
        status = Path(path).stat()
        return _file_hash(str(Path(path).resolve()), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"cannot read {path} ({error.strerror}); give a file of weights") from error


@lru_cache(maxsize=64)
def _file_hash(path: str, _size_bytes: int, _changed_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]
