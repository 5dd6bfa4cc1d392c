"""Makes torchvision's registry wheel importable beside a CPU build of torch; import this before torchvision.

That wheel is built against a CUDA torch: its library of operators does not load, and importing it stops at
"operator torchvision::nms does not exist". Naming the operators is enough: no transform uses them.
"""

from __future__ import annotations

import contextlib

import torch

_library = torch.library.Library("torchvision", "DEF")
for _schema in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):  # fmt: skip
    with contextlib.suppress(RuntimeError):  # a build that matches has already defined it
        _library.define(_schema)
