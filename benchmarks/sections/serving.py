"""The server under load, beside LitServe and FastAPI with torch: one network, 1, 8 and 64 clients."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from rounds import Contender, Measured
from summary import Column, Target, paired_ratio

from sections.base import OURS, Bench, Report, problem_row

_CLIENTS = (1, 8, 64)
_LITSERVE = "LitServe"
_SERVERS = (
    (f"{OURS} serve", "fp32", "predict"),
    (f"{OURS} serve", "int8", "int8"),
    (_LITSERVE, "fp32", "litserve"),
    ("FastAPI + torch", "fp32", "fastapi"),
)
_EXTRA_MS = 5.0  # what a request may take beside the model, at one client


def serving(bench: Bench) -> Report:
    """Requests a second, latencies and memory of each server; each round, every server in turn."""
    folder = bench.work / "serving"
    folder.mkdir(exist_ok=True)
    contenders = [
        Contender(
            name=name,
            precision=precision,
            worker="serving",
            config={
                "server": server,
                "folder": str(folder),
                "peers": str(bench.pythons["peers"]),
                "pixels": bench.sizes["pixels"],
                "clients": list(_CLIENTS),
                "seconds": bench.sizes["serving_seconds"],
            },
        )
        for name, precision, server in _SERVERS
    ]
    measured = bench.run("serving", contenders, 5)
    rows = [row for entry in measured.values() for row in _rows(entry)]
    columns: tuple[Column, ...] = (
        ("server", "name", "s"),
        ("precision", "precision", "s"),
        ("clients", "clients", "d"),
        ("runs", "runs", "d"),
        ("requests/s", "per_second", ".1f"),
        ("p50, ms", "p50", ".1f"),
        ("p99, ms", "p99", ".1f"),
        ("errors", "errors", "d"),
        ("memory, MB", "megabytes", ".0f"),
    )
    return Report(
        title=f"ResNet-50 probe at {bench.sizes['pixels']} px behind an address",
        columns=columns,
        rows=rows,
        targets=_targets(measured),
        measured=measured,
    )


def _rows(entry: Measured) -> list[dict[str, Any]]:
    if not entry.runs:
        return [problem_row(entry)]
    rows = []
    for place, clients in enumerate(_CLIENTS):
        points = [run["points"][place] for run in entry.runs]
        rows.append(
            {
                "name": entry.contender.name,
                "precision": entry.contender.precision,
                "clients": clients,
                "runs": len(points),
                "per_second": statistics.median(point["per_second"] for point in points),
                "p50": 1000 * statistics.median(point["p50"] for point in points),
                "p99": 1000 * statistics.median(point["p99"] for point in points),
                "errors": sum(point["errors"] for point in points),
                "megabytes": max(run["bytes"] for run in entry.runs) / 1e6,
            }
        )
    return rows


def _targets(measured: Mapping[str, Measured]) -> list[Target]:
    ours, int8, litserve, _ = measured.values()
    targets = []
    for place, clients in enumerate(_CLIENTS):
        for entry, limit in ((ours, 1.0), (int8, 1.8)):
            name = f"our {entry.contender.precision} requests/s against {_LITSERVE}'s, {clients} clients"
            targets.append(
                Target(sentence=name, value=_ratio(entry, litserve, place, "per_second"), limit=limit)
            )
        targets.append(
            Target(
                sentence=f"our p99 against {_LITSERVE}'s, {clients} clients",
                value=_ratio(ours, litserve, place, "p99"),
                limit=1.0,
                at_least=False,
            )
        )
    if ours.runs:
        beside = 1000 * (
            statistics.median(run["points"][0]["p50"] for run in ours.runs) - ours.about["own_seconds"]
        )
        targets.append(
            Target(
                sentence="our p50 at one client less the model's own time, ms",
                value=beside,
                limit=_EXTRA_MS,
                at_least=False,
            )
        )
    return targets


def _ratio(a: Measured, b: Measured, place: int, name: str) -> float | None:
    if not a.runs or not b.runs:
        return None
    return paired_ratio(*([run["points"][place][name] for run in entry.runs] for entry in (a, b)))
