"""The head's objective in float64, by numpy alone: the referee between solvers, none of whose code it
uses."""

from __future__ import annotations

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


def objective(
    values: NDArray[np.float16],
    labels: NDArray[np.int64],
    ids: NDArray[np.int64],
    weight: NDArray,
    bias: NDArray,
    deviation: NDArray[np.float64],
    l2: float,
) -> float:
    """Mean cross-entropy + l2 / 2 * squared norm of the weights on standardised features.

    values: (N, D), raw. labels: (N,). weight (C, D), bias (C,): of raw features. deviation: (D,), from
    `moments`."""
    weight, bias = np.asarray(weight, np.float64), np.asarray(bias, np.float64)
    loss = 0.0
    for start in range(0, len(ids), _ROWS):
        part = ids[start : start + _ROWS]
        logits = np.asarray(values[part], np.float64) @ weight.T + bias
        logits -= logits.max(1, keepdims=True)
        loss += float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(part)), labels[part]]).sum())
    return loss / len(ids) + l2 / 2 * float(np.square(weight * deviation).sum())
