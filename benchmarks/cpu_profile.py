"""Where a training step's and an extraction's time goes on this processor; prints tables, writes JSON.

    .venv/bin/python benchmarks/cpu_profile.py                  native precision
    .venv/bin/python benchmarks/cpu_profile.py --precision bf16 needs AVX512-BF16 or AMX: emulated elsewhere

First each operator's share of one training step of the CNN and of one batch of ResNet-50's features, then
each convolution alone, beside the machine's own matrix product: forward, input gradient, weight gradient, and
the weight gradient as one matrix product for each place of the kernel. About 5 minutes on 2 idle cores.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from layers import PASSES, convolutions, layer_rows  # noqa: E402
from summary import Column, processor_kind, table  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

import headstart  # noqa: E402, F401  (before torch)
from headstart.models import load_model  # noqa: E402
from headstart.models.cnn import CNN  # noqa: E402
from headstart.runtime.cores import instructions, processor_name, usable_cores  # noqa: E402
from headstart.runtime.memory import keep_freed_memory  # noqa: E402
from headstart.runtime.precision import autocast, has_native_bf16, resolve_precision  # noqa: E402

_CPU = torch.device("cpu")
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# The first group one of whose words is in an operator's name has it; lower case.
GROUPS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("convolution",),
    "max-pooling": ("max_pool",),
    "BatchNorm": ("batch_norm",),
    "ReLU": ("relu", "threshold", "clamp"),
    "matrix products": ("mm", "linear"),
    "copies and casts": ("copy", "to_copy", "contiguous", "fill", "zero"),
}


def group_of(operator: str) -> str:
    """The group of an operator's name, e.g. "aten::max_pool2d_with_indices"."""
    name = operator.lower()
    return next((group for group, words in GROUPS.items() if any(word in name for word in words)), "the rest")


def share_rows(events: Iterable[tuple[str, float]]) -> list[dict[str, Any]]:
    """A row a group, longest first: milliseconds and share. events: operator and its own microseconds."""
    taken: dict[str, float] = {}
    for name, microseconds in events:
        taken[group_of(name)] = taken.get(group_of(name), 0.0) + microseconds
    total = sum(taken.values())
    return [
        {"group": group, "milliseconds": each / 1000, "share": each / total}
        for group, each in sorted(taken.items(), key=lambda item: -item[1])
    ]


def operator_shares(work: Callable[[], object], rounds: int) -> list[dict[str, Any]]:
    """Each group's share of so many repetitions, after one to warm up."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        for _ in range(rounds):
            work()
    return share_rows(
        (event.key, event.self_cpu_time_total / rounds)
        for event in measured.key_averages()
        if event.key.startswith(("aten::", "mkldnn::"))
    )


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints and writes; 0."""
    args = _parse(arguments)
    keep_freed_memory()
    precision = resolve_precision(args.precision, _CPU)
    about = {
        "processor": processor_name(),
        "kind": processor_kind(instructions()),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "precision": precision,
        "native_bf16": has_native_bf16(_CPU),
        "load_before": os.getloadavg()[0],
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    if not about["native_bf16"]:
        print("bf16 is emulated here: for its numbers run this on AVX512-BF16 or AMX")
    model = CNN(10, 32).train()
    x = torch.rand(args.batch, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.zeros(len(x), dtype=torch.int64)
    resnet = load_model("resnet50", "none", image_pixels=args.pixels)
    photos = torch.rand(64, 3, args.pixels, args.pixels).to(memory_format=torch.channels_last)

    def step() -> None:
        with autocast(precision, _CPU):
            logits = model(x)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def extract() -> None:
        with autocast(precision, _CPU):
            resnet.forward_features(photos)

    dtype = _DTYPES[precision]
    result: dict[str, Any] = {"about": about}
    for what, work in (("training step", step), ("extraction", extract)):
        result[what] = operator_shares(work, args.rounds)
        _show(f"Operators of one {what}", _SHARES, result[what])
    for what, network, sample, batch in (
        ("training step", model.eval(), x[:1], len(x)),
        ("extraction", resnet, photos[:1], len(photos)),
    ):
        counts = convolutions(network, sample, batch)
        rows = layer_rows(counts, dtype, args.rounds, backward=what == "training step")
        result[f"layers of {what}"] = rows
        _show(f"Convolutions of one {what}: GFLOP/s, and share of the matrix product's", _LAYERS, rows)
    if args.out:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


_SHARES: tuple[Column, ...] = (
    ("group", "group", "s"),
    ("ms", "milliseconds", ".0f"),
    ("share", "share", ".3f"),
)
_LAYERS: tuple[Column, ...] = (
    ("layer", "layer", "s"),
    ("times", "times", "d"),
    ("GFLOP", "gflop", ".1f"),
    *((name, name, ".0f") for name in PASSES),
    *((f"{name}, share", f"{name} share", ".2f") for name in PASSES),
)


def _show(title: str, columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> None:
    present = [column for column in columns if any(column[1] in row for row in rows)]
    print(f"\n## {title}\n\n{table(present, rows)}", flush=True)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="auto", help="auto, bf16 or fp32")
    parser.add_argument("--batch", type=int, default=500, help="images of the training step")
    parser.add_argument("--pixels", type=int, default=128, help="input size of ResNet-50")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a JSON file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
