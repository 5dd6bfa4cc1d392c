"""The logistic regression's objective: products with features that stay on disk, and what its solver needs
of them.

Features are read in chunks, converted to float32 and standardised there; where they fit into CACHE_BYTES the
result is kept, with the same bits. Memory then depends on the number of rows only through their logits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from headstart.errors import DataError
from headstart.runtime.precision import has_native_bf16
from headstart.training.feature_rows import CHUNK_ROWS, Rows, standardisation

_GRAM_ROWS = 2048
# standardised float32 features up to this size are kept in memory, larger ones read each pass
CACHE_BYTES = 512 * 2**20
ABSENT_PROBABILITY = 1e-7  # at most this on every training row, for a class without any
# logits worked on in float64 at a time: torch's grain size, above which it wakes a second thread
_LOGIT_BLOCK = 32768


class Check(NamedTuple):
    """What float64 says of a solution; see LogisticFit."""

    loss: float
    gradient_norm: float
    gap: float


def targets_of(
    rows: Rows, labels: ArrayLike, sample_weight: ArrayLike | None, num_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and weights (summing to 1) of the rows.

    Raises: DataError for labels out of range, lengths that differ, or weights that are no weights."""
    all_labels = np.asarray(labels)
    if all_labels.shape != (len(rows.values),):
        raise DataError(f"{len(rows.values)} rows of features but labels of shape {all_labels.shape}")
    chosen = (all_labels if rows.ids is None else all_labels[rows.ids]).astype(np.int64)
    if chosen.min() < 0 or chosen.max() >= num_classes:
        raise DataError(f"labels must be in [0, {num_classes}); found {chosen.min()} to {chosen.max()}")
    if sample_weight is None:
        return chosen, np.full(len(chosen), 1 / len(chosen))
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != all_labels.shape:
        raise DataError(f"{len(all_labels)} labels but sample weights of shape {weights.shape}")
    weights = weights if rows.ids is None else weights[rows.ids]
    if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
        raise DataError("sample weights must be finite, not negative and not all 0")
    return chosen, weights / weights.sum()


class Problem:
    """Products with the standardised features, over the classes that have rows; theta is (C, F + 1), bias
    last.

    With fewer rows than columns the features are rotated into the span of the rows (X' = Q R): the optimum
    lies there, and F is N instead of D. Features, logits and Gram matrix lie on the device; theta, gradients
    and the biases' Hessian on the CPU, where the solver's many products of such short vectors wait for no
    GPU.
    """

    def __init__(
        self,
        rows: Rows,
        labels: NDArray[np.int64],
        weights: NDArray[np.float64],
        num_classes: int,
        device: torch.device,
    ) -> None:
        self.rows, self.device, self.num_classes = rows, device, num_classes
        self.flops = 0
        self.present = np.flatnonzero(np.bincount(labels, weights=weights, minlength=num_classes))
        position = np.zeros(num_classes, dtype=np.int64)
        position[self.present] = np.arange(len(self.present))
        # A row of weight 0 may be of a class that is not present: its label is of no consequence.
        self.labels = torch.from_numpy(position[labels]).to(device)
        self.weights = torch.from_numpy(weights).to(device)
        mean, std = standardisation(rows.values, rows.ids, rows.scaling)
        self.mean, self.scale = torch.from_numpy(mean).to(device), 1 / torch.from_numpy(std).to(device)
        self.count, columns = len(rows), len(mean)
        self.flops += 5 * self.count * columns
        self.cache: Tensor | None = None
        self.rotation: Tensor | None = None
        if self.count * columns * 4 <= CACHE_BYTES:
            cache = torch.empty(self.count, columns, device=device)
            for start, chunk in self._read():
                cache[start : start + len(chunk)] = chunk
            if self.count < columns:
                self.rotation, upper = torch.linalg.qr(cache.T)
                cache = upper.T.contiguous()
                self.flops += 4 * columns * self.count**2
            self.cache = cache
        self.width = columns if self.rotation is None else self.count

    def _read(self) -> Iterator[tuple[int, Tensor]]:
        for start, chunk in self.rows.chunks(self.device, torch.float32):
            yield start, chunk.sub_(self.mean).mul_(self.scale)

    def chunks(self) -> Iterator[tuple[int, Tensor]]:
        """(start, standardised float32 rows), the same values whether cached or read."""
        if self.cache is None:
            yield from self._read()
        else:
            rows = self.count if self.device.type == "cuda" else CHUNK_ROWS
            for start in range(0, self.count, rows):
                yield start, self.cache[start : start + rows]

    def _parts(self) -> Iterator[slice]:
        """Slices of rows for the work on logits alone: small enough to stay in the processor's own cache; all
        for a GPU."""
        rows = self.count if self.device.type == "cuda" else max(1, _LOGIT_BLOCK // len(self.present))
        return (slice(start, min(start + rows, self.count)) for start in range(0, self.count, rows))

    def _own(self, logits: Tensor, part: slice) -> Tensor:
        """Each row's entry for its own class."""
        return logits.gather(0, self.labels[None, part])[0]

    def _residual(self, chance: Tensor, part: slice) -> Tensor:
        """Weight times (probability - one-hot label); in place."""
        return chance.scatter_add_(0, self.labels[None, part], torch.full_like(chance[:1], -1)).mul_(
            self.weights[part]
        )

    def start(self) -> Tensor:
        """No weights, and the logarithms of the class frequencies as biases, centred."""
        theta = torch.zeros(len(self.present), self.width + 1)
        frequency = torch.zeros(len(theta), dtype=torch.float64)
        bias = frequency.index_add_(0, self.labels.cpu(), self.weights.cpu()).log()
        theta[:, -1] = (bias - bias.mean()).float()
        return theta

    def logits(self, theta: Tensor) -> Tensor:
        """float32 (C, N): half a pass. Classes first: a softmax over the last, short axis takes five times as
        long."""
        on_device = theta.to(self.device)
        out = torch.empty(len(theta), self.count, device=self.device)
        for start, chunk in self.chunks():
            out[:, start : start + len(chunk)] = torch.addmm(on_device[:, -1:], on_device[:, :-1], chunk.T)
        self.flops += 2 * self.count * self.width * len(theta)
        return out

    def data_loss(self, logits: Tensor) -> float:
        """Weighted mean cross-entropy, float64 from float32 logits."""
        total = 0.0
        for part in self._parts():
            # not logsumexp: that goes through MKL's exp, whose threads cost 50 times the work on a busy
            # machine
            total -= float(self.weights[part] @ self._own(logits[:, part].double().log_softmax(0), part))
        return total

    def gradient(self, logits: Tensor) -> Tensor:
        """Of the data's part, (C, F + 1): half a pass."""
        residual = torch.empty_like(logits)
        bias = torch.zeros(len(logits), dtype=torch.float64, device=self.device)
        for part in self._parts():
            wide = self._residual(logits[:, part].double().softmax(0), part)
            bias += wide.sum(1)
            residual[:, part] = wide.float()
        out = torch.zeros(len(logits), self.width + 1, device=self.device)
        for start, chunk in self.chunks():
            out[:, :-1].addmm_(residual[:, start : start + len(chunk)], chunk)
        out[:, -1] = bias.float()
        self.flops += 2 * self.count * self.width * len(out)
        return out.cpu()

    def line_minimum(
        self, logits: Tensor, change: Tensor, slope: float, along: float, square: float
    ) -> float:
        """The step to the minimum along a line, to 2 % of the slope at 0 (negative).

        change: of the logits for a step of 1. along, square: first and second derivative of the penalty
        there."""
        own = 0.0
        for part in self._parts():  # not sum(): it is compensated since Python 3.12, other bits than before
            own += float(self.weights[part] @ self._own(change[:, part], part).double())
        low, high, step = 0.0, math.inf, 1.0
        for _ in range(30):
            first, second = along + step * square - own, square
            for part in self._parts():
                delta = change[:, part].double()
                chance = (logits[:, part].double() + step * delta).softmax(0)
                centre = (chance * delta).sum(0)
                first += float(self.weights[part] @ centre)
                second += float(self.weights[part] @ (chance * (delta - centre).square_()).sum(0))
            if abs(first) <= 0.02 * abs(slope):
                break
            low, high = (low, step) if first > 0 else (step, high)
            step -= first / max(second, 1e-300)
            if not low < step < high:
                step = (low + high) / 2 if math.isfinite(high) else 2 * low
        return step

    def spread(self, logits: Tensor) -> tuple[Tensor, float, Tensor]:
        """How undecided each row is, u (1 - sum p^2) (N,), the mean curvature a, and the biases' own Hessian
        (C, C)."""
        share = torch.empty(self.count, dtype=torch.float64, device=self.device)
        bias_hessian = torch.zeros(
            len(self.present), len(self.present), dtype=torch.float64, device=self.device
        )
        for part in self._parts():
            chance = logits[:, part].double().softmax(0)
            share[part] = self.weights[part] * (1 - chance.square().sum(0)).clamp_min_(0)
            bias_hessian += _softmax_hessian(chance, self.weights[part])
        return share, float(share.sum()) / max(len(self.present) - 1, 1), _grounded(bias_hessian).cpu()

    def gram(self, share: Tensor) -> Tensor:
        """Gram matrix (F, F) of rows weighted by their share of the sum, lower triangle; reads the features.

        Of at most 4 F rows, drawn systematically in proportion to the share: no randomness."""
        total = float(share.sum())
        draws = 4 * self.width
        if self.count <= draws:
            amount = (share / max(total, 1e-300)).sqrt().float()
        else:
            grid = (torch.arange(draws, dtype=torch.float64, device=self.device) + 0.5) * (total / draws)
            drawn = torch.searchsorted(share.cumsum(0), grid).clamp_(max=self.count - 1)
            amount = (torch.bincount(drawn, minlength=self.count).double() / draws).sqrt().float()
        gram = torch.zeros(self.width, self.width, device=self.device)
        # bf16 products only where rows are drawn and the level below covers their rounding; this is no part
        # of the objective
        dtype = torch.bfloat16 if self.count > draws and has_native_bf16(self.device) else torch.float32
        held, waiting = [], 0
        for start, chunk in self.chunks():
            kept = torch.nonzero(amount[start : start + len(chunk)])[:, 0]
            held.append((chunk[kept] * amount[start + kept, None]).to(dtype))
            waiting += len(kept)
            if waiting >= _GRAM_ROWS or start + len(chunk) == self.count:
                self._add_gram(gram, torch.cat(held))
                held, waiting = [], 0
        if self.count > draws:
            # Few draws make small eigenvalues too small and the steps too long: the line search then cuts
            # them to a third.
            level = 0.1 * float(gram.diagonal().mean())
            gram.mul_(0.9).diagonal().add_(level)
        return gram

    def _add_gram(self, gram: Tensor, block: Tensor) -> None:
        # Only the blocks of the lower triangle, which is what the Cholesky factorisation reads: 5/8 of the
        # products.
        size = max(64, -(-self.width // 4))
        for i in range(0, self.width, size):
            gram[i : i + size, : i + size] += block[:, i : i + size].T @ block[:, : i + size]
            self.flops += 2 * len(block) * size * (i + size)

    def raw(self, theta: Tensor) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """weight (C, D) and bias (C,) of the present classes, for raw features."""
        theta = theta.to(self.device)
        weight = theta[:, :-1] if self.rotation is None else theta[:, :-1] @ self.rotation.T
        weight = (weight * self.scale).double()
        bias = theta[:, -1].double() - weight @ self.mean.double()
        return weight.float().cpu().numpy(), bias.float().cpu().numpy()

    def floor(self, logits: Tensor) -> float:
        """The logit for classes that have no training rows."""
        return float(logits.logsumexp(0).min()) + math.log(ABSENT_PROBABILITY)

    def expand(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32], floor: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The same with rows for the classes that have no training rows."""
        whole = np.zeros((self.num_classes, weight.shape[1]), dtype=np.float32)
        offset = np.full(self.num_classes, floor, dtype=np.float32)
        whole[self.present], offset[self.present] = weight, bias
        return whole, offset

    def check(
        self, weight: NDArray[np.float32], bias: NDArray[np.float32], l2: Sequence[float]
    ) -> list[Check]:
        """Loss, gradient and gap in float64 from the raw features and the weights handed out, float32 (P, C,
        D), (P, C).

        All in one reading: P optima cost little more than one, since a product with ten columns waits for
        memory."""
        several, classes, columns = weight.shape
        kernel = torch.from_numpy(weight).double().to(self.device).reshape(-1, columns)
        offset = torch.from_numpy(bias).double().to(self.device).reshape(-1, 1)
        penalty = torch.tensor(list(l2), dtype=torch.float64, device=self.device)
        gradient, residual_sum = torch.zeros_like(kernel), torch.zeros_like(offset)
        loss, hessian = torch.zeros_like(penalty), kernel.new_zeros(several, classes, classes)
        for start, wide in self.rows.chunks(self.device, torch.float64):
            part = slice(start, start + len(wide))
            own = self.labels[part].expand(several, 1, -1)
            logits = torch.addmm(offset, kernel, wide.T).view(several, classes, -1)
            loss -= logits.log_softmax(1).gather(1, own)[:, 0] @ self.weights[part]
            chance = logits.softmax(1)
            hessian += _softmax_hessian(chance, self.weights[part])
            residual = chance.scatter_add_(1, own, torch.full_like(chance[:, :1], -1)).mul_(
                self.weights[part]
            )
            gradient.addmm_(residual.view(several * classes, -1), wide)
            residual_sum += residual.sum(2).view(-1, 1)
        self.flops += 4 * self.count * kernel.numel()
        standardised = (kernel / self.scale.double()).view(several, classes, columns)
        gradient = ((gradient - residual_sum * self.mean.double()) * self.scale.double()).view_as(
            standardised
        )
        gradient += penalty[:, None, None] * standardised
        loss += 0.5 * penalty * standardised.square().sum((1, 2))
        residual_sum = residual_sum.view(several, classes)
        newton = torch.linalg.solve(_grounded(hessian), residual_sum)
        gap = gradient.square().sum((1, 2)) / (2 * penalty) + 0.5 * (residual_sum * newton).sum(1)
        norm = torch.maximum(gradient.abs().amax((1, 2)), residual_sum.abs().amax(1))
        return [Check(*values) for values in zip(loss.tolist(), norm.tolist(), gap.tolist(), strict=True)]


def _softmax_hessian(chance: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum over rows of diag(p) - p p', (..., C, C), of chance (..., C, N)."""
    weighted = chance * weights
    return torch.diag_embed(weighted.sum(-1)) - weighted @ chance.mT


def _grounded(hessian: Tensor) -> Tensor:
    """The same, made invertible along the constant direction, where it is 0 and no gradient points."""
    trace = hessian.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(1e-300)
    return hessian + (trace / hessian.shape[-1] ** 2)[..., None, None]
