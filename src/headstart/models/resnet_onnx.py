"""A folded ResNet as an ONNX graph: what int8 quantisation starts from.

The graph is written operator by operator: torch's exporters raise deprecation warnings of their own (torch
2.13), and a ResNet has only five kinds.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.errors import ConfigError
from headstart.models.fused import folded_blocks
from headstart.models.resnet import ResNet

_OPSET, _IR_VERSION = 18, 10  # old enough for every onnxruntime that the extra allows


def required(name: str) -> ModuleType:
    """A package of the extra int8, imported. Raises: ConfigError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"int8 features need {name}, which is not installed: pip install 'headstart[int8]'"
        ) from error


def resnet_graph(model: ResNet, pixels: int | tuple[int, ...]) -> Any:
    """The folded network from normalised images to pooled features, an onnx.ModelProto; any number of images.

    pixels: side of the input, or its height and width. Raises: ConfigError without onnx."""
    onnx = required("onnx")
    folded = model.frozen_copy().to("cpu", torch.float32)
    height, width = (pixels, pixels) if isinstance(pixels, int) else pixels
    value, graph = onnx.helper.make_tensor_value_info, _Graph(onnx)
    features = graph.resnet(folded, "images")
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "features",
            [value("images", onnx.TensorProto.FLOAT, ["batch", 3, height, width])],
            [value(features, onnx.TensorProto.FLOAT, ["batch", folded.feature_dim])],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    # There is nothing left to optimise; without this mark onnxruntime advises on the log to do so.
    onnx.helper.set_model_props(proto, {"onnx.quant.pre_process": "onnxruntime.quant"})
    return proto


class _Graph:
    """Nodes and constants, each layer appended by a method that returns the name of its output."""

    def __init__(self, onnx: ModuleType) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def resnet(self, folded: ResNet, x: str) -> str:
        self._constant("positions", np.array([2, 3]))
        x = self._convolve(x, "stem", folded.conv1, relu=True)
        if isinstance(folded.maxpool, nn.MaxPool2d):  # a small stem has none
            x = self._node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        for number, (convolutions, shortcut) in enumerate(folded_blocks(folded)):
            out = x
            for place, layer in enumerate(convolutions):
                out = self._convolve(out, f"block{number}.{place}", layer, relu=layer is not convolutions[-1])
            if shortcut is not None:
                x = self._convolve(x, f"block{number}.shortcut", shortcut, relu=False)
            x = self._rectify(self._node("Add", [out, x], f"block{number}"))
        return self._node("ReduceMean", [x, "positions"], "features", keepdims=0)

    def _convolve(self, x: str, name: str, layer: nn.Conv2d, *, relu: bool) -> str:
        assert layer.bias is not None and layer.groups == 1 and isinstance(layer.padding, tuple)
        for what, value in (("weight", layer.weight), ("bias", layer.bias)):
            self._constant(f"{name}.{what}", value.detach().contiguous().numpy())
        self._node(
            "Conv",
            [x, f"{name}.weight", f"{name}.bias"],
            name,
            strides=list(layer.stride),
            kernel_shape=list(layer.kernel_size),
            pads=[*layer.padding, *layer.padding],
        )
        return self._rectify(name) if relu else name

    def _rectify(self, x: str) -> str:
        return self._node("Relu", [x], f"{x}.relu")

    def _node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: np.ndarray[Any, Any]) -> None:
        self.constants.append(self.onnx.numpy_helper.from_array(value, name))
