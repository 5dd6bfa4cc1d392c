"""Peak memory of a trial on more images than fit into it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rounds import Contender, run_rounds
from summary import Column, Target

from sections.base import Bench, Report, problem_row

_COLUMNS: tuple[Column, ...] = (
    ("trial", "name", "s"),
    ("MB on disk", "megabytes_on_disk", ",.0f"),
    ("peak MiB", "peak_mebibytes", ",.0f"),
    ("seconds", "seconds", ".1f"),
)


def memory(bench: Bench) -> Report:
    """Peak memory of a frozen-probe trial on artificial memory-mapped images, a small and a large number of
    them."""
    pixels, counts = bench.sizes["memory_pixels"], bench.sizes["memory_images"]
    files = _artificial_images(bench.work / "artificial", max(counts), pixels)
    contenders = [_contender(bench, count, files) for count in counts]
    # Once each: a peak is not a matter of chance, and the second run would find its features cached.
    measured = run_rounds(contenders, 1, bench.pythons, bench.work / "logs" / "memory")
    rows = []
    for entry, count in zip(measured.values(), counts, strict=True):
        shutil.rmtree(bench.work / f"cache-memory-{count}", ignore_errors=True)
        if not entry.runs:
            rows.append(problem_row(entry))
            continue
        (run,) = entry.runs
        rows.append(
            {
                "name": entry.contender.name,
                "megabytes_on_disk": count * pixels * pixels * 3 / 1e6,
                "peak_mebibytes": run["peak_bytes"] / 2**20,
                "seconds": run["seconds"],
            }
        )
    Path(files["train_images_file"]).unlink()
    return Report(
        title=f"Peak memory of a frozen-probe trial, {pixels} px",
        columns=_COLUMNS,
        rows=rows,
        targets=_targets(rows),
        measured=measured,
    )


def _contender(bench: Bench, count: int, files: Mapping[str, str]) -> Contender:
    from headstart.store import cache_folder

    return Contender(
        name=f"{count:,} images",
        precision=bench.native,
        worker="ours_memory",
        config={
            "images": count,
            "pixels": bench.sizes["memory_pixels"],
            "real_cache_folder": str(cache_folder()),
            "cache_folder": str(bench.work / f"cache-memory-{count}"),
            **files,
        },
    )


def _targets(rows: Sequence[Mapping[str, Any]]) -> list[Target]:
    """rows: of the small trial, then of the large one."""
    small, large = (row.get("peak_mebibytes") for row in rows)
    apart = None if small is None or large is None else abs(large - small)
    return [
        Target(sentence="peak MiB of the large trial", value=large, limit=2048.0, at_least=False),
        Target(sentence="MiB apart from the small trial", value=apart, limit=200.0, at_least=False),
    ]


def _artificial_images(folder: Path, count: int, pixels: int) -> dict[str, str]:
    """Paths of `count` training and 1,000 test images: a coarse pattern for each class under noise, so that a
    probe can learn."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    coarse = generator.integers(40, 160, (10, 8, 8, 3), dtype=np.uint8)
    patterns = coarse.repeat(pixels // 8, 1).repeat(pixels // 8, 2)
    files = {}
    for part, size in (("train", count), ("test", 1_000)):
        labels = generator.permutation(np.arange(size) % 10)
        images = np.lib.format.open_memmap(
            folder / f"{part}_images.npy", "w+", np.uint8, (size, pixels, pixels, 3)
        )
        for start in range(0, size, 1_000):
            noise = generator.integers(0, 96, (min(1_000, size - start), pixels, pixels, 3), dtype=np.uint8)
            images[start : start + 1_000] = patterns[labels[start : start + 1_000]] + noise
        images.flush()
        np.save(folder / f"{part}_labels.npy", labels)
        files |= {f"{part}_{kind}_file": str(folder / f"{part}_{kind}.npy") for kind in ("images", "labels")}
    return files
