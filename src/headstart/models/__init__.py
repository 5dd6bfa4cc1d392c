"""The networks: what can be built and with which weights. Importing this folder imports no torch.

To add one: a subclass of Network, and an entry in MODELS (models.registry) with a function that builds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.models.registry import MODELS, describe_models, model_in_words, model_spec
from headstart.models.spec import ModelSpec, WeightsSource

if TYPE_CHECKING:
    from headstart.models.load import load_model, preprocessing_of, rebuild_model, resolve_weights
    from headstart.models.network import Network
    from headstart.models.preprocessing import preprocess
    from headstart.models.resnet import fold_batchnorm

__all__ = [
    "MODELS",
    "ModelSpec",
    "Network",
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

_WITH_TORCH = {
    "Network": "headstart.models.network",
    "fold_batchnorm": "headstart.models.resnet",
    "load_model": "headstart.models.load",
    "preprocess": "headstart.models.preprocessing",
    "preprocessing_of": "headstart.models.load",
    "rebuild_model": "headstart.models.load",
    "resolve_weights": "headstart.models.load",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: naming the models must not import torch.
    import importlib

    if name in _WITH_TORCH:
        return getattr(importlib.import_module(_WITH_TORCH[name]), name)
    raise AttributeError(f"module 'headstart.models' has no attribute {name!r}")
