"""Headstart: train a CNN from scratch, or start from a pretrained ResNet - and what does each cost?

The command line calls the same functions:

    dataset = headstart.load_dataset("cifar10")            # types.Dataset: train and test ImageSet
    model = headstart.load_model("resnet50", weights="imagenet-keras")   # torch module with .preprocessing
    folder = headstart.run_study("cifar10-quick", out="runs/quick")
    table = headstart.load_results(folder)                 # pandas.DataFrame, a row a trial
    model = headstart.load_predictor(folder, arm="cnn")    # .probabilities(uint8 images) -> float32 (N, C)
    probe = headstart.TransferClassifier().fit(paths, y)   # the methods as a scikit-learn classifier
    summary = headstart.load_summary(folder)               # a row an arm: means over seeds, intervals
    comparison = headstart.compare(folder, "cnn", "probe") # effect, interval, verdict
    claims = headstart.judge_claims(folder)                # the study's own claims and their verdicts
    figures = headstart.load_figures(folder)               # the report's figures by name

`headstart.plots` draws from plain arrays; `headstart.show` puts any figure into a notebook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headstart.runtime.waiting import sleep_while_waiting
from headstart.version import __version__ as __version__

sleep_while_waiting()  # before any module imports torch

__all__ = [
    "Arm",
    "Study",
    "TransferClassifier",
    "compare",
    "find_study",
    "judge_claims",
    "load_dataset",
    "load_features",
    "load_figures",
    "load_gallery",
    "load_model",
    "load_predictor",
    "load_results",
    "load_summary",
    "plots",
    "run_study",
    "show",
    "write_image_folder",
]

if TYPE_CHECKING:
    from headstart import plots
    from headstart.data import load_dataset
    from headstart.data.as_folder import write_image_folder
    from headstart.estimator import TransferClassifier
    from headstart.methods.embeddings import load_features
    from headstart.models import load_model
    from headstart.predict.predictor import load_predictor
    from headstart.report.writers.notebook import load_figures, load_gallery, show
    from headstart.results.api import compare, find_study, judge_claims, load_summary
    from headstart.results.table import load_results
    from headstart.studies.run import run_study
    from headstart.types import Arm, Study

_HOMES = {
    "Arm": "headstart.types",
    "Study": "headstart.types",
    "TransferClassifier": "headstart.estimator",
    "compare": "headstart.results.api",
    "find_study": "headstart.results.api",
    "judge_claims": "headstart.results.api",
    "load_dataset": "headstart.data",
    "load_features": "headstart.methods.embeddings",
    "load_figures": "headstart.report.writers.notebook",
    "load_gallery": "headstart.report.writers.notebook",
    "load_model": "headstart.models",
    "load_predictor": "headstart.predict.predictor",
    "load_results": "headstart.results.table",
    "load_summary": "headstart.results.api",
    "run_study": "headstart.studies.run",
    "show": "headstart.report.writers.notebook",
    "write_image_folder": "headstart.data.as_folder",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: reading results must not import torch.
    import importlib

    if name == "plots":
        return importlib.import_module("headstart.plots")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'headstart' has no attribute {name!r}")
