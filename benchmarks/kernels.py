"""Where a GPU's time goes: kernels of a profiler's trace, grouped by what they do for the training; no GPU,
no clock.

A kernel's name tells a convolution from a pooling, not an optimiser's addition from a residual sum. The trace
tells which operators were open when the kernel was launched (its scopes): they decide first, names where they
say nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BATCHES = "batches: augmentation, indexing"
FORWARD = "convolutions, forward"
BACKWARD = "convolutions, backward"
LAYERS = "normalisation, pooling, activation, sums"
MUON = "Muon's matrix products"
OPTIMISER = "optimiser, the rest"
PRODUCTS = "other matrix products"
COPIES = "copies and casts"
OTHER = "other"
GROUPS = (FORWARD, BACKWARD, LAYERS, MUON, OPTIMISER, BATCHES, PRODUCTS, COPIES, OTHER)

BATCH_SCOPE = "headstart.batch"  # the benchmark marks the making of a batch with it
_OPTIMISER_SCOPE = "optimizer.step#"  # torch marks every optimiser's step so
_PRODUCT_NAMES = ("gemm", "gemv", "nvjet", "cutlass", "splitk")
# Of the names in a row, and of the scopes, the first that is met decides. Lower case.
_BY_SCOPE = (
    (BACKWARD, ("convolution_backward", "convolutionbackward")),
    (FORWARD, ("aten::convolution", "aten::_convolution", "aten::cudnn_convolution")),
    (
        LAYERS,
        (
            "batch_norm",
            "batchnorm",
            "max_pool",
            "maxpool",
            "aten::relu",
            "relubackward",
            "aten::gelu",
            "gelubackward",
            "aten::amax",
            "amaxbackward",
            "aten::mean",
            "meanbackward",
        ),
    ),
)
_BY_NAME = (
    (BACKWARD, ("dgrad", "wgrad", "bwd_data", "bwd_filter")),
    (FORWARD, ("fprop", "convolve", "conv2d", "winograd")),
    (
        LAYERS,
        ("batch_norm", "batchnorm", "::bn_", "bn_fw", "bn_bw", "pool", "relu", "gelu", "threshold", "clamp"),
    ),
    (OPTIMISER, ("multi_tensor_apply",)),
    (BATCHES, ("index", "gather")),
    (COPIES, ("copy", "memcpy", "memset", "nchwtonhwc", "nhwctonchw", "catarray")),
    (PRODUCTS, _PRODUCT_NAMES),
    (LAYERS, ("functor_add",)),
)


def group_of(name: str, scopes: Sequence[str] = ()) -> str:
    """One of GROUPS for a kernel. scopes: names of the operators and marks that were open at its launch,
    outermost first."""
    kernel, around = name.lower(), " ".join(scopes).lower()
    if BATCH_SCOPE in around:
        return BATCHES
    if _OPTIMISER_SCOPE in around:
        return MUON if "muon" in around and _has(kernel, _PRODUCT_NAMES) else OPTIMISER
    for text, table in ((around, _BY_SCOPE), (kernel, _BY_NAME)):
        for group, parts in table:
            if _has(text, parts):
                return group
    return OTHER


def _has(text: str, parts: Iterable[str]) -> bool:
    return any(part in text for part in parts)


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel, copy or fill that ran on the GPU; times in microseconds of the trace's clock."""

    name: str
    start: float
    duration: float
    scopes: tuple[str, ...] = ()


def kernels_of(events: Iterable[Mapping[str, Any]]) -> list[Kernel]:
    """What ran on the GPU, of the "traceEvents" of a trace that torch.profiler exported."""
    by_thread: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    ran = []
    for event in events:
        if event.get("ph") != "X":
            continue
        kind = event.get("cat")
        if kind in ("kernel", "gpu_memcpy", "gpu_memset"):
            ran.append(event)
        elif kind in ("cpu_op", "user_annotation", "cuda_runtime", "cuda_driver"):
            by_thread[event.get("tid")].append(event)
    scopes: dict[Any, tuple[str, ...]] = {}
    for thread in by_thread.values():
        scopes |= _scopes_of_launches(thread)
    return [
        Kernel(
            name=event["name"],
            start=float(event["ts"]),
            duration=float(event.get("dur", 0)),
            scopes=scopes.get(event.get("args", {}).get("correlation"), ()),
        )
        for event in ran
    ]


def _scopes_of_launches(events: list[Mapping[str, Any]]) -> dict[Any, tuple[str, ...]]:
    """Correlation number -> names of what was open on this thread when it was launched, outermost first."""
    scopes: dict[Any, tuple[str, ...]] = {}
    stack: list[tuple[float, str]] = []  # (end, name)
    for event in sorted(events, key=lambda event: (event["ts"], -event.get("dur", 0))):
        while stack and stack[-1][0] < event["ts"]:
            stack.pop()
        if event["cat"] in ("cuda_runtime", "cuda_driver"):
            # A launch of the runtime may call the driver's under the same number: the outer one has the same
            # scopes.
            scopes.setdefault(event.get("args", {}).get("correlation"), tuple(name for _, name in stack))
        else:
            stack.append((event["ts"] + event.get("dur", 0), event["name"]))
    scopes.pop(None, None)
    return scopes


def busy_microseconds(kernels: Sequence[Kernel]) -> float:
    """Time in which at least one of them ran: what ran at once counts once."""
    busy, until = 0.0, float("-inf")
    for kernel in sorted(kernels, key=lambda kernel: kernel.start):
        end = kernel.start + kernel.duration
        busy += max(0.0, end - max(kernel.start, until))
        until = max(until, end)
    return busy


def time_by_group(kernels: Sequence[Kernel]) -> list[dict[str, Any]]:
    """A row a group, longest first: kernels, microseconds, fraction of all kernel time. Empty where nothing
    ran."""
    total = sum(kernel.duration for kernel in kernels)
    rows = []
    for group in GROUPS:
        taken = [kernel.duration for kernel in kernels if group_of(kernel.name, kernel.scopes) == group]
        if taken and total:
            rows.append(
                {
                    "group": group,
                    "kernels": len(taken),
                    "microseconds": sum(taken),
                    "fraction": sum(taken) / total,
                }
            )
    return sorted(rows, key=lambda row: -row["microseconds"])


def longest(kernels: Sequence[Kernel], count: int) -> list[dict[str, Any]]:
    """The `count` kernel names with most time in all, each within its group: number, microseconds,
    fraction."""
    total = sum(kernel.duration for kernel in kernels)
    taken: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kernel in kernels:
        taken[kernel.name, group_of(kernel.name, kernel.scopes)].append(kernel.duration)
    order = sorted(taken, key=lambda key: -sum(taken[key]))[:count]
    return [
        {
            "name": key[0][:200],
            "group": key[1],
            "kernels": len(taken[key]),
            "microseconds": sum(taken[key]),
            "fraction": sum(taken[key]) / total if total else 0.0,
        }
        for key in order
    ]
