"""What accuracy costs: time to accuracy, accuracy at equal cost, the cost of what trials share, and the
Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headstart.registry.methods import FeatureUse, stored_method
from headstart.store import FinishedTrial

History = Sequence[Mapping[str, float]]


def time_to_accuracy(
    history: History, target: float, metric: str = "val_accuracy"
) -> dict[str, float | None] | None:
    """Cold cumulative cost {"seconds", "epochs", "flops"} at the first history row that reaches `target`
    (0..1) on `metric`; None where no row does. A cost that the row does not state is None.

    Nothing is interpolated: a model has an accuracy only where it was evaluated. Test accuracy is never read
    along training, so this is validation accuracy."""
    for row in history:
        reached = row.get(metric)
        if reached is not None and reached >= target:
            return {"seconds": row.get("seconds"), "epochs": row.get("epoch"), "flops": row.get("flops")}
    return None


def bracket_to_accuracy(
    history: History, target: float, cost: str, metric: str = "val_accuracy"
) -> tuple[float, float] | None:
    """(low, high) between which lies the cumulative `cost` ("seconds", "epoch" or "flops") at which `metric`
    first
    reached `target` (0..1): the evaluation before, 0 where there is none, and the first that reads so much.

    None where no evaluation reads so much or does not state its cost. Where a model was not evaluated its
    accuracy
    is not known: two models whose brackets overlap have no order."""
    low = 0.0
    for row in history:
        reached, at = row.get(metric), row.get(cost)
        if reached is None:
            continue
        if reached >= target:
            return None if at is None else (low, float(at))
        low = low if at is None else float(at)
    return None


def accuracy_at(
    history: History,
    *,
    seconds: float | None = None,
    flops: float | None = None,
    metric: str = "val_accuracy",
) -> float | None:
    """`metric` (0..1) of the last evaluation within `seconds` or within `flops` (cumulative, cold); None
    where nothing was evaluated that early.

    The last one, not the best so far: a running maximum would pick lucky evaluations.
    Raises: TypeError unless exactly one of the two is given."""
    if (seconds is None) == (flops is None):
        raise TypeError("accuracy_at takes either seconds or flops")
    column, limit = ("seconds", seconds or 0.0) if flops is None else ("flops", flops)
    within = [
        row[metric]
        for row in history
        if row.get(metric) is not None and row.get(column) is not None and row[column] <= limit
    ]
    return within[-1] if within else None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions, cheapest first, of the (cost, accuracy) points that no other beats: none is at most as
    costly and at least as accurate with one of the two better. Equal points stay together."""

    def beaten(cost: float, accuracy: float) -> bool:
        return any(
            other[0] <= cost and other[1] >= accuracy and tuple(other) != (cost, accuracy) for other in points
        )

    front = [position for position, point in enumerate(points) if not beaten(*point)]
    return sorted(front, key=lambda position: (*points[position], position))


def amortised_seconds(trials: Sequence[FinishedTrial]) -> dict[str, float]:
    """Wall seconds by trial key where trials that read the same frozen features share the cost of computing
    them.

    A trial's cold seconds count its features in full, as if it were alone; here their seconds are divided by
    the trials (of those given) that use the same ones. Unlike the seconds that a trial itself spent, this
    does not depend on which trial came first or on what an earlier study had left in the cache."""
    shared: dict[str, list[str]] = {}
    for trial in trials:
        shared.setdefault(_features_of(trial), []).append(trial.key)
    seconds = {}
    for trial in trials:
        users, features = len(shared[_features_of(trial)]), trial.cost.seconds.get("features", 0.0)
        seconds[trial.key] = trial.cost.total_seconds - features + features / users
    return seconds


def _features_of(trial: FinishedTrial) -> str:
    """What tells one set of frozen features from another. Where a method caches activations of the
    trial's own images, no two of its trials share one unless they have the same."""
    arm = trial.arm
    if "features" not in trial.cost.seconds:
        return trial.key
    parts: list[Any] = [arm.model, trial.weights_hash, trial.preprocessing, trial.feature_precision]
    uses = stored_method(arm.method).features
    if uses is FeatureUse.OWN_IMAGES:
        # At all labels every seed has the same images; with fewer, a seed has its own.
        own = None if trial.label_budget.is_all else trial.seed
        parts += [arm.recipe.get("trainable_from"), trial.label_budget, own, trial.phase]
    elif uses is FeatureUse.TRAINING_IMAGES:
        parts.append("training images alone")
    return repr(parts)


_ROUND_FLOPS = tuple(step * 10.0**power for power in range(6, 25) for step in (1, 2, 5))
_ROUND_SECONDS = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    18_000,
    36_000,
    72_000,
    180_000,
)


def equal_costs(
    histories: Sequence[History], column: str, count: int = 4, metric: str = "val_accuracy"
) -> list[float]:
    """Up to `count` round costs at which arms can be compared, ascending: from where the first arm has been
    evaluated to where the last one ends. column: "seconds" or "flops". Seconds are rounded as clocks are: 30,
    60, 120, 300."""
    ends = [
        (seen[0], seen[-1])
        for rows in histories
        if (
            seen := [
                row[column] for row in rows if row.get(metric) is not None and row.get(column) is not None
            ]
        )
    ]
    if not ends:
        return []
    low, high = min(first for first, _ in ends), max(last for _, last in ends)
    between = [
        float(cost)
        for cost in (_ROUND_SECONDS if column == "seconds" else _ROUND_FLOPS)
        if low <= cost <= high
    ]
    if len(between) <= count:
        return between
    return [between[round(k * (len(between) - 1) / (count - 1))] for k in range(count)]
