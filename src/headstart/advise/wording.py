"""Words that several parts of an answer share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data_quality.inspection import Inspection


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def between(interval: tuple[float, float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def fixes_of(inspection: Inspection) -> tuple[str, ...]:
    """What to mend in the data first, the gravest first, a line each."""
    order = {"error": 0, "warning": 1}
    lines = [
        f"{remark.message}{' - ' + remark.advice if remark.advice else ''}"
        for remark in sorted(inspection.remarks, key=lambda r: order.get(r.severity, 2))
        if remark.severity in order
    ]
    if inspection.suspects:
        surest = inspection.suspects[0]
        lines.append(
            f"surest of the wrong labels: {surest.name}, called {surest.given}, looks like "
            f"{surest.suggested}; check/check.html shows all"
        )
    return tuple(lines)


def imbalance_of(labels: NDArray[np.int64]) -> float:
    """The largest class's size over the smallest's."""
    sizes = np.bincount(labels)
    return float(sizes.max() / max(sizes.min(), 1))
