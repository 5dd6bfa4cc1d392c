"""The JSON file of the GPU benchmark, and its tables; no GPU, no clock."""

from __future__ import annotations

import contextlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rounds import say
from summary import table

PEER = "airbench"


class Report:
    """The content of the JSON file; `guard` keeps a failure's text and lets the rest go on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"problems": {}}

    def write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(self.path.name + ".unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.content["problems"][what] = f"{type(error).__name__}: {error}"
            say(f"{what} failed: {self.content['problems'][what]}")


def summarise(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row a contender, airbench first: times, their median over airbench's, accuracies (mean, n, min, max),
    work.

    Times of stored runs are left out: they were not measured in turn with the others."""
    names = sorted(dict.fromkeys(run["name"] for run in runs), key=lambda name: name != PEER)
    rows: list[dict[str, Any]] = []
    for name in names:
        own = [run for run in runs if run["name"] == name]
        row: dict[str, Any] = {"name": name, "pflop": statistics.median(run["pflop"] for run in own)}
        row["seconds"] = _spread([run["seconds"] for run in own if not run.get("stored")])
        for metric in ("accuracy", "flip_accuracy", "translate_accuracy"):
            row[metric] = _spread([run[metric] for run in own if run.get(metric) is not None])
        peer = next((row["seconds"] for row in rows if row["name"] == PEER), None)
        row["seconds_over_airbench"] = None
        if name != PEER and peer is not None and row["seconds"] is not None:
            row["seconds_over_airbench"] = row["seconds"]["median"] / peer["median"]
        rows.append(row)
    return rows


def _spread(values: Sequence[float]) -> dict[str, Any] | None:
    """n, mean, median, min and max; None of nothing."""
    if not values:
        return None
    return {
        "n": len(values),
        "mean": math.fsum(values) / len(values),
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
    }


def text_of(content: Mapping[str, Any]) -> str:
    """The report's tables, those that were measured, and its problems."""
    parts = [f"GPU: {content['environment']['device']}"]
    if "product" in content:
        rates = (f"{name} {product['tflops']:.0f} TFLOP/s" for name, product in content["product"].items())
        parts.append("matrix products: " + ", ".join(rates))
    for name, profile in content.get("profile", {}).items():
        if name == "covers" or "seconds_per_step" not in profile:
            continue
        line = (
            f"{name}: {1e3 * profile['seconds_per_step']:.2f} ms a step of {profile['batch_size']}, "
            f"{profile['images_per_second']:.0f} images/s"
        )
        if "groups" not in profile:
            parts.append(line)
            continue
        parts.append(
            f"{line}, GPU busy {100 * profile['busy_fraction']:.0f} %, {profile['kernels_per_step']:.0f} "
            "kernels "
            "a step"
        )
        rows = [
            row | {"percent": 100 * row["fraction"], "us": row["microseconds"] / profile["steps"]}
            for row in profile["groups"]
        ]
        parts.append(
            table((("GPU time", "group", "s"), ("%", "percent", ".1f"), ("us a step", "us", ".0f")), rows)
        )
    if rows := content.get(PEER, {}).get("rows"):
        parts.append(table(_COLUMNS, [_flat(row) for row in rows]))
    parts += [f"failed: {what}: {text}" for what, text in content["problems"].items()]
    return "\n\n".join(parts)


_COLUMNS = (
    ("who", "name", "s"),
    ("timed", "seconds n", "d"),
    ("s, median", "seconds median", ".2f"),
    ("min", "seconds min", ".2f"),
    ("max", "seconds max", ".2f"),
    ("over airbench", "seconds_over_airbench", ".2f"),
    ("n", "accuracy n", "d"),
    ("accuracy %", "accuracy mean", ".2f"),
    ("min", "accuracy min", ".2f"),
    ("max", "accuracy max", ".2f"),
    ("both flips %", "flip_accuracy mean", ".2f"),
    ("min", "flip_accuracy min", ".2f"),
    ("max", "flip_accuracy max", ".2f"),
    ("PFLOP", "pflop", ".2f"),
)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `summarise` with its spreads as "metric mean", accuracies in percent."""
    flat = dict(row)
    for metric, spread in row.items():
        if isinstance(spread, Mapping):
            percent = 100 if metric.endswith("accuracy") else 1
            flat |= {
                f"{metric} {key}": value if key == "n" else percent * value for key, value in spread.items()
            }
    return flat
