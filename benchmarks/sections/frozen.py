"""Frozen features: ours against Keras's, their cost against the number of images, and int8's accuracy."""

from __future__ import annotations

import contextlib
from typing import Any

from rounds import Contender
from summary import Target, paired_ratio, rates, slope_row

from sections.base import (
    OURS,
    PROBLEM_COLUMNS,
    SLICES,
    Bench,
    Report,
    cache_folder,
    cifar10_files,
    contender_row,
    problem_row,
    throughput_columns,
)


def features(bench: Bench) -> Report:
    """ResNet-50 features: resize, preprocessing and network, ours against Keras's predict."""
    sizes, files = bench.sizes, cifar10_files(bench)

    def config(precision: str, number: int) -> dict[str, Any]:
        return {
            "pixels": sizes["pixels"],
            "counts": [sizes["feature_counts"][precision]],
            "cache_folder": str(bench.work / f"cache-features-{number}"),
            **files,
        }

    native = bench.native
    plan = dict.fromkeys(
        [(OURS, native), (OURS, "int8"), ("Keras", native), (OURS, "fp32"), ("Keras", "fp32")]
    )
    contenders = [
        Contender(
            name=name,
            precision=precision,
            worker="ours_features" if name == OURS else "keras_features",
            python="ours" if name == OURS else "peers",
            config=config(precision, number),
        )
        for number, (name, precision) in enumerate(plan)
    ]
    measured = bench.run("features", contenders, SLICES, products=bench.precisions)
    ours, int8 = measured[f"{OURS}, {native}"], measured[f"{OURS}, int8"]
    flops = ours.runs[0]["flops_per_image"] if ours.runs else float("nan")
    rows = [contender_row(entry, flops, ours) for entry in measured.values()]
    by_key = dict(zip(measured, rows, strict=True))
    targets = [
        bench.target(
            sentence=f"our {native} extraction against {native} products",
            limit=0.9,
            value=by_key[ours.contender.key].get("fraction_of_own_product"),
        ),
        bench.target(
            sentence=f"our {native} extraction against Keras in fp32",
            limit=2.0,
            value=by_key["Keras, fp32"].get("ours_is_faster_by"),
        ),
        bench.target(
            sentence=f"int8 extraction against {native}",
            limit=1.8,
            value=paired_ratio(rates(int8.runs), rates(ours.runs)) if int8.runs and ours.runs else None,
        ),
    ]
    return Report(
        title=f"ResNet-50 features at {sizes['pixels']} px",
        columns=throughput_columns(native),
        rows=rows,
        targets=targets,
        measured=measured,
    )


def linear(bench: Bench) -> Report:
    """Cost of extraction at three numbers of images."""
    sizes = bench.sizes
    config = {
        "pixels": sizes["pixels"],
        "counts": sizes["linear_counts"],
        "cache_folder": str(bench.work / "cache-linear"),
        **cifar10_files(bench),
    }
    measured = bench.run(
        "linear", [Contender(name=OURS, precision=bench.native, worker="ours_features", config=config)], 1
    )
    (entry,) = measured.values()
    rows: list[dict[str, Any]] = [problem_row(entry)]
    value = None
    if entry.runs:
        rows = slope_row([run["points"] for run in entry.runs])
        value = max(abs(row["cost_an_image_to_largest"] - 1) for row in rows)
    columns = (
        ("images", "images", ",d"),
        ("runs", "runs", "d"),
        ("seconds", "seconds", ".1f"),
        ("images/s", "images_per_second", ".1f"),
        ("cost an image, to the largest", "cost_an_image_to_largest", ".3f"),
    )
    target = Target(
        sentence="largest deviation of the cost an image from the largest set's",
        value=value,
        limit=0.1,
        at_least=False,
    )
    return Report(
        title=f"ResNet-50 features at {sizes['pixels']} px, {bench.native}: cost against images",
        columns=columns if entry.runs else PROBLEM_COLUMNS,
        rows=rows,
        targets=[target],
        measured=measured,
    )


def int8(bench: Bench) -> Report:
    """What int8 features cost the probe in accuracy, over label budgets. Not a matter of time: it runs
    once."""
    from int8_accuracy import probe_accuracies

    sizes = bench.sizes
    own_cache: Any = (
        contextlib.nullcontext() if sizes["int8_images"] is None else cache_folder(bench.work / "cache-int8")
    )
    rows = probe_accuracies(sizes["pixels"], sizes["int8_images"], own_cache, bench.native)
    columns = (
        ("labels a class", "name", "s"),
        ("subsets", "subsets", "d"),
        (bench.native, bench.native, ".4f"),
        ("int8", "int8", ".4f"),
        (f"int8 - {bench.native}, points", "difference_points", "+.2f"),
    )
    target = Target(
        sentence="largest loss of validation accuracy to int8, points",
        limit=0.3,
        at_least=False,
        value=max(-row["difference_points"] for row in rows),
    )
    return Report(
        title=f"Probe on int8 against {bench.native} features, {sizes['pixels']} px, validation",
        columns=columns,
        rows=rows,
        targets=[target],
        measured={},
    )
