"""The networks: what can be built, with which weights, and what is known about each.

To add one: a subclass of Network, and an entry in MODELS (models.registry) with a function that builds it.
"""

from __future__ import annotations

from headstart.models.load import load_model, preprocessing_of, rebuild_model, resolve_weights
from headstart.models.network import Network
from headstart.models.preprocess import preprocess
from headstart.models.registry import MODELS, describe_models, model_in_words, model_spec
from headstart.models.resnet import fold_batchnorm
from headstart.models.spec import ModelSpec, WeightsSource

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
