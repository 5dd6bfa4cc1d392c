"""Multinomial logistic regression over a whole L2 path, on features that stay on disk.

The objective is scikit-learn's (its C is 1 / (l2 * N)): weighted mean cross-entropy + l2 / 2 * ||W||^2, on
features standardised over the training rows, biases unpenalised. Strong to weak l2, each started from a
linear extrapolation (in log l2) of the two before it.

The method: L-BFGS whose initial inverse Hessian is one Cholesky factor for each l2, of a * S + l2 * I, where
S is the Gram matrix of rows drawn in proportion to 1 - sum p^2 and a the mean curvature of the softmax. Its
curvature pairs are kept along the path: a change of l2 changes their part of the gradient by a known amount.
Logits are linear in the step, so the line search is exact and reads no features: an iteration is one product
X d and one product X' r. At the end the whole path is checked in float64, in one reading.

What each idea gave, in passes over all features until the gap is <= 1e-6 of the loss (2026-11-23):
- made-up, nearly separable 10,000 x 2,048, the first 7 of 10 values of logspace(0.5, -4): Boehning's bound
  X'X / 2N as S 751, rows weighted by how undecided they are 90; less separable, all 10 values: 190, with
  extrapolation 105.
- made-up 45,000 x 2,048, 8,192 rows drawn, l2 = 1e-3 alone: a search only where the unit step fails 44, the
  exact line search 24; no further gain from nine factors (one for each eigenvalue of the softmax's curvature)
  or ten Gram matrices (one a class). Extrapolated probabilities as weights of S: worse (157 against 105
  passes), they are too sure.
- ResNet-50 features of 45,000 CIFAR-10 images at 96 px, gap <= 1e-4, logspace(0.5, -4): 60 pairs kept 359,
  200 pairs 297; 1 to 0.002 in 10 values: 20 pairs 122, 100 pairs 110, that is 17 s on one core of an AMD EPYC
  (AVX512-BF16).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from headstart.errors import ConfigError
from headstart.training.feature_rows import Rows, Scaling, full_precision, predict_logits
from headstart.training.logistic_problem import Problem, targets_of

__all__ = ["LogisticFit", "Scaling", "SolverOptions", "fit_path", "predict_logits"]

MAX_PAIRS = 100  # of L-BFGS, fewer where they would take more than PAIR_BYTES; at least 10
PAIR_BYTES = 64 * 2**20
_CHECK_COLUMNS = 256  # optima x classes checked in one reading in float64
# after so many at one l2, check whether the preconditioner is stale: matters for a cold start
REFRESH_ITERATIONS = 12
# the Gram matrix is drawn anew when the rows are less undecided than this times what they were
STALE_FRACTION = 0.5

Raw = Callable[[], tuple[NDArray[np.float32], NDArray[np.float32]]]
OnPass = Callable[[float, int, float, Raw], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class SolverOptions:
    """How fit_path solves.

    tolerance: wanted gap as a fraction of the loss. max_passes: at most this many for each l2. sample_weight:
    (N,) >= 0; None: all alike. on_pass(l2, pass, loss, raw) is called after each pass; raw() gives the weight
    and bias of that moment, for raw features. device: where the features are worked on; the CPU for fewer
    rows than columns in any case. scaling: of the features, see feature_rows."""

    tolerance: float = 1e-6
    max_passes: int = 300
    sample_weight: ArrayLike | None = None
    on_pass: OnPass | None = None
    device: str = "cpu"
    scaling: Scaling = "columns"


@dataclass(frozen=True, kw_only=True)
class LogisticFit:
    """The optimum for one l2: logits are features @ weight.T + bias, on raw (not standardised) features.

    weight: float32 (K, D). bias: float32 (K,). A class without training rows has weight 0 and a low constant
    logit.
    loss: the objective, evaluated in float64 from this weight and bias over the classes that have rows.
    gradient_norm: largest absolute entry of its gradient (standardised weights and bias), float64.
    gap: bound on loss - optimum, ||g_W||^2 / (2 l2) by strong convexity, plus the bias's part to second
    order.
    passes: readings of all features, the float64 check included. converged: gap <= tolerance * loss.
    flops: floating-point operations, counted. history: (pass, loss) after each pass, falling.
    """

    l2: float
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    loss: float
    gradient_norm: float
    gap: float
    passes: int
    converged: bool
    flops: int
    history: list[tuple[int, float]]


def fit_path(
    values: ArrayLike,
    labels: ArrayLike,
    *,
    num_classes: int,
    l2_values: Sequence[float],
    ids: ArrayLike | None = None,
    options: SolverOptions | None = None,
) -> list[LogisticFit]:
    """One LogisticFit for each of l2_values, in their order.

    values: (N, D) float16 or float32, may be memory-mapped; labels: (N,) in [0, num_classes). ids: the rows
    to train on (order does not matter), None: all. Same inputs, threads and device: the same bits.

    Raises: DataError for features that are not finite, labels out of range, lengths that differ or no rows;
    ConfigError for an l2 that is not positive.
    """
    path = [float(value) for value in l2_values]
    for value in path:
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"l2 must be positive and finite, not {value}")
    options = options or SolverOptions()
    chosen = None if ids is None else np.sort(np.asarray(ids).astype(np.int64))
    rows = Rows(values, chosen, scaling=options.scaling)
    targets, weights = targets_of(rows, labels, options.sample_weight, num_classes)
    # Few rows are rotated into their span (logistic_problem.Problem): that is less work than waiting for a
    # GPU's answers.
    device = options.device if len(rows) >= rows.values.shape[1] else "cpu"
    with full_precision():
        problem = Problem(rows, targets, weights, num_classes, torch.device(device))
        fits = _Solver(problem, options).path(sorted(set(path), reverse=True))
    return [fits[value] for value in path]


@dataclass
class _State:
    """How far one l2 has come."""

    l2: float
    theta: Tensor
    logits: Tensor | None  # kept while it is being worked on
    goal: float  # gap, as a fraction of the loss, at which float32 is content
    passes: int = 0
    flops: int = 0
    stalled: bool = False
    floor: float = 0.0
    history: list[tuple[int, float]] = field(default_factory=list)


class _Pair(NamedTuple):
    """A step and what it changed in the data's part of the gradient; the penalty's part follows from the l2
    of the moment."""

    step: Tensor
    change: Tensor
    curvature: float  # step . change
    square: float  # of the step's weights

    @classmethod
    def of(cls, step: Tensor, change: Tensor) -> _Pair:
        return cls(step, change, _dot(step, change), _dot(step[:, :-1], step[:, :-1]))


class _Solver:
    """Walks down the path; keeps the last two optima, the curvature pairs and the Gram matrix."""

    def __init__(self, problem: Problem, options: SolverOptions) -> None:
        self.problem, self.options = problem, options
        self.pairs: list[_Pair] = []
        self.most_pairs = min(
            MAX_PAIRS, max(10, PAIR_BYTES // (8 * len(problem.present) * (problem.width + 1)))
        )
        self.gram: Tensor | None = None
        self.gram_level = 0.0

    def path(self, l2_values: Sequence[float]) -> dict[float, LogisticFit]:
        """Fits of falling l2."""
        problem = self.problem
        states: list[_State] = []
        theta = problem.start()
        logits = problem.logits(theta)
        for l2 in l2_values:
            before = problem.flops if states else 0  # the first also pays for the preparation
            state = _State(l2, theta, logits, 0.5 * self.options.tolerance)
            state.passes += 1 + self._precondition(l2, logits)
            self._predict(state, states)
            self._descend(state)
            assert state.logits is not None
            theta, logits, state.logits = state.theta, state.logits, None
            state.flops = problem.flops - before
            states.append(state)
        fits: dict[float, LogisticFit] = {}
        at_once = max(1, _CHECK_COLUMNS // len(problem.present))
        for start in range(0, len(states), at_once):
            for fit in self._finish(states[start : start + at_once]):
                fits[fit.l2] = fit
        return fits

    def _finish(self, states: list[_State]) -> Iterator[LogisticFit]:
        """Float64's word on each, more steps for those that it does not accept."""
        while states:
            before = self.problem.flops
            raw = [self.problem.raw(state.theta) for state in states]
            checks = self.problem.check(
                np.stack([weight for weight, _ in raw]),
                np.stack([bias for _, bias in raw]),
                [state.l2 for state in states],
            )
            left: list[_State] = []
            for state, (weight, bias), check in zip(states, raw, checks, strict=True):
                state.passes += 1
                state.flops += (self.problem.flops - before) // len(states)
                converged = check.gap <= self.options.tolerance * check.loss
                if not (converged or state.stalled or state.passes >= self.options.max_passes - 1):
                    left.append(state)
                    continue
                weight, bias = self.problem.expand(weight, bias, state.floor)
                yield LogisticFit(
                    l2=state.l2,
                    weight=weight,
                    bias=bias,
                    loss=check.loss,
                    gradient_norm=check.gradient_norm,
                    gap=check.gap,
                    passes=state.passes,
                    converged=converged,
                    flops=state.flops,
                    history=state.history,
                )
            states = left
            for state in states:
                before = self.problem.flops
                state.goal *= 0.1  # float32 saw an optimum where float64 does not yet
                state.logits = self.problem.logits(state.theta)
                state.passes += 1 + self._precondition(state.l2, state.logits)
                self._descend(state)
                state.logits = None
                state.flops += self.problem.flops - before

    def _predict(self, state: _State, states: list[_State]) -> None:
        """Moves to the straight line (in log l2) through the last two optima, where that has a lower loss
        than the last."""
        if len(states) < 2:
            return
        first, second = states[-2:]
        ratio = math.log(state.l2 / second.l2) / math.log(second.l2 / first.l2)
        theta = second.theta + ratio * (second.theta - first.theta)
        logits = self.problem.logits(theta)
        assert state.logits is not None
        if self._loss(theta, logits, state.l2) < self._loss(state.theta, state.logits, state.l2):
            state.theta, state.logits = theta, logits
        else:
            state.logits = self.problem.logits(state.theta)  # anew: the running sum has drifted in float32

    def _descend(self, state: _State) -> None:
        """Steps until the goal is met, the passes are spent (but for the check) or float32 has no more to
        give."""
        problem, l2, theta, logits = self.problem, state.l2, state.theta, state.logits
        assert logits is not None
        loss, gradient = self._loss(theta, logits, l2), problem.gradient(logits)
        if not state.history:
            self._report(state, loss)
        iterations = 0
        while not state.stalled and state.passes < self.options.max_passes - 1:
            whole = _penalised(gradient, theta, l2)
            if self._gap(whole, l2) <= state.goal * loss:
                break
            if iterations and iterations % REFRESH_ITERATIONS == 0:
                state.passes += self._precondition(l2, logits)
            step = self._direction(whole, l2)
            change = problem.logits(step)
            along, square = l2 * _dot(theta[:, :-1], step[:, :-1]), l2 * _dot(step[:, :-1], step[:, :-1])
            length = problem.line_minimum(logits, change, _dot(whole, step), along, square)
            new_theta, new_logits = theta + length * step, logits + length * change
            new_loss = self._loss(new_theta, new_logits, l2)
            state.passes += 1
            iterations += 1
            if not new_loss < loss:  # rounding: once more without the pairs, then it is the end of float32
                state.stalled = not self.pairs
                self.pairs.clear()
                continue
            new_gradient = problem.gradient(new_logits)
            self.pairs = [
                *self.pairs[1 - self.most_pairs :],
                _Pair.of(new_theta - theta, new_gradient - gradient),
            ]
            theta, logits, loss, gradient = new_theta, new_logits, new_loss, new_gradient
            state.theta, state.logits = theta, logits
            self._report(state, loss)
        state.floor = problem.floor(logits)

    def _precondition(self, l2: float, logits: Tensor) -> int:
        """From a known optimum's logits: extrapolated ones are too sure of themselves. Readings of the
        features: 0 or 1."""
        share, level, self.bias_hessian = self.problem.spread(logits)
        stale = self.gram is None or level < STALE_FRACTION * self.gram_level
        if stale:
            self.gram, self.gram_level = self.problem.gram(share), level
        assert self.gram is not None
        matrix = self.gram * level
        matrix.diagonal().add_(l2)
        for jitter in (0.0, 1e-6, 1e-4, 1e-2, 1.0):  # rounding can leave a Gram matrix of low rank indefinite
            matrix.diagonal().add_(jitter * matrix.diagonal().mean())
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not int(failed):
                break
        self.factor = factor.cpu()
        self.problem.flops += len(matrix) ** 3 // 3
        return int(stale)

    def _inverse(self, vector: Tensor) -> Tensor:
        out = torch.empty_like(vector)
        out[:, :-1] = torch.cholesky_solve(vector[:, :-1].T.contiguous(), self.factor).T
        out[:, -1] = torch.linalg.solve(self.bias_hessian, vector[:, -1].double()).float()
        self.problem.flops += 2 * len(self.factor) ** 2 * len(vector)
        return out

    def _direction(self, gradient: Tensor, l2: float) -> Tensor:
        """L-BFGS's two loops; the penalty's part of each pair is added for this l2."""
        left = gradient.clone()
        shares: list[float] = []
        for pair in reversed(self.pairs):
            share = float((pair.step * left).sum()) / (pair.curvature + l2 * pair.square)
            left.add_(pair.change, alpha=-share)
            left[:, :-1].add_(pair.step[:, :-1], alpha=-share * l2)
            shares.append(share)
        out = self._inverse(left)
        for pair, share in zip(self.pairs, reversed(shares), strict=True):
            along = float((pair.change * out).sum()) + l2 * float((pair.step[:, :-1] * out[:, :-1]).sum())
            out.add_(pair.step, alpha=share - along / (pair.curvature + l2 * pair.square))
        return out.neg_()

    def _gap(self, gradient: Tensor, l2: float) -> float:
        bias = gradient[:, -1].double()
        newton = torch.linalg.solve(self.bias_hessian, bias)
        return _dot(gradient[:, :-1], gradient[:, :-1]) / (2 * l2) + 0.5 * _dot(bias, newton)

    def _loss(self, theta: Tensor, logits: Tensor, l2: float) -> float:
        return self.problem.data_loss(logits) + 0.5 * l2 * _dot(theta[:, :-1], theta[:, :-1])

    def _report(self, state: _State, loss: float) -> None:
        state.history.append((state.passes, loss))
        if self.options.on_pass is not None:
            theta, logits, problem = state.theta, state.logits, self.problem
            assert logits is not None
            self.options.on_pass(
                state.l2,
                state.passes,
                loss,
                lambda: problem.expand(*problem.raw(theta), problem.floor(logits)),
            )


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a.double() * b.double()).sum())


def _penalised(gradient: Tensor, theta: Tensor, l2: float) -> Tensor:
    """The data's gradient plus the penalty's."""
    out = gradient.clone()
    out[:, :-1] += l2 * theta[:, :-1]
    return out
