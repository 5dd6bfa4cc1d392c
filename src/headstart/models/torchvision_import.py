"""Makes torchvision's published wheel importable beside a CPU build of torch; timm imports torchvision too.

That wheel is built against a CUDA torch: its library of operators does not load, and importing it stops at
"operator torchvision::nms does not exist". Naming the operators is enough: no network or transform uses them.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: torch.library.Library | None = None  # the operators live as long as this object


def import_torchvision() -> ModuleType:
    """torchvision, imported; the two operators that a build of another torch lacks are named where that is
    needed.

    Raises: ImportError where it is not installed."""
    global _library
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    # Its first import stopped half-way: what is left of it would be found instead of imported.
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    if _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            _library.define(schema)  # type: ignore[no-untyped-call]
    return _import()


def _import() -> ModuleType:
    with warnings.catch_warnings():
        # it warns that its own image reader does not load; images come from Pillow here
        warnings.simplefilter("ignore")
        return importlib.import_module("torchvision")
