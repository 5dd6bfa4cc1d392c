"""Measures the CNN on a CUDA GPU beside cifar10-airbench's own script, and where its time goes; prints a
table, writes JSON.

    python benchmarks/gpu.py                        everything, seeds 0 to 4
    python benchmarks/gpu.py airbench --seeds 0 1   one section
    python benchmarks/gpu.py product profile

Sections: product (the machine's own matrix products), airbench (side by side, seed by seed in turn), profile
(GPU time by kind of kernel, of training the CNN and of fine-tuning ResNet-50). Needs
benchmarks/requirements-gpu.txt beside the project, a CUDA build of torch with its torchvision, and CIFAR-10
in the cache or within reach. Exit codes: 0 all measured, 1 something failed (the JSON says what), 2 no CUDA
GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from gpu_airbench import compare_with_airbench  # noqa: E402
from gpu_profile import STUDY, profile_training  # noqa: E402
from gpu_report import PEER, Report, text_of  # noqa: E402
from rounds import say  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Run the sections that are asked for; the exit code, see the head of this file."""
    args = _parse(arguments)
    import torch

    if not torch.cuda.is_available():
        built = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no device"
        print(
            f"no CUDA GPU here: {built} (torch {torch.__version__}); run it on a machine with one",
            file=sys.stderr,
        )
        return 2
    report = Report(args.out)
    report.content |= {
        "what": "gpu",
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": _environment(),
        "command": " ".join(["benchmarks/gpu.py", *args.sections, "--seeds", *map(str, args.seeds)]),
    }
    for name in args.sections or SECTIONS:
        with report.guard(name):
            SECTIONS[name](report, args)
        report.write()
    print(f"\n{text_of(report.content)}\n", flush=True)
    say(f"written to {args.out}")
    return int(bool(report.content["problems"]))


def _environment() -> dict[str, Any]:
    import importlib.metadata

    import torch

    from headstart.runtime.precision import default_device, resolve_precision
    from headstart.studies.trial import environment

    device = default_device()
    peers = {}
    for name in (PEER, "torchvision"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            peers[name] = importlib.metadata.version(name)
    about = torch.cuda.get_device_properties(device)
    return (
        environment(device, resolve_precision("auto", device))
        | peers
        | {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "gpu_memory_bytes": about.total_memory,
            "multiprocessors": about.multi_processor_count,
        }
    )


def measure_product(report: Report, args: argparse.Namespace, side: int = 8192, runs: int = 10) -> None:
    """TFLOP/s of a product of two (side, side) matrices by number format, float32 without TF32: median,
    lowest, highest."""
    import torch

    products = {}
    for name, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        a, b = (
            torch.randn(side, side, device="cuda", generator=torch.Generator("cuda").manual_seed(seed)).to(
                kind
            )
            for seed in (0, 1)
        )
        rates = []
        for _ in range(3 + runs):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            a @ b
            end.record()
            torch.cuda.synchronize()
            rates.append(2 * side**3 / (begin.elapsed_time(end) / 1e3) / 1e12)
        kept = rates[3:]  # the first ones choose the kernel and raise the clock
        products[name] = {
            "tflops": statistics.median(kept),
            "lowest": min(kept),
            "highest": max(kept),
            "runs": runs,
            "side": side,
        }
    report.content["product"] = products


SECTIONS: dict[str, Callable[[Report, argparse.Namespace], None]] = {
    "product": measure_product,
    PEER: compare_with_airbench,
    "profile": profile_training,
}


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sections", nargs="*", metavar="section", help=f"of {', '.join(SECTIONS)}; none: all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default 0 1 2 3 4")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / STUDY, help="folder of our trials; default %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results" / "gpu.json", help="JSON file; default %(default)s"
    )
    args = parser.parse_args(arguments)
    for name in args.sections:
        if name not in SECTIONS:
            parser.error(f"unknown section {name!r}; choose from {', '.join(SECTIONS)}")
    if min(args.seeds) < 0 or len(set(args.seeds)) != len(args.seeds):
        parser.error(f"--seeds must be different whole numbers from 0 up, got {args.seeds}")
    args.runs, args.out = args.runs.resolve(), args.out.resolve()
    return args


if __name__ == "__main__":
    sys.exit(main())
