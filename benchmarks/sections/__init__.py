"""What is measured: each section names its contenders, runs them, and returns rows, columns and targets."""

from __future__ import annotations

from collections.abc import Callable

from sections.base import SIZES, Bench, Report
from sections.busy import busy
from sections.cluster import cluster
from sections.frozen import features, int8, linear
from sections.head import head
from sections.memory import memory
from sections.serving import serving
from sections.start import start
from sections.training import threads, train, tutorial

SECTIONS: dict[str, Callable[[Bench], Report]] = {
    "train": train,
    "features": features,
    "linear": linear,
    "int8": int8,
    "head": head,
    "tutorial": tutorial,
    "memory": memory,
    "threads": threads,
    "busy": busy,
    "start": start,
    "serving": serving,
    "cluster": cluster,
}

__all__ = ["SECTIONS", "SIZES", "Bench", "Report"]
