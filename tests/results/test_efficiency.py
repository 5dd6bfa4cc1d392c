"""The cost of what trials share, and round costs to compare at: against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headstart.results.efficiency import amortised_seconds, equal_costs
from headstart.store import FinishedTrial
from headstart.types import Cost, Result


def result(
    key: str,
    seconds: dict[str, float],
    method: str = "linear_probe",
    labels: int | None = None,
    seed: int = 0,
    pixels: int = 96,
    **arm: Any,
) -> FinishedTrial:
    trial = {
        "arm": {
            "name": key,
            "model": "resnet50",
            "method": method,
            "recipe": {"trainable_from": "layer4"},
            **arm,
        },
        "labels_per_class": labels,
        "seed": seed,
        "phase": "select",
        "weights_hash": "w",
        "feature_precision": "bf16",
        "preprocessing": {"size_pixels": pixels},
    }
    value = Result(
        key=key,
        study="s",
        trial=trial,
        metrics={},
        train_images=1,
        history=(),
        cost=Cost(seconds=seconds, spent_seconds=0, examples=0, flops=0, peak_memory_bytes=0),
    )
    return FinishedTrial(folder=Path(key), result=value)


def test_shared_features_are_divided_by_the_trials_that_read_them() -> None:
    seconds = amortised_seconds(
        [
            result("probe", {"features": 90.0, "train": 10.0}),
            result("probe-10", {"features": 90.0, "train": 1.0}, labels=10),
            result("knn", {"features": 90.0, "train": 2.0}, method="knn"),
            result("cnn", {"train": 50.0, "evaluate": 5.0}, "scratch"),
            result("probe-128", {"features": 200.0, "train": 10.0}, pixels=128),
        ]
    )
    assert seconds == pytest.approx(
        {"probe": 40.0, "probe-10": 31.0, "knn": 32.0, "cnn": 55.0, "probe-128": 210.0}
    )


def test_the_frozen_part_of_partial_is_shared_where_the_images_are_the_same() -> None:
    parts = {"features": 60.0, "train": 30.0}
    seconds = amortised_seconds(
        [
            result("all-0", parts, "partial"),
            result("all-1", parts, "partial", seed=1),
            result("ten-0", parts, "partial", labels=10),
            result("ten-1", parts, "partial", labels=10, seed=1),
            result("probe", parts),
        ]
    )
    assert seconds == pytest.approx({"all-0": 60, "all-1": 60, "ten-0": 90, "ten-1": 90, "probe": 90})


def test_round_costs_lie_between_the_first_reading_and_the_last_end() -> None:
    fast = [
        {"seconds": 7.0, "flops": 3e11, "val_accuracy": 0.5},
        {"seconds": 40.0, "flops": 9e11, "val_accuracy": 0.7},
    ]
    slow = [
        {"seconds": 3.0},
        {"seconds": 100.0, "flops": 1.5e12, "val_accuracy": 0.6},
        {"seconds": 400.0, "flops": 6e12, "val_accuracy": 0.9},
    ]
    assert equal_costs([fast, slow], "seconds") == [10, 30, 60, 300]  # of 10, 20, 30, 60, 120, 300
    assert equal_costs([fast, slow], "flops") == [5e11, 1e12, 2e12, 5e12]
    assert equal_costs([fast], "seconds") == [10, 20, 30]
    assert equal_costs([[{"seconds": 3.0, "train_accuracy": 0.5}]], "seconds") == []
