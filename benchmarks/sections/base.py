"""What the sections share: how a benchmark runs, what a finished section holds, rows of throughput."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Contender, Measured, run_rounds
from summary import Column, Target, table, throughput_row

WIDTHS = (64, 256, 256)
OURS = "headstart"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """How and where to run.

    pythons: by environment, "ours" and "peers". native: "bf16" where the processor multiplies it in hardware,
    else "fp32": what our side runs in. Emulated bf16 is far slower than fp32, so it gets no row there, and
    what is promised for native bf16 is reported and not judged. rounds: None for each section's own. sizes:
    small or real, see SIZES."""

    pythons: Mapping[str, Path]
    native: str
    work: Path  # for arrays, caches and logs; its content may go when the benchmark ends
    rounds: int | None
    sizes: Mapping[str, Any]

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions that contenders run in, the native one first."""
        return tuple(dict.fromkeys((self.native, "fp32")))

    def target(self, *, sentence: str, value: float | None, limit: float) -> Target:
        """A target promised for native bf16 alone."""
        return Target(sentence=sentence, value=value, limit=limit, judged=self.native == "bf16")

    def run(
        self, section: str, contenders: Sequence[Contender], rounds: int, **options: Any
    ) -> dict[str, Measured]:
        return run_rounds(
            contenders, self.rounds or rounds, self.pythons, self.work / "logs" / section, **options
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """A finished section: its table, the targets that it judges, and every contender's runs."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    targets: Sequence[Target]
    measured: Mapping[str, Measured]

    def text(self) -> str:
        lines = [f"## {self.title}", "", table(self.columns, self.rows)]
        if self.targets:
            lines += ["", *(target.line() for target in self.targets)]
        return "\n".join(lines)


# steps: of the training batch, a run; *_counts: images of a run. A run of the sections with SLICES rounds
# takes a second or two: where the machine's speed swings within minutes, contenders meet the same machine.
SLICES = 15
SIZES: dict[str, dict[str, Any]] = {
    "real": {
        "batch_size": 500,
        "warm_steps": 2,
        "steps": {"bf16": 2, "fp32": 1},
        "pixels": 128,
        "feature_counts": {"bf16": 256, "fp32": 128, "int8": 256},
        "linear_counts": [1_000, 10_000, 50_000],
        "head_images": None,
        "head_pixels": 96,
        "l2_values": None,
        "tutorial_images": None,
        "epochs": 10,
        "memory_images": [10_000, 100_000],
        "memory_pixels": 96,
        "int8_images": None,
        "busy_features": 32,
        "serving_seconds": 5,
        "cluster_trials": 24,
    },
    "quick": {
        "batch_size": 50,
        "warm_steps": 1,
        "steps": {"bf16": 1, "fp32": 1},
        "pixels": 64,
        "feature_counts": {"bf16": 64, "fp32": 64, "int8": 64},
        "linear_counts": [64, 128, 256],
        "head_images": 640,
        "head_pixels": 64,
        "l2_values": [0.1, 0.03, 0.01],
        "tutorial_images": 2_000,
        "epochs": 1,
        "memory_images": [300, 600],
        "memory_pixels": 64,
        "int8_images": 400,
        "busy_features": 32,
        "serving_seconds": 1,
        "cluster_trials": 8,
    },
}


def cifar10_files(bench: Bench, *, count: int | None = None) -> dict[str, Any]:
    """Paths of .npy files in the work folder: CIFAR-10's training images and labels, and the ids of its
    split.

    count: the first so many images only (their split keeps the same proportion)."""
    from headstart.data import load_dataset
    from headstart.data.splits import validation_split

    folder = bench.work / f"cifar10-{count or 'all'}"
    names = ("images", "labels", "train_ids", "val_ids")
    files = {f"{name}_file": str(folder / f"{name}.npy") for name in names}
    if not folder.exists():
        folder.mkdir(parents=True)
        part = load_dataset("cifar10").train
        images, labels = part.images[:count], part.labels[:count]
        split = validation_split(labels, part.fingerprint, len(labels) // 10)
        for name, array in zip(names, (images, labels, *split), strict=True):
            np.save(folder / f"{name}.npy", array)
    return files


@contextlib.contextmanager
def cache_folder(folder: Path) -> Iterator[None]:
    """Set the cache folder of this process for a while."""
    before = os.environ.get("HEADSTART_CACHE")
    os.environ["HEADSTART_CACHE"] = str(folder)
    try:
        yield
    finally:
        del os.environ["HEADSTART_CACHE"]
        if before is not None:
            os.environ["HEADSTART_CACHE"] = before


PROBLEM_COLUMNS: tuple[Column, ...] = (("who", "name", "s"), ("precision", "precision", "s"))


def throughput_columns(native: str) -> tuple[Column, ...]:
    return (
        ("who", "name", "s"),
        ("precision", "precision", "s"),
        ("runs", "runs", "d"),
        ("images/s", "images_per_second", ".1f"),
        ("lowest", "lowest", ".1f"),
        ("highest", "highest", ".1f"),
        ("GFLOP/s", "gflops", ".0f"),
        (f"of {native} products", f"fraction_of_{native}_product", ".2f"),
        *((("of its own precision's", "fraction_of_own_product", ".2f"),) if native == "bf16" else ()),
        (f"our {native} is faster by", "ours_is_faster_by", ".2f"),
        ("95 %", "interval", "s"),
    )


def problem_row(entry: Measured) -> dict[str, Any]:
    return {"name": entry.contender.name, "precision": entry.contender.precision, "note": entry.problem}


def contender_row(entry: Measured, flops_per_image: float, ours: Measured) -> dict[str, Any]:
    """The contender's row of throughput; of one that failed, the reason."""
    if not entry.runs:
        return problem_row(entry)
    own = entry.contender.key == ours.contender.key
    row = throughput_row(
        entry.contender.name,
        entry.contender.precision,
        entry.runs,
        flops_per_image,
        None if own or not ours.runs else ours.runs,
    )
    row["fraction_of_own_product"] = row.get(f"fraction_of_{entry.contender.precision}_product")
    chosen = [f"{key} {entry.about[key]}" for key in ("num_workers", "jit_compile") if key in entry.about]
    return row | {"note": ", ".join(chosen) or None}
