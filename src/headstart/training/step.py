"""One training step: from a batch to new weights."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from headstart.data import splits
from headstart.models.network import Network
from headstart.recipes import TrainingRecipe
from headstart.runtime.cost import count_flops
from headstart.runtime.cuda_graph import recorded
from headstart.runtime.precision import autocast
from headstart.training.optimizers import build_optimizers

_TIMED_STEPS = 3  # steps timed to turn a duration in seconds into steps


class Batches(Protocol):
    """What is learned from: epochs of (input, labels) batches on the device."""

    batch_size: int
    labels: Tensor  # int64 (N,), of all the images
    joins_single: bool  # a last batch of one image joins the one before

    @property
    def steps_per_epoch(self) -> int: ...

    @property
    def leaves_single(self) -> bool: ...

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What one step needs besides its batch.

    network: what learns. prepare: batch input -> network input, on the device. precision: "bf16" or "fp32".
    class_weights: of the loss, float32 (C,), on the device; None: each image counts alike. forward: network
    input -> logits, where something faster than the network itself computes them."""

    network: Network
    recipe: TrainingRecipe
    prepare: Callable[[Tensor], Tensor]
    device: torch.device
    precision: str
    class_weights: Tensor | None = None
    forward: Callable[[Tensor], Tensor] | None = None

    def take(self, inputs: Tensor, labels: Tensor, optimizers: list[Optimizer]) -> tuple[Tensor, Tensor]:
        """Learns from one batch; its mean loss (of weighted classes: the weighted mean) and number of correct
        answers, both on the device."""
        x = self.prepare(inputs)
        with autocast(self.precision, self.device):
            logits = (self.forward or self.network)(x)
        loss = F.cross_entropy(
            logits.float(), labels, weight=self.class_weights, label_smoothing=self.recipe.label_smoothing
        )
        loss.backward()  # type: ignore[no-untyped-call]
        if (bound := self.recipe.gradient_bound) is not None:
            learning = [each for each in self.network.parameters() if each.grad is not None]
            torch.nn.utils.clip_grad_norm_(learning, bound)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.detach(), (logits.detach().argmax(1) == labels).sum()

    def takes_one(self, batches: Batches) -> bool:
        """Whether the network can learn from a batch of one image: BatchNorm at a single position cannot."""
        inputs, _ = next(iter(batches.epoch(0)))
        network = copy.deepcopy(self.network).train()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            x = self.prepare(inputs[:1])
            try:
                with autocast(self.precision, self.device):
                    network(x)
            except ValueError:  # BatchNorm: expected more than 1 value per channel
                return False
        return True

    def recorded(self, batches: Batches) -> Step:
        """The same step, on a GPU replayed from a recording; see runtime.cuda_graph."""

        def sample() -> Tensor:
            return self.prepare(next(iter(batches.epoch(0)))[0])

        forward = recorded(self.network, sample, device=self.device, precision=self.precision)
        return dataclasses.replace(self, forward=forward)

    def balanced(self, labels: Tensor) -> Step:
        """The same step, each class of the training labels (int64 (N,)) weighed alike in the loss."""
        values = labels.cpu().numpy()
        weights = torch.from_numpy(splits.class_weights(values, int(values.max()) + 1)).float()
        return dataclasses.replace(self, class_weights=weights.to(labels.device))

    def flops_per_example(self, batches: Batches) -> float:
        """Operations per example of one full step, optimiser included, counted on a copy: the network is left
        as it was."""
        step, optimizers = self._on_copy()
        inputs, labels = next(iter(batches.epoch(0)))
        _, flops = count_flops(lambda: step.take(inputs, labels, optimizers))
        return flops / len(labels)

    def seconds(self, batches: Batches) -> float:
        """Seconds a step as it will be taken (on a GPU from a recording), the median of a few on a copy after
        one to warm up."""
        step, optimizers = self._on_copy()
        step = step.recorded(batches)
        inputs, labels = next(iter(batches.epoch(0)))
        seconds = []
        for _ in range(1 + _TIMED_STEPS):
            start = time.perf_counter()
            step.take(inputs, labels, optimizers)
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            seconds.append(time.perf_counter() - start)
        return sorted(seconds[1:])[_TIMED_STEPS // 2]

    def _on_copy(self) -> tuple[Step, list[Optimizer]]:
        network = copy.deepcopy(self.network)
        step = dataclasses.replace(self, network=network, forward=None)
        return step, build_optimizers(network, self.recipe)
