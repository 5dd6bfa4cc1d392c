"""Many heads by the recipe `probe-unit` at once, on few images: for simulations of thousands of fits.

The objective is that of headstart.training.logistic with scaling "unit"; the solver is another one, Newton
steps by conjugate gradients in the span of the training images, for all problems of a batch together. For
96 problems of 10 L2 on up to 60 images the package's solver takes about 10 s of processor time, this one 0.6.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_NEWTON, _CG = 12, 40  # steps at most
_GAP = 1e-3  # of the loss; the recipe's is 1e-4


class ManyHeads:
    """Heads on different parts of the same images, each at every L2 of a path.

    unit: float (N, D), rows of length 1. labels: int (N,). masks: bool (P, N), the images that each problem
    learns from; about as many in each, for they are worked on side by side. l2_values: the path."""

    def __init__(self, unit: np.ndarray, labels: np.ndarray, masks: np.ndarray, l2_values: tuple[float, ...]):
        self.points = torch.from_numpy(np.asarray(unit, np.float64))
        learns = torch.from_numpy(masks)
        width = int(learns.sum(1).max())
        order = torch.argsort(~learns, dim=1, stable=True)[:, :width]  # each problem's own images first
        weights = learns.gather(1, order).double()
        self.order, self.count = order, weights.sum(1)
        self.classes = int(labels.max()) + 1
        one_hot = torch.nn.functional.one_hot(torch.from_numpy(labels), self.classes)
        self.targets = one_hot[order].float()
        plain = self.points @ self.points.T
        self.mean = (learns.double() @ plain) / self.count[:, None]  # (P, N): of each row with the mean row
        self.middle = (self.mean * learns).sum(1) / self.count
        own = self._centred(plain, self.mean, slice(None)).gather(
            1, order[:, :, None].expand(-1, -1, width)
        )  # (P, n, n)
        own = own * weights[:, :, None] * weights[:, None, :]
        self.variance = own.diagonal(dim1=1, dim2=2).sum(1) / (self.count * self.points.shape[1])
        values, vectors = torch.linalg.eigh(own / self.variance[:, None, None])
        kept = values > 1e-6 * values[:, -1:]
        self.values = torch.where(kept, values, 0.0).float()
        self.weights = weights.float()
        self.rows = (vectors * self.values.double().sqrt()[:, None, :]).float()  # (P, n, n): in the span
        self.back = vectors * torch.where(kept, values.clamp_min(1e-300).rsqrt(), 0.0)[:, None, :]
        self.back = self.back * weights[:, :, None] / self.variance[:, None, None]
        self.plain = plain
        self.solutions = self._path(l2_values)

    def _centred(self, plain: Tensor, own_mean: Tensor, problems: slice) -> Tensor:
        """Products (M, N) of rows with the images, both less the mean row: (P, M, n). own_mean: (P, M)."""
        order, mean = self.order[problems], self.mean[problems]
        columns = plain.T[order].transpose(1, 2)  # (P, M, n)
        return (
            columns
            - own_mean[:, :, None]
            - mean.gather(1, order)[:, None, :]
            + self.middle[problems][:, None, None]
        )

    def logits(self) -> Tensor:
        """Of all images: (L, P, N, C)."""
        rows = (self._centred(self.plain, self.mean, slice(None)) @ self.back).float()
        return torch.stack([rows @ theta + bias for theta, bias in self.solutions])

    def of_others(self, others: np.ndarray, problem: int, place: int) -> Tensor:
        """Logits of rows of length 1 (M, D) by one problem's head at the l2 of that place: (M, C)."""
        plain = torch.from_numpy(np.asarray(others, np.float64)) @ self.points.T
        only = slice(problem, problem + 1)
        chosen = self.order[problem][self.weights[problem] > 0]
        own_mean = plain[:, chosen].mean(1)[None]
        theta, bias = (part[problem] for part in self.solutions[place])
        return (self._centred(plain, own_mean, only)[0] @ self.back[problem]).float() @ theta + bias

    def _path(self, l2_values: tuple[float, ...]) -> list[tuple[Tensor, Tensor]]:
        problems, images = self.weights.shape
        self.count = self.count.float()
        theta = torch.zeros(problems, images, self.classes, dtype=torch.float)
        frequency = (self.weights[:, :, None] * self.targets).sum(1) / self.weights.sum(1, keepdim=True)
        bias = frequency.log()[:, None, :]
        found: dict[float, tuple[Tensor, Tensor]] = {}
        for l2 in sorted(l2_values, reverse=True):
            theta, bias = self._solve(l2, theta, bias)
            found[l2] = (theta, bias)
        return [found[l2] for l2 in l2_values]

    def _loss(self, theta: Tensor, bias: Tensor, l2: float) -> Tensor:
        """(P,)"""
        logits = self.rows @ theta + bias
        entropy = logits.logsumexp(2) - (logits * self.targets).sum(2)
        return (entropy * self.weights).sum(1) / self.count + 0.5 * l2 * theta.square().sum((1, 2))

    def _solve(self, l2: float, theta: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        scale = (self.weights / self.count[:, None])[:, :, None]
        rows_t = self.rows.transpose(1, 2)
        loss = self._loss(theta, bias, l2)
        for _ in range(_NEWTON):
            share = (self.rows @ theta + bias).softmax(2)
            residual = (share - self.targets) * scale
            g_theta, g_bias = rows_t @ residual + l2 * theta, residual.sum(1, keepdim=True)
            gap = g_theta.square().sum((1, 2)) / (2 * l2) + g_bias.square().sum((1, 2))
            if bool((gap <= _GAP * loss).all()):
                break
            level = (share * (1 - share) * scale).sum((1, 2)) / self.classes  # mean curvature
            diagonal = (level[:, None] * self.values / self.count[:, None] + l2)[:, :, None]
            flat = level[:, None, None]
            hessian = _Hessian(self.rows, rows_t, share, scale, l2)
            d_theta, d_bias = _conjugate_gradients(hessian, -g_theta, -g_bias, diagonal, flat)
            step = torch.ones_like(loss)
            for _ in range(20):
                new = self._loss(
                    theta + step[:, None, None] * d_theta, bias + step[:, None, None] * d_bias, l2
                )
                worse = new > loss
                if not bool(worse.any()):
                    break
                step = torch.where(worse, step / 2, step)
            step = torch.where(new > loss, 0.0, step)[:, None, None]
            theta, bias, loss = theta + step * d_theta, bias + step * d_bias, torch.minimum(new, loss)
        return theta, bias


class _Hessian:
    def __init__(self, rows: Tensor, rows_t: Tensor, share: Tensor, scale: Tensor, l2: float):
        self.rows, self.rows_t, self.share, self.scale, self.l2 = rows, rows_t, share, scale, l2

    def __call__(self, theta: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        change = self.rows @ theta + bias
        inner = self.share * (change - (self.share * change).sum(2, keepdim=True)) * self.scale
        return self.rows_t @ inner + self.l2 * theta, inner.sum(1, keepdim=True)


def _dot(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> Tensor:
    return sum((a * b).sum((1, 2), keepdim=True) for a, b in zip(first, second, strict=True))


def _conjugate_gradients(
    hessian: _Hessian, theta: Tensor, bias: Tensor, diagonal: Tensor, flat: Tensor
) -> tuple[Tensor, Tensor]:
    """The solution of H d = (theta, bias), to a hundredth of its norm."""
    d_theta, d_bias = torch.zeros_like(theta), torch.zeros_like(bias)
    left = (theta, bias)
    ready = (left[0] / diagonal, left[1] / flat)
    along, product = ready, _dot(left, ready)
    first = product.clone()
    for _ in range(_CG):
        pushed = hessian(*along)
        length = product / _dot(along, pushed).clamp_min(1e-30)
        d_theta, d_bias = d_theta + length * along[0], d_bias + length * along[1]
        left = (left[0] - length * pushed[0], left[1] - length * pushed[1])
        ready = (left[0] / diagonal, left[1] / flat)
        following = _dot(left, ready)
        if bool((following <= 1e-4 * first).all()):
            break
        ratio = following / product.clamp_min(1e-30)
        along, product = (ready[0] + ratio * along[0], ready[1] + ratio * along[1]), following
    return d_theta, d_bias
