"""Which trials compare with which (one test set, the same seed, one machine for seconds), and the value of a
metric."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from headstart import store
from headstart.errors import ConfigError, DataError, unknown_name
from headstart.results.efficiency import time_to_accuracy
from headstart.results.metrics import METRICS, MetricSpec
from headstart.results.trials import Trials, is_deterministic
from headstart.store import FinishedTrial
from headstart.types import Predictions

COSTS: dict[str, MetricSpec] = {
    "seconds": MetricSpec(title="Time, cold", unit="seconds", higher_is_better=False),
    "spent_seconds": MetricSpec(
        title="Time spent, cached parts excluded", unit="seconds", higher_is_better=False
    ),
    "examples": MetricSpec(title="Images seen", unit="images", higher_is_better=False),
    "flops": MetricSpec(title="Floating-point operations", unit="FLOPs", higher_is_better=False),
    "peak_memory_bytes": MetricSpec(title="Peak memory", unit="bytes", higher_is_better=False),
    "joules": MetricSpec(title="Energy", unit="joules", higher_is_better=False),
}
_TO_ACCURACY = {
    "seconds_to_accuracy": "seconds",
    "epochs_to_accuracy": "epochs",
    "flops_to_accuracy": "flops",
}


def metric_spec(name: str) -> MetricSpec:
    """What a claim's metric is: a name of METRICS or COSTS, or "seconds_to_accuracy@0.85" (also epochs_,
    flops_), the cost at which validation accuracy first reaches 0.85.

    Raises: ConfigError on another name or a target outside (0, 1]."""
    specs = METRICS | COSTS
    if name in specs:
        return specs[name]
    kind, _, target = name.partition("@")
    if kind not in _TO_ACCURACY:
        raise unknown_name("metric", name, [*specs, *(f"{each}@0.85" for each in _TO_ACCURACY)])
    try:
        accuracy = float(target)
    except ValueError:
        accuracy = float("nan")
    if not 0 < accuracy <= 1:
        raise ConfigError(f"metric {name!r} needs a target accuracy above 0 and up to 1, as in '{kind}@0.85'")
    unit = _TO_ACCURACY[kind]
    return MetricSpec(
        title=f"{unit.capitalize().replace('Flops', 'FLOPs')} to {100 * accuracy:g} % validation accuracy",
        unit=unit.replace("flops", "FLOPs"),
        higher_is_better=False,
    )


def metric_value(trial: FinishedTrial, metric: str) -> float | None:
    if metric in METRICS:
        return trial.metrics.get(metric)
    if metric == "seconds":
        return trial.cost.total_seconds
    if metric in COSTS:
        value: float | None = getattr(trial.cost, metric)
        return value
    kind, _, target = metric.partition("@")
    reached = time_to_accuracy(trial.history, float(target))
    return None if reached is None else reached[_TO_ACCURACY[kind]]


def end_value(trial: FinishedTrial, metric: str) -> float | None:
    """The cost at the end of training: at least this much is needed for an accuracy that was never
    reached."""
    last = trial.history[-1] if trial.history else {}
    return last.get(
        {"seconds": "seconds", "epochs": "epoch", "flops": "flops"}[_TO_ACCURACY[metric.partition("@")[0]]]
    )


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Trials of two arms, paired by seed; `alone` names the deterministic arm whose one trial stands in every
    pair."""

    a: tuple[FinishedTrial, ...]
    b: tuple[FinishedTrial, ...]
    alone: str | None = None

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(trial.key for trial in self.a + self.b))

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the pairs; those of the other arm where one stands in every pair."""
        first, second = (tuple(trial.seed for trial in side) for side in (self.a, self.b))
        return first if len(set(first)) == len(first) else second

    def at(self, seeds: Collection[int]) -> Pairs:
        """The pairs of these seeds alone."""
        kept = [place for place, seed in enumerate(self.seeds) if seed in seeds]
        return Pairs(a=tuple(self.a[i] for i in kept), b=tuple(self.b[i] for i in kept), alone=self.alone)


def pair_by_seed(a: Trials, b: Trials) -> Pairs:
    """Pairs by seed, of trials that `newest` let through; at all labels a deterministic arm has one trial,
    which pairs with each seed of the other."""
    a, b = (sorted(side, key=lambda trial: trial.seed) for side in (a, b))
    if len(a) == 1 and is_deterministic(a[0]) and b:
        return Pairs(a=(a[0],) * len(b), b=tuple(b), alone=a[0].arm.name if len(b) > 1 else None)
    if len(b) == 1 and is_deterministic(b[0]) and a:
        return Pairs(a=tuple(a), b=(b[0],) * len(a), alone=b[0].arm.name if len(a) > 1 else None)
    seeds = {trial.seed for trial in a} & {trial.seed for trial in b}
    paired = (tuple(trial for trial in side if trial.seed in seeds) for side in (a, b))
    return Pairs(a=next(paired), b=next(paired))


def stored_test(folder: Path) -> Predictions | None:
    """The stored test predictions; None where this copy of the trial has none."""
    return store.read_test(folder) if (folder / "predictions.npz").is_file() else None


def stored_test_set(folder: Path) -> tuple[str, int] | None:
    """SHA-256 of the test labels and ids, and how many; only these arrays are decompressed."""
    if (stored := store.read_test_ids(folder)) is None:
        return None
    labels, ids = stored
    content = labels.astype("<i8").tobytes() + ids.astype("<i8").tobytes()
    return hashlib.sha256(content).hexdigest(), len(labels)


def require_one_test_set(trials: Trials) -> int | None:
    """The number of test images, None where no predictions are stored. Raises: DataError on different test
    sets."""
    fingerprints = {trial.dataset_fingerprint for trial in trials}
    tests = {each for each in map(stored_test_set, {trial.folder for trial in trials}) if each}
    if len(fingerprints) > 1 or len(tests) > 1:
        raise DataError(
            "these trials were tested on different images (dataset fingerprints "
            f"{', '.join(sorted(each[:12] for each in fingerprints))}); compare trials of one dataset"
        )
    return next(iter(tests))[1] if tests else None


def different_machines(*pairs: Pairs) -> bool:
    return not one_machine(trial for each in pairs for trial in each.a + each.b)


def one_machine(trials: Iterable[FinishedTrial]) -> bool:
    """Whether all ran on one machine, so that their seconds compare."""
    return len({machine_of(trial) for trial in trials}) <= 1


def machine_of(trial: FinishedTrial) -> tuple[str, str, str, str, str]:
    """Device, processor, threads and precision, "?" where unknown, and trials side by side: equal where
    seconds compare."""
    environment = trial.environment
    return (
        str(environment.get("device", "?")),
        str(environment.get("processor", "?")),
        str(environment.get("threads", "?")),
        str(environment.get("precision", "?")),
        str(environment.get("jobs", 1)),
    )
