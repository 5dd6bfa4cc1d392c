"""Whether torch can compute on this machine's GPUs: builds that cannot fall back in silence, or fail late."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

_NVIDIA = (Path("/proc/driver/nvidia/gpus"), Path("/dev/nvidia0"))


def has_nvidia_gpu(places: Iterable[Path] = _NVIDIA, program: str = "nvidia-smi") -> bool:
    """Whether the system knows an NVIDIA GPU, whatever torch can do."""
    return any(place.exists() for place in places) or shutil.which(program) is not None


def is_cpu_build(version: str, cuda: str | None) -> bool:
    """Whether a torch computes on processors alone. cuda: torch.version.cuda, None where it is not known."""
    return version.endswith("+cpu") or (cuda is None and "+" not in version)


def has_code_for(capability: tuple[int, int], architectures: Iterable[str]) -> bool:
    """Whether a torch built for these architectures ("sm_80", "compute_90") runs on a GPU.

    Machine code runs on its own major version from its minor version up; "compute_" code is compiled on the
    spot for any later GPU."""
    major, minor = capability
    for name in architectures:
        match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[af]?", name)
        if match is None:
            continue
        kind, own_major, own_minor = match[1], int(match[2]), int(match[3])
        if kind == "sm" and own_major == major and own_minor <= minor:
            return True
        if kind == "compute" and (own_major, own_minor) <= (major, minor):
            return True
    return False


def gpu_fault(
    *, name: str, capability: tuple[int, int], architectures: Iterable[str], version: str
) -> tuple[str, str] | None:
    """(what is wrong, what to do) where torch has no code for the GPU; None where it has."""
    listed = list(architectures)
    if has_code_for(capability, listed):
        return None
    own = f"sm_{capability[0]}{capability[1]}"
    return (
        f"{name} is {own}, and torch {version} has code for {', '.join(listed) or 'no GPU'}",
        f"install a build of torch that has {own}, or hide the GPU: CUDA_VISIBLE_DEVICES= headstart ...",
    )


CPU_BUILD_FAULT = "cpu: an NVIDIA GPU is here, and this build of torch cannot use it"
CPU_BUILD_REMEDY = (
    "install a build of torch for GPUs: pip install --force-reinstall torch -c constraints-gpu.txt"
)
