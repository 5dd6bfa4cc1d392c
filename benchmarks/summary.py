"""From measured runs to rows, verdicts on targets, a printed table and a JSON file; no process, no clock."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Runs = Sequence[Mapping[str, Any]]


def rates(runs: Runs) -> list[float]:
    """Images per second of each run, in order."""
    return [run["images"] / run["seconds"] for run in runs]


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median over rounds of numerator / denominator of the same round: a drift of the machine's speed
    cancels.

    Raises: ValueError where the two were not measured in the same, at least one, rounds."""
    if len(numerators) != len(denominators) or not numerators:
        raise ValueError(f"{len(numerators)} and {len(denominators)} runs do not pair up")
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def paired_interval(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, float] | None:
    """95 % interval of the median of paired ratios, of any distribution: two of the ratios in order, by the
    binomial distribution of how many lie below the median. None below 6 rounds, where no two are far enough
    apart.

    Source: Conover, Practical Nonparametric Statistics, 1999, 3.2; at 15 rounds the 4th and the 12th ratio
    (96.5 %)."""
    ratios = sorted(a / b for a, b in zip(numerators, denominators, strict=True))
    n = len(ratios)
    outside, low = 0.0, -1
    while outside + math.comb(n, low + 1) / 2**n <= 0.025:
        low += 1
        outside += math.comb(n, low) / 2**n
    return None if low < 0 else (ratios[low], ratios[n - 1 - low])


def throughput_row(
    name: str, precision: str, runs: Runs, flops_per_image: float, ours: Runs | None = None
) -> dict[str, Any]:
    """A row of images/s: median, range, counted GFLOP/s, its share of the products' rate, and how much faster
    `ours` is.

    runs: "images", "seconds" and, where measured just before, "product" (GFLOP/s by precision).
    flops_per_image: of the network alone, the same count for every contender. ours: runs of the same rounds,
    None for no comparison."""
    speed = rates(runs)
    row: dict[str, Any] = {
        "name": name,
        "precision": precision,
        "runs": len(runs),
        "images_per_second": statistics.median(speed),
        "lowest": min(speed),
        "highest": max(speed),
        "gflops": statistics.median(speed) * flops_per_image / 1e9,
    }
    if all("product" in run for run in runs):
        gflops = [images * flops_per_image / 1e9 for images in speed]
        for kind in runs[0]["product"]:
            row[f"fraction_of_{kind}_product"] = paired_ratio(gflops, [run["product"][kind] for run in runs])
    if ours is not None:
        row["ours_is_faster_by"] = paired_ratio(rates(ours), speed)
        interval = paired_interval(rates(ours), speed)
        row["interval"] = None if interval is None else "{:.2f} to {:.2f}".format(*interval)
    return row


def slope_row(points_by_run: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, Any]]:
    """A row for each number of images: median seconds over runs, and seconds per image relative to the
    largest number's."""
    rows = []
    for place, first in enumerate(points_by_run[0]):
        taken = [points[place]["seconds"] for points in points_by_run]
        per_image = [points[place]["seconds"] / points[place]["images"] for points in points_by_run]
        at_most = [points[-1]["seconds"] / points[-1]["images"] for points in points_by_run]
        rows.append(
            {
                "images": first["images"],
                "runs": len(taken),
                "seconds": statistics.median(taken),
                "images_per_second": first["images"] / statistics.median(taken),
                "cost_an_image_to_largest": paired_ratio(per_image, at_most),
            }
        )
    return rows


@dataclass(frozen=True, kw_only=True)
class Target:
    """A promised number: `value` (None: not measured) against `limit`.

    judged: False where the promise is for another kind of machine; the number is printed all the same."""

    sentence: str
    value: float | None
    limit: float
    at_least: bool = True  # else at most
    judged: bool = True

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "n/a"
        if not self.judged:
            return "stated"
        return (
            "met" if (self.value >= self.limit if self.at_least else self.value <= self.limit) else "missed"
        )

    def line(self) -> str:
        """The target in a line of text."""
        value = "n/a" if self.value is None else f"{self.value:.3g}"
        sign = ">=" if self.at_least else "<="
        return f"{self.verdict:>6}  {self.sentence}: {value} (target {sign} {self.limit:g})"


# What tells processors apart for this project, the best first: what multiplies bf16 in hardware, and how.
KINDS = {"AMX": "amx_tile", "AVX512-BF16": "avx512_bf16", "AVX512": "avx512f", "AVX2": "avx2"}


def processor_kind(listed: frozenset[str] | None) -> str:
    """The kind of a processor by its instructions, one of KINDS; "other" without any of them."""
    return next((kind for kind, name in KINDS.items() if name in (listed or ())), "other")


Column = tuple[str, str, str]  # heading, key in the row, format of its value


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table with aligned columns; a missing value is n/a, a row's "note" follows as its
    last column."""
    notes = any(row.get("note") for row in rows)
    cells = [[heading for heading, _, _ in columns] + (["note"] if notes else [])]
    for row in rows:
        line = ["n/a" if row.get(key) is None else format(row[key], form) for _, key, form in columns]
        cells.append(line + ([str(row.get("note") or "")] if notes else []))
    widths = [max(len(line[place]) for line in cells) for place in range(len(cells[0]))]
    left = [not form or form.endswith("s") for _, _, form in columns] + [True] * notes

    def text(line: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left, strict=True)
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (width + 1) + ("-" if to_left else ":") for width, to_left in zip(widths, left, strict=True)
    )
    return "\n".join((text(cells[0]), f"|{rule}|", *(text(line) for line in cells[1:])))


@dataclass(frozen=True, kw_only=True)
class SectionResult:
    """A section's result as its file keeps it.

    raw: every contender's runs and what it said about itself, so that each number of the rows can be worked
    out anew. text: the section as it is printed."""

    what: str
    date: str
    rows: Sequence[Mapping[str, Any]]
    targets: Sequence[Target]
    raw: Mapping[str, Any]
    environment: Mapping[str, Any]
    text: str

    def content(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "date": self.date,
            "environment": dict(self.environment),
            "rows": [dict(row) for row in self.rows],
            "text": self.text,
            "targets": [asdict(target) | {"verdict": target.verdict} for target in self.targets],
            "raw": dict(self.raw),
        }


def write_result(folder: Path, result: SectionResult) -> Path:
    """Write <date>-<what>.json (-2, -3 ... where one is there already), and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    name, number = f"{result.date}-{result.what}", 1
    path = folder / f"{name}.json"
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.json"
    path.write_text(json.dumps(result.content(), indent=1, allow_nan=False) + "\n")
    return path
