"""Training: the same network by our loop and by peers', the usual tutorial's CNN, and threads."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rounds import Contender, Measured
from summary import Column, Target, paired_ratio, rates

from sections.base import (
    OURS,
    SLICES,
    WIDTHS,
    Bench,
    Report,
    cifar10_files,
    contender_row,
    problem_row,
    throughput_columns,
)

_TRAINERS = (  # name, worker, environment
    (OURS, "ours_train", "ours"),
    ("PyTorch loop", "torch_train", "peers"),
    ("Keras", "keras_train", "peers"),
    ("fastai", "fastai_train", "peers"),
)


def train(bench: Bench) -> Report:
    """The same network trained by our loop and by three peers', float32 and bf16."""
    sizes = bench.sizes
    base = {
        "batch_size": sizes["batch_size"],
        "widths": WIDTHS,
        "warm_steps": sizes["warm_steps"],
        **cifar10_files(bench),
    }
    contenders = [
        Contender(
            name=name,
            precision=precision,
            worker=worker,
            python=python,
            config=base | {"steps": sizes["steps"][precision]},
        )
        for precision in bench.precisions
        for name, worker, python in _TRAINERS
    ]
    measured = bench.run("train", contenders, SLICES, products=bench.precisions)
    ours = measured[f"{OURS}, {bench.native}"]
    flops = ours.about.get("plain_step_flops", float("nan"))
    rows = {
        key: contender_row(entry, flops, ours) | _with_optimiser(entry) for key, entry in measured.items()
    }
    return Report(
        title=f"Training the custom CNN, batch {sizes['batch_size']}",
        columns=throughput_columns(bench.native),
        rows=list(rows.values()),
        targets=_training_targets(bench, rows, ours.contender.key),
        measured=measured,
    )


def _with_optimiser(entry: Measured) -> dict[str, Any]:
    """Of our loop: its rate of operations with the optimiser's own products counted, and their share of the
    machine's."""
    if not entry.runs or entry.contender.name != OURS:
        return {}
    speed = rates(entry.runs)
    shares = [
        rate * run["flops_per_image"] / 1e9 / run["product"][entry.contender.precision]
        for rate, run in zip(speed, entry.runs, strict=True)
    ]
    return {
        "gflops_with_optimiser": statistics.median(speed) * entry.runs[0]["flops_per_image"] / 1e9,
        "fraction_with_optimiser": statistics.median(shares),
    }


def _training_targets(bench: Bench, rows: Mapping[str, Mapping[str, Any]], ours: str) -> list[Target]:
    """ours: the key of our row in native precision."""
    native = bench.native
    return [
        bench.target(
            sentence=f"our training against {native} products (its own optimiser's products counted)",
            limit=0.85,
            value=rows[ours].get("fraction_with_optimiser"),
        ),
        *(
            bench.target(
                sentence=f"our {native} training against {name} in fp32",
                limit=1.8,
                value=rows[key].get("ours_is_faster_by"),
            )
            for name, _, _ in _TRAINERS
            if (key := f"{name}, fp32") != ours
        ),
    ]


def tutorial(bench: Bench) -> Report:
    """The usual Keras tutorial's CNN trained in full, then our CNN in as many seconds: validation accuracy of
    both."""
    sizes = bench.sizes
    seconds_file = bench.work / "tutorial-seconds.json"
    base = cifar10_files(bench, count=sizes["tutorial_images"]) | {
        "epochs": sizes["epochs"],
        "seconds_file": str(seconds_file),
    }
    contenders = [
        Contender(
            name="Keras tutorial CNN", precision="fp32", worker="keras_tutorial", python="peers", config=base
        ),
        Contender(name=OURS, precision=bench.native, worker="ours_tutorial", config=base),
    ]

    def hand_over(contender: Contender, run: Mapping[str, Any]) -> None:
        if contender.worker == "keras_tutorial":
            seconds_file.write_text(json.dumps(run["seconds"]))

    measured = bench.run("tutorial", contenders, 1, after_run=hand_over)
    rows = [_tutorial_row(entry) for entry in measured.values()]
    return Report(
        title="The Keras tutorial's CNN, and ours in the same seconds",
        columns=_TUTORIAL_COLUMNS,
        rows=rows,
        targets=_tutorial_targets(bench, rows, list(measured.values())),
        measured=measured,
    )


_TUTORIAL_COLUMNS: tuple[Column, ...] = (
    ("network", "name", "s"),
    ("precision", "precision", "s"),
    ("runs", "runs", "d"),
    ("seconds", "seconds", ".1f"),
    ("images seen", "images", ",.0f"),
    ("validation accuracy", "val_accuracy", ".4f"),
)


def _tutorial_row(entry: Measured) -> dict[str, Any]:
    if not entry.runs:
        return problem_row(entry)
    medians = {
        key: statistics.median(run[key] for run in entry.runs)
        for key in ("seconds", "images", "val_accuracy")
    }
    return {
        "name": entry.contender.name,
        "precision": entry.contender.precision,
        "runs": len(entry.runs),
        **medians,
    }


def _tutorial_targets(
    bench: Bench, rows: Sequence[Mapping[str, Any]], measured: Sequence[Measured]
) -> list[Target]:
    """rows, measured: of the tutorial's CNN, then of ours."""
    share = None
    if all(entry.runs for entry in measured):
        share = paired_ratio(*([run["seconds"] for run in entry.runs] for entry in reversed(measured)))
    return [
        bench.target(
            sentence="our validation accuracy in the tutorial's seconds",
            value=rows[1].get("val_accuracy"),
            limit=0.85,
        ),
        Target(
            sentence="our wall seconds as a share of the tutorial's", limit=1.0, at_least=False, value=share
        ),
    ]


def threads(bench: Bench) -> Report:
    """Training and extraction with one thread and with all cores."""
    from headstart.runtime.cores import usable_cores

    sizes, files = bench.sizes, cifar10_files(bench)
    tasks = {
        "training": (
            "ours_train",
            {"batch_size": sizes["batch_size"], "widths": WIDTHS, "steps": sizes["steps"][bench.native]},
        ),
        "features": (
            "ours_features",
            {"pixels": sizes["pixels"], "counts": [sizes["feature_counts"][bench.native] // 2]},
        ),
    }
    numbers = sorted({1, usable_cores()})
    contenders = [
        Contender(
            name=task,
            precision=bench.native,
            worker=worker,
            threads=number,
            config=config | files | {"cache_folder": str(bench.work / f"cache-threads-{number}")},
        )
        for task, (worker, config) in tasks.items()
        for number in numbers
    ]
    measured = bench.run("threads", contenders, 5)
    rows = []
    for entry in measured.values():
        alone = measured[dataclasses.replace(entry.contender, threads=1).key]
        if not entry.runs:
            rows.append(problem_row(entry))
            continue
        speed = rates(entry.runs)
        rows.append(
            {
                "name": entry.contender.name,
                "threads": entry.about["threads"],
                "runs": len(speed),
                "images_per_second": statistics.median(speed),
                "lowest": min(speed),
                "highest": max(speed),
                "to_one_thread": paired_ratio(speed, rates(alone.runs)) if alone.runs else None,
            }
        )
    columns = (
        ("work", "name", "s"),
        ("threads", "threads", "d"),
        ("runs", "runs", "d"),
        ("images/s", "images_per_second", ".1f"),
        ("lowest", "lowest", ".1f"),
        ("highest", "highest", ".1f"),
        ("to one thread", "to_one_thread", ".2f"),
    )
    return Report(title=f"Threads, {bench.native}", columns=columns, rows=rows, targets=[], measured=measured)
