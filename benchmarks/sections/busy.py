"""Beside other programs: what is left of the speed while one and two busy processes share the cores."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from competitors import THREADS
from rounds import Contender, Measured
from summary import Column, Target, rates

from sections.base import OURS, WIDTHS, Bench, Report, cifar10_files, problem_row

_BESIDE = (0, 1, 2)
_LIMIT = 0.8  # of the fair share
_PYTORCH = "PyTorch step"


def busy(bench: Bench) -> Report:
    """Our training step, features and int8, and plain PyTorch's step, beside 0, 1 and 2 busy processes."""
    measured = bench.run("busy", contenders(bench), 5)
    rows = [share_row(entry, measured[entry.contender.alone.key]) for entry in measured.values()]
    columns: tuple[Column, ...] = (
        ("work", "name", "s"),
        ("precision", "precision", "s"),
        ("beside", "beside", "d"),
        ("runs", "runs", "d"),
        ("images/s", "images_per_second", ".1f"),
        ("of its fair share", "of_fair_share", ".2f"),
        ("lowest", "lowest", ".2f"),
        ("highest", "highest", ".2f"),
    )
    return Report(
        title=f"Beside busy processes of {THREADS} threads each",
        columns=columns,
        rows=rows,
        targets=list(map(_target, (row for row in rows if row["beside"]))),
        measured=measured,
    )


def contenders(bench: Bench) -> list[Contender]:
    """Every work beside every number of busy processes, with as many threads as those have."""
    sizes = bench.sizes
    files = cifar10_files(bench)
    step = {"batch_size": sizes["batch_size"] // 2, "widths": WIDTHS, "steps": 1}
    extraction = files | {"pixels": sizes["pixels"]}
    count = sizes["busy_features"]
    works = (
        (f"{OURS} step", bench.native, "ours_train", step | files),
        (_PYTORCH, bench.native, "torch_step", step),
        (f"{OURS} features", bench.native, "ours_features", extraction | {"counts": [count]}),
        (f"{OURS} features", "int8", "ours_features", extraction | {"counts": [2 * count]}),
    )
    return [
        dataclasses.replace(alone, beside=beside)
        for name, precision, worker, config in works
        for alone in [
            Contender(
                name=name,
                precision=precision,
                worker=worker,
                threads=THREADS,
                config=config | {"cache_folder": str(bench.work / f"cache-busy-{precision}")},
            )
        ]
        for beside in _BESIDE
    ]


def share_row(entry: Measured, alone: Measured) -> dict[str, Any]:
    """The speed, and the share of the processor that the work could use.

    A fair share is as much processor time as each of the processes beside it had meanwhile. Of that, what the
    work needs alone (the least of its runs) is what it could use; the rest went by while its threads waited.
    Third programs take from both alike."""
    beside = entry.contender.beside
    if not entry.runs or not alone.runs:
        return problem_row(entry) | {"beside": beside}
    speeds = rates(entry.runs)
    needed = min(run["cpu_seconds"] for run in alone.runs)
    shares = [needed / run["beside_cpu_seconds"] for run in entry.runs] if beside else []
    return {
        "name": entry.contender.name,
        "precision": entry.contender.precision,
        "beside": beside,
        "runs": len(speeds),
        "images_per_second": statistics.median(speeds),
        "of_fair_share": statistics.median(shares) if beside else None,
        "lowest": min(shares) if beside else None,
        "highest": max(shares) if beside else None,
    }


def _target(row: Mapping[str, Any]) -> Target:
    return Target(
        sentence=f"{row['name']}, {row['precision']}, beside {row['beside']}: its share of a fair share",
        value=row.get("of_fair_share"),
        limit=_LIMIT,
        judged=row["name"] != _PYTORCH,
    )
