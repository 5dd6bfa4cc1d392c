"""Frozen networks in int8: onnxruntime's static quantisation, calibrated on training images, kept in the
cache.

    <cache>/int8/<key>/model.onnx   the quantised network, float32 (N, 3, S, S) -> float32 (N, D)
    <cache>/int8/<key>/meta.json    written last: what the key was made from, seconds that calibrating took

Resizing and normalisation stay outside, in our own code.

Tried with ResNet-50 at 64 px, 1 thread of an AMD EPYC 9004 (2 cores, shared): signed activations are 3 times
as slow as unsigned ones. Ranges from percentiles (99.999) instead of the extremes take 550 s instead of 5 s
for a mean cosine to float32 features of 0.9951 instead of 0.9939.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor

from headstart.errors import ConfigError, StoreError
from headstart.models.network import Network
from headstart.models.preprocessing import preprocess
from headstart.models.resnet import ResNet
from headstart.models.resnet_onnx import required, resnet_graph
from headstart.runtime import progress
from headstart.runtime.mapped import file_mapping, release_pages
from headstart.runtime.show import shown
from headstart.runtime.waiting import onnxruntime_options
from headstart.store import (
    FileFacts,
    cache_folder,
    digest,
    lock,
    read_as,
    require_unchanged,
    write_bytes,
    write_json,
)
from headstart.store.hashes import facts_of_bytes
from headstart.types import ImageSet

SCHEMA = 1  # raised when the same key would give another network
CALIBRATION_IMAGES = 256
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Int8Network:
    """run: network inputs float32 (B, 3, S, S) -> features float32 (B, D).

    seconds, images: what calibrating it once took, and the number of images that it was calibrated on."""

    run: Callable[[Tensor], Tensor]
    seconds: float
    images: int


def identity(calibration: ImageSet | None) -> dict[str, Any]:
    """All that int8 adds to a feature key. Raises: ConfigError where onnxruntime or the calibration images
    are missing."""
    if calibration is None:
        raise ConfigError(
            "int8 features are calibrated on training images, and none were given; pass "
            "calibration=dataset.train"
        )
    return {
        "schema": SCHEMA,
        "calibration": calibration.fingerprint,
        "calibration_images": CALIBRATION_IMAGES,
        "onnxruntime": required("onnxruntime").__version__,
        "reduced_range": _reduced_range(),
    }


def calibration_ids(count: int) -> NDArray[np.int64]:
    """Positions of the calibration images in a training set of `count`: evenly spaced, at most
    CALIBRATION_IMAGES."""
    chosen = min(count, CALIBRATION_IMAGES)
    return np.arange(chosen, dtype=np.int64) * count // chosen


def load_int8(model: Network, calibration: ImageSet | None) -> Int8Network:
    """The network in int8, from the cache or quantised now; as many threads as torch has.

    model: a ResNet from `load_model`, not changed. calibration: the training images.
    Raises: ConfigError for another architecture, without onnxruntime or without calibration images;
    StoreError where the cache cannot be written."""
    if not isinstance(model, ResNet):
        raise ConfigError(
            f"int8 features are for this project's ResNets, not for {model.family}; set "
            'feature_precision = "bf16" or "fp32"'
        )
    quantisation = identity(calibration)
    assert calibration is not None  # identity asked for it
    parts = {
        "weights": model.weights_hash,
        "depth": model.depth,
        "preprocessing": model.preprocessing,
        "torch": torch.__version__.split("+")[0],
        "onnx": required("onnx").__version__,
        "image_shape": calibration.images.shape[1:],
        **quantisation,
    }
    folder = cache_folder() / "int8" / digest(parts)[:32]
    path, meta = folder / "model.onnx", folder / "meta.json"
    seconds = _whole(path, meta)
    if seconds is None:
        with lock(folder / "lock", f"the int8 network {folder.name}", wait_seconds=3600):
            seconds = _whole(path, meta)  # another process may have made it meanwhile
            if seconds is None:
                start = time.perf_counter()
                content = _quantise(model, calibration)
                write_bytes(path, content)
                seconds = time.perf_counter() - start
                facts = facts_of_bytes(content).model_dump()
                write_json(meta, {"key": parts, "seconds": seconds, "model": facts})
    return Int8Network(run=_session(path), seconds=seconds, images=len(calibration_ids(len(calibration))))


class _Meta(BaseModel):
    """meta.json. model: None in what older versions wrote."""

    seconds: Annotated[float, Field(ge=0)]
    model: FileFacts | None = None


def _whole(path: Path, meta: Path) -> float | None:
    """The seconds that making the network took, where the cache has it as it was written; None where it has
    none or a damaged one, which is announced."""
    if not (path.exists() and meta.exists()):
        return None
    try:
        about = read_as(_Meta, meta, "it is made again")
        if about.model is not None:
            require_unchanged(path, about.model, "it is made again")
        return about.seconds
    except StoreError as error:
        progress.say(f"int8 network in the cache: {error}")
        return None


def _reduced_range() -> bool:
    """Whether weights must keep to 7 bits: x86 without VNNI adds pairs of products in 16 bits, which 8 bits
    overflow."""
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return platform.machine().lower() in ("x86_64", "amd64") and not has_vnni()


def _session(path: Path) -> Callable[[Tensor], Tensor]:
    onnxruntime = required("onnxruntime")
    options = onnxruntime_options(onnxruntime, torch.get_num_threads())
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes for a damaged file share no public base
        raise StoreError(
            f"cannot read {path}: {shown(str(error)[:300])}; delete it and run the same command again, which "
            "makes it anew"
        ) from error

    def run(x: Tensor) -> Tensor:
        (features,) = session.run(None, {"images": x.contiguous().numpy()})
        return torch.from_numpy(features)

    return run


@torch.no_grad()
def _quantise(model: ResNet, calibration: ImageSet) -> bytes:
    """The quantised network as an ONNX file's bytes."""
    quantization = required("onnxruntime.quantization")
    preprocessing = model.preprocessing
    ids = calibration_ids(len(calibration))

    def batches() -> Iterator[dict[str, NDArray[np.float32]]]:
        for start in range(0, len(ids), _BATCH):
            inputs = preprocess(calibration.images[ids[start : start + _BATCH]], preprocessing, device="cpu")
            yield {"images": inputs.contiguous().numpy()}
            bar.advance(len(inputs))

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.rest = batches()

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self.rest, None)

    plain = resnet_graph(model, preprocessing.size_pixels or calibration.images.shape[1:3])
    with (
        progress.track("calibrating int8", len(ids), "training images") as bar,
        tempfile.TemporaryDirectory() as scratch,
    ):
        quantised = Path(scratch) / "model.onnx"
        quantization.quantize_static(
            plain,
            quantised,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=_reduced_range(),
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        release_pages(file_mapping(calibration.images))
        return quantised.read_bytes()
