"""The objective of the logistic regression in float64, by numpy alone and by no solver's code: the judge
between solvers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS = 4096


def moments(
    values: NDArray[np.float16], ids: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (population) of the features values[ids], float64 (D,) each; 1 for a
    constant one."""
    total, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for start in range(0, len(ids), _ROWS):
        rows = np.asarray(values[ids[start : start + _ROWS]], np.float64)
        total += rows.sum(0)
        squares += np.square(rows).sum(0)
    mean = total / len(ids)
    deviation = np.sqrt(np.maximum(squares / len(ids) - mean**2, 0))
    return mean, np.where(deviation > 0, deviation, 1.0)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What a head is fitted to: raw features float16 (N, D), labels int64 (N,), and the rows to fit,
    int64."""

    values: NDArray[np.float16]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]


def objective(
    problem: Problem,
    weight: NDArray[np.floating],
    bias: NDArray[np.floating],
    deviation: NDArray[np.float64],
    l2: float,
) -> float:
    """Mean cross-entropy + l2 / 2 * squared norm of the weights on standardised features.

    weight (C, D), bias (C,): of raw features. deviation: (D,), from `moments`."""
    weight, bias = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    ids, loss = problem.ids, 0.0
    for start in range(0, len(ids), _ROWS):
        rows = ids[start : start + _ROWS]
        logits = np.asarray(problem.values[rows], np.float64) @ weight.T + bias
        logits -= logits.max(1, keepdims=True)
        own = logits[np.arange(len(rows)), problem.labels[rows]]
        loss += float((np.log(np.exp(logits).sum(1)) - own).sum())
    return loss / len(ids) + l2 / 2 * float(np.square(weight * deviation).sum())
