"""Frozen networks in int8: onnxruntime's static quantisation, calibrated on training images, kept in the
cache.

    <cache>/int8/<key>/model.onnx   the quantised network, float32 (N, 3, S, S) -> float32 (N, D)
    <cache>/int8/<key>/meta.json    written last: what the key was made from, seconds that calibrating took

The graph is written operator by operator: torch's exporters raise deprecation warnings of their own (torch
2.13), and a ResNet has only five kinds. Resizing and normalisation stay outside, in our own code.

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
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.errors import ConfigError, StoreError
from headstart.models.fused import folded_blocks
from headstart.models.network import Network
from headstart.models.preprocess import preprocess
from headstart.models.resnet import ResNet, fold_batchnorm
from headstart.runtime import progress
from headstart.runtime.mapped import file_mapping, release_pages
from headstart.store import cache_folder, digest, lock, read_json, write_bytes, write_json
from headstart.types import ImageSet

SCHEMA = 1  # raised when the same key would give another network
CALIBRATION_IMAGES = 256
_BATCH = 32
_OPSET, _IR_VERSION = 18, 10  # old enough for every onnxruntime that the extra allows


@dataclass(frozen=True, kw_only=True)
class Int8Network:
    """run: network inputs float32 (B, 3, S, S) -> features float32 (B, D). seconds: what calibrating it once
    took."""

    run: Callable[[Tensor], Tensor]
    seconds: float


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
        "onnxruntime": _required("onnxruntime").__version__,
        "reduced_range": _reduced_range(),
    }


def calibration_ids(count: int) -> NDArray[np.int64]:
    """Positions of the calibration images in a training set of `count`: evenly spaced, at most
    CALIBRATION_IMAGES."""
    return (
        np.arange(CALIBRATION_IMAGES, dtype=np.int64) * count // CALIBRATION_IMAGES
        if count > CALIBRATION_IMAGES
        else (np.arange(count, dtype=np.int64))
    )


def load_int8(model: Network, calibration: ImageSet, *, weights_hash: str) -> Int8Network:
    """The network in int8, from the cache or quantised now; as many threads as torch has.

    model: a ResNet with `preprocessing`, not changed. calibration: the training images.
    Raises: ConfigError for another architecture or without onnxruntime; StoreError where the cache cannot be
    written."""
    if not isinstance(model, ResNet):
        raise ConfigError(
            f"int8 features are for this project's ResNets, not for {model.family}; set "
            'feature_precision = "bf16" or "fp32"'
        )
    parts = {
        "weights": weights_hash,
        "depth": model.depth,
        "preprocessing": model.preprocessing,
        "torch": torch.__version__.split("+")[0],
        "onnx": _required("onnx").__version__,
        "image_shape": calibration.images.shape[1:],
        **identity(calibration),
    }
    folder = cache_folder() / "int8" / digest(parts)[:32]
    path, meta = folder / "model.onnx", folder / "meta.json"
    with lock(folder / "lock", f"the int8 network {folder.name}", wait_seconds=3600):
        if not (path.exists() and meta.exists()):
            start = time.perf_counter()
            content = _quantise(model, calibration)
            write_bytes(path, content)
            write_json(meta, {"key": parts, "seconds": time.perf_counter() - start})
        return Int8Network(run=_session(path), seconds=read_json(meta)["seconds"])


def _required(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"int8 features need {name}, which is not installed: pip install 'headstart[int8]'"
        ) from error


def _reduced_range() -> bool:
    """Whether weights must keep to 7 bits: x86 without VNNI adds pairs of products in 16 bits, which 8 bits
    overflow."""
    has_vnni = getattr(torch.cpu, "_is_vnni_supported", lambda: False)
    return platform.machine().lower() in ("x86_64", "amd64") and not has_vnni()


def _session(path: Path) -> Callable[[Tensor], Tensor]:
    onnxruntime = _required("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors only
    options.add_session_config_entry(
        "session.force_spinning_stop", "1"
    )  # else its threads spin while torch's resize
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes for a damaged file share no public base
        raise StoreError(
            f"cannot read {path}: {error}; delete its folder and run again".replace("\n", " ")
        ) from error

    def run(x: Tensor) -> Tensor:
        (features,) = session.run(None, {"images": x.contiguous().numpy()})
        return torch.from_numpy(features)

    return run


@torch.no_grad()
def _quantise(model: ResNet, calibration: ImageSet) -> bytes:
    """The quantised network as an ONNX file's bytes."""
    quantization = _required("onnxruntime.quantization")
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

    plain = _graph(model, preprocessing.size_pixels or calibration.images.shape[1:3])
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


def _graph(model: ResNet, pixels: int | tuple[int, ...]) -> Any:
    """The folded network from normalised images to pooled features, an onnx.ModelProto; any number of
    images."""
    onnx = _required("onnx")
    make_node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    folded = fold_batchnorm(model).to("cpu", torch.float32)
    nodes: list[Any] = []
    constants: list[Any] = [array(np.array([2, 3]), "positions")]

    def convolve(x: str, name: str, layer: nn.Conv2d, relu: bool) -> str:
        assert layer.bias is not None and layer.groups == 1 and isinstance(layer.padding, tuple)
        constants.extend(
            array(value.detach().contiguous().numpy(), f"{name}.{what}")
            for what, value in (("weight", layer.weight), ("bias", layer.bias))
        )
        nodes.append(
            make_node(
                "Conv",
                [x, f"{name}.weight", f"{name}.bias"],
                [name],
                name=name,
                strides=list(layer.stride),
                kernel_shape=list(layer.kernel_size),
                pads=[*layer.padding, *layer.padding],
            )
        )
        return rectify(name) if relu else name

    def rectify(x: str) -> str:
        nodes.append(make_node("Relu", [x], [f"{x}.relu"], name=f"{x}.relu"))
        return f"{x}.relu"

    x = convolve("images", "stem", folded.conv1, relu=True)
    if isinstance(folded.maxpool, nn.MaxPool2d):  # a small stem has none
        nodes.append(
            make_node(
                "MaxPool", [x], ["pool"], name="pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]
            )
        )
        x = "pool"
    for number, (convolutions, shortcut) in enumerate(folded_blocks(folded)):
        out = x
        for place, layer in enumerate(convolutions):
            out = convolve(out, f"block{number}.{place}", layer, relu=layer is not convolutions[-1])
        if shortcut is not None:
            x = convolve(x, f"block{number}.shortcut", shortcut, relu=False)
        nodes.append(make_node("Add", [out, x], [f"block{number}"], name=f"block{number}"))
        x = rectify(f"block{number}")
    nodes.append(make_node("ReduceMean", [x, "positions"], ["features"], name="features", keepdims=0))
    height, width = (pixels, pixels) if isinstance(pixels, int) else pixels
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "features",
        [value("images", onnx.TensorProto.FLOAT, ["batch", 3, height, width])],
        [value("features", onnx.TensorProto.FLOAT, ["batch", folded.feature_dim])],
        constants,
    )
    proto = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    # There is nothing left to optimise; without this mark onnxruntime advises on the log to do so.
    onnx.helper.set_model_props(proto, {"onnx.quant.pre_process": "onnxruntime.quant"})
    return proto
