"""What accuracy costs: time to accuracy, accuracy at equal cost, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

History = Sequence[Mapping[str, float]]


def time_to_accuracy(history: History, target: float, metric: str = "val_accuracy") -> dict[str, float | None] | None:
    """Cold cumulative cost {"seconds", "epochs", "flops"} at the first history row that reaches `target` (0..1) on
    `metric`; None where no row does. A cost that the row does not state is None.

    Nothing is interpolated: a model has an accuracy only where it was evaluated. Test accuracy is never read along
    training, so this is validation accuracy."""
    for row in history:
        reached = row.get(metric)
        if reached is not None and reached >= target:
            return {"seconds": row.get("seconds"), "epochs": row.get("epoch"), "flops": row.get("flops")}
    return None


def accuracy_at(history: History, *, seconds: float | None = None, flops: float | None = None,
                metric: str = "val_accuracy") -> float | None:
    """`metric` (0..1) of the last evaluation within `seconds` or within `flops` (cumulative, cold); None where nothing
    was evaluated that early.

    The last one, not the best so far: a running maximum would pick lucky evaluations.
    Raises: TypeError unless exactly one of the two is given."""
    if (seconds is None) == (flops is None):
        raise TypeError("accuracy_at takes either seconds or flops")
    column, limit = ("seconds", seconds or 0.0) if flops is None else ("flops", flops)
    within = [row[metric] for row in history
              if row.get(metric) is not None and row.get(column) is not None and row[column] <= limit]
    return within[-1] if within else None


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions, cheapest first, of the (cost, accuracy) points that no other beats: none is at most as costly and at
    least as accurate with one of the two better. Equal points stay together."""

    def beaten(cost: float, accuracy: float) -> bool:
        return any(other[0] <= cost and other[1] >= accuracy and tuple(other) != (cost, accuracy) for other in points)

    front = [position for position, point in enumerate(points) if not beaten(*point)]
    return sorted(front, key=lambda position: (*points[position], position))
