"""Features that stay on disk: rows of them in chunks, their standardisation, and a linear head's logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from headstart.errors import DataError
from headstart.runtime.mapped import file_mapping, release_pages

CHUNK_ROWS = 512
# How features are brought to a scale for a linear head. "columns": each column by its own mean and deviation
# over the training rows. "unit": each row by its length, then each column by its mean, all by one deviation,
# which few rows measure better than two thousand.
Scaling = Literal["columns", "unit"]


def standardisation(
    values: ArrayLike, ids: ArrayLike | None = None, scaling: Scaling = "columns"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each column over the rows `ids` (None: all), float32 (D,), summed in
    float64.

    values: (N, D) float16 or float32, may be memory-mapped. A constant column gets a deviation of 1. scaling
    "unit": of rows of length 1; every column gets the root mean square of the columns' deviations.
    Raises: DataError naming the first row that is not finite, or where there are no rows.
    """
    rows = Rows(values, ids, scaling=scaling)
    first = np.asarray(rows.values[rows.at(0)], dtype=np.float64)
    if not np.isfinite(first).all():
        raise _not_finite(rows.at(0))
    shift = torch.from_numpy(first)  # shifted: a constant column sums to exactly 0
    if scaling == "unit":
        shift = torch.nn.functional.normalize(shift, dim=0)
    total, square = torch.zeros_like(shift), torch.zeros_like(shift)
    for start, chunk in rows.chunks("cpu", torch.float64):
        chunk -= shift
        column = chunk.sum(0)
        if not torch.isfinite(column).all():
            bad = torch.nonzero(~torch.isfinite(chunk).all(1))
            raise _not_finite(rows.at(start + int(bad[0])))
        total = total + column
        square = square + chunk.square_().sum(0)
    mean = total / len(rows)
    variance = (square / len(rows) - mean.square()).clamp_min_(0)
    if scaling == "unit":
        variance = variance.mean().expand_as(variance)
    std = torch.where(variance > 0, variance, 1.0).sqrt()
    return (mean + shift).float().numpy(), std.float().numpy()


def predict_logits(
    values: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike,
    ids: ArrayLike | None = None,
    scaling: Scaling = "columns",
) -> NDArray[np.float32]:
    """Logits float32 (N, K), or (len(ids), K) in the order of ids; features are read in chunks.

    values: (N, D), may be memory-mapped. weight: (K, D). bias: (K,). scaling: the one that the head was
    fitted with; "unit" brings each row to length 1, a column's scale is in the weights."""
    kernel = torch.tensor(np.asarray(weight, dtype=np.float32))
    offset = torch.tensor(np.asarray(bias, dtype=np.float32))
    rows = Rows(values, ids, allow_none=True, scaling=scaling)
    logits = torch.empty(len(rows), len(kernel))
    with full_precision():
        for start, chunk in rows.chunks("cpu", torch.float32):
            torch.addmm(offset, chunk, kernel.T, out=logits[start : start + len(chunk)])
    return logits.numpy()


@contextmanager
def full_precision() -> Iterator[None]:
    """Float32 products in float32 whatever the caller allowed elsewhere (TF32, bf16)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _not_finite(row: int) -> DataError:
    return DataError(
        f"the features of row {row} are not finite (NaN or infinite); leave that image out, or use other "
        "weights"
    )


class Rows:
    """Some rows of a feature matrix, read chunk by chunk; pages of a memory map are let go after each.

    values: (N, D), may be memory-mapped. ids: the rows, in any order; None: all. allow_none: no rows at all
    are no error. scaling: "unit" gives rows of length 1.
    Raises: DataError for values that are no matrix, ids out of range, or no rows."""

    def __init__(
        self,
        values: ArrayLike,
        ids: ArrayLike | None,
        allow_none: bool = False,
        scaling: Scaling = "columns",
    ) -> None:
        self.scaling = scaling
        self.values = values if isinstance(values, np.ndarray) else np.asarray(values)
        if self.values.ndim != 2:
            raise DataError(f"features must be a matrix (rows, columns), not {self.values.ndim}-dimensional")
        self.ids = None if ids is None else np.asarray(ids).astype(np.int64)
        if (
            self.ids is not None
            and len(self.ids)
            and not (self.ids.min() >= 0 and self.ids.max() < len(self.values))
        ):
            raise DataError(
                f"row ids must be in [0, {len(self.values)}); found {self.ids.min()} to {self.ids.max()}"
            )
        if len(self) == 0 and not allow_none:
            raise DataError("there are no rows to train on")
        self._map = file_mapping(self.values)

    def __len__(self) -> int:
        return len(self.values) if self.ids is None else len(self.ids)

    def at(self, position: int) -> int:
        """The row in `values` of the position-th row here."""
        return position if self.ids is None else int(self.ids[position])

    def chunks(self, device: torch.device | str, dtype: torch.dtype) -> Iterator[tuple[int, Tensor]]:
        """(start, rows (n <= CHUNK_ROWS, D)); good until the next one: the buffers are the same each time."""
        shape = (min(CHUNK_ROWS, len(self)), self.values.shape[1])
        # Fresh buffers for each chunk cost more than the conversion (page faults: 574 ms against 111 ms a
        # pass).
        stored = np.empty(shape, dtype=self.values.dtype)
        converted = torch.empty(shape, dtype=dtype, device=device)
        for start in range(0, len(self), CHUNK_ROWS):
            count = min(CHUNK_ROWS, len(self) - start)
            if self.ids is None:
                np.copyto(stored[:count], self.values[start : start + count])
            else:
                np.take(self.values, self.ids[start : start + count], axis=0, out=stored[:count], mode="clip")
            release_pages(self._map)
            chunk = converted[:count].copy_(torch.from_numpy(stored[:count]))
            if self.scaling == "unit":
                chunk /= torch.linalg.vector_norm(chunk, dim=1, keepdim=True).clamp_min_(1e-12)
            yield start, chunk
