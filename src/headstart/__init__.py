"""Headstart: train a CNN from scratch, or start from a pretrained ResNet - and what does each cost?

The public API is what the command line itself calls:

    dataset = headstart.load_dataset("cifar10")            # types.Dataset: train and test ImageSet
    model = headstart.load_model("resnet50", weights="imagenet-keras")   # torch module with .preprocessing
    folder = headstart.run_study("cifar10-quick", out="runs/quick")
    table = headstart.load_results(folder)                 # pandas.DataFrame, a row a trial
    model = headstart.load_predictor(folder, arm="cnn")    # .probabilities(uint8 images) -> float32 (N, C)
    probe = headstart.TransferClassifier().fit(paths, y)   # the methods as a scikit-learn classifier
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["TransferClassifier", "load_dataset", "load_model", "load_predictor", "load_results", "run_study"]

if TYPE_CHECKING:
    from headstart.data import load_dataset
    from headstart.estimator import TransferClassifier
    from headstart.launch import run_study
    from headstart.models import load_model
    from headstart.predict import load_predictor
    from headstart.store import load_results

_HOMES = {"load_dataset": "headstart.data", "load_model": "headstart.models", "load_results": "headstart.store",
          "run_study": "headstart.launch", "load_predictor": "headstart.predict",
          "TransferClassifier": "headstart.estimator"}  # fmt: skip


def __getattr__(name: str) -> Any:
    # Looked up on first use: reading results must not import torch.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'headstart' has no attribute {name!r}")
