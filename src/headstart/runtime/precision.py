"""Which arithmetic a device does natively: decided once, shown by `doctor`, stored in every result."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

import torch

from headstart.errors import ConfigError

NATIVE_PRECISIONS = ("bf16", "fp32")  # what "auto" may become, by machine
PRECISIONS = ("auto", *NATIVE_PRECISIONS)
FEATURE_PRECISIONS = ("auto", "bf16", "fp32", "int8")
# Values of oneDNN's own ONEDNN_MAX_CPU_ISA under which it does bf16 products in float32, on any processor.
_ONEDNN_LIMITS_BELOW_BF16 = frozenset(
    ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
)


def default_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpu_uuid(device: torch.device) -> str | None:
    """The GPU's name for its driver, "GPU-...", or None for another device."""
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}" if device.type == "cuda" else None


def has_native_bf16(device: torch.device) -> bool:
    """Whether bf16 products are done in hardware: a GPU that says so, or a CPU with AVX512-BF16 or AMX.

    On a CPU that ONEDNN_MAX_CPU_ISA limits to older instructions they are not: oneDNN obeys it, and torch's
    own answer, which is the processor's, does not."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _ONEDNN_LIMITS_BELOW_BF16:
        return False
    asked = [
        getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ]
    return any(ask() for ask in asked if ask is not None)


def resolve_precision(asked: str, device: torch.device) -> str:
    """ "bf16" or "fp32" for "auto", "bf16" or "fp32". Raises: ConfigError for anything else."""
    if asked not in PRECISIONS:
        raise ConfigError(f"precision {asked!r} is not one of {', '.join(PRECISIONS)}")
    if asked == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return asked


def autocast(precision: str, device: torch.device, cache: bool = True) -> AbstractContextManager[object]:
    """The context in which a network computes: bf16 products with float32 weights and sums, or plain float32.

    cache: on a GPU, keep the weights' bf16 copies until the context ends."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16, cache_enabled=cache and device.type == "cuda")
    return nullcontext()


def resolve_feature_precision(asked: str, device: torch.device) -> str:
    """The precision of frozen layers: "auto" is what training would use. Raises: ConfigError."""
    if asked not in FEATURE_PRECISIONS:
        raise ConfigError(f"feature precision {asked!r} is not one of {', '.join(FEATURE_PRECISIONS)}")
    return resolve_precision("auto", device) if asked == "auto" else asked
