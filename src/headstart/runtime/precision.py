"""Choose the arithmetic that a device does natively; `doctor` shows it and every result stores it. Checking a
choice of precision imports no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from headstart.errors import ConfigError
from headstart.runtime.cores import instructions

if TYPE_CHECKING:
    import torch

NATIVE_PRECISIONS = ("bf16", "fp32")  # what "auto" may become, by machine
PRECISIONS = ("auto", *NATIVE_PRECISIONS)
FEATURE_PRECISIONS = ("auto", "fast", "bf16", "fp32", "int8")
# Values of oneDNN's own ONEDNN_MAX_CPU_ISA under which it does bf16 products in float32, on any processor.
_ONEDNN_LIMITS_BELOW_BF16 = frozenset(
    ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
)


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpu_uuid(device: torch.device) -> str | None:
    """The GPU's name for its driver, "GPU-...", or None for another device."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else None


def has_native_bf16(device: torch.device) -> bool:
    """Whether the device computes bf16 products in hardware: such a GPU, or a CPU with AVX512-BF16 or AMX.

    A CPU that ONEDNN_MAX_CPU_ISA limits to older instructions does not: oneDNN obeys it, and torch's own
    answer, which is the processor's, does not."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or _is_limited_below_bf16():
        return False
    checks = [
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ]
    return any(check() for check in checks if check is not None)


def processor_has_native_bf16() -> bool | None:
    """As has_native_bf16 of the CPU, without loading torch; None where no instructions are listed."""
    listed = instructions()
    if listed is None:
        return None
    return not _is_limited_below_bf16() and not listed.isdisjoint(("avx512_bf16", "amx_tile"))


def _is_limited_below_bf16() -> bool:
    return os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _ONEDNN_LIMITS_BELOW_BF16


def resolve_precision(precision: str, device: torch.device) -> str:
    """Resolve "auto", "bf16" or "fp32" to "bf16" or "fp32".

    Raises: ConfigError for anything else."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return precision


def autocast(precision: str, device: torch.device, cache: bool = True) -> AbstractContextManager[object]:
    """Make the context in which a network computes.

    "bf16": bf16 products with float32 weights and sums; else plain float32. cache: on a GPU, keep the
    weights' bf16 copies until the context ends."""
    if precision == "bf16":
        import torch

        return torch.autocast(device.type, torch.bfloat16, cache_enabled=cache and device.type == "cuda")
    return nullcontext()


def resolve_feature_precision(precision: str, device: torch.device) -> str:
    """Resolve the precision of frozen layers to "bf16", "fp32" or "int8".

    "auto" is the precision of training. "fast" is int8 on a processor without native bf16 where the extra
    int8 is installed, else as "auto".
    Raises: ConfigError for anything but FEATURE_PRECISIONS."""
    if precision not in FEATURE_PRECISIONS:
        raise ConfigError(f"feature precision {precision!r} is not one of {', '.join(FEATURE_PRECISIONS)}")
    if precision == "fast" and device.type == "cpu" and not has_native_bf16(device) and _has_int8():
        return "int8"
    return resolve_precision("auto", device) if precision in ("auto", "fast") else precision


def possible_precisions(precision: str) -> Sequence[str]:
    """What a study's choice of precision may have become on another machine; nothing where it names one."""
    return {"auto": NATIVE_PRECISIONS, "fast": (*NATIVE_PRECISIONS, "int8")}.get(precision, ())


def _has_int8() -> bool:
    return all(find_spec(name) is not None for name in ("onnx", "onnxruntime"))
