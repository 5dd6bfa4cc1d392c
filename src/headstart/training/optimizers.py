"""Optimisers by name, and how a model's parameters are shared out among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from headstart.errors import ConfigError
from headstart.models.network import Network
from headstart.recipes import CNNRecipe, TrainingRecipe, TransferRecipe
from headstart.runtime.eager import eager, without_compiler
from headstart.runtime.precision import has_native_bf16


class Muon(Optimizer):
    """Momentum whose update is made orthogonal; for convolution filters (out, in, kh, kw).

    Each step first scales a filter bank back to norm sqrt(out), so its size never drifts and weight decay is
    not needed. torch.optim.Muon takes matrices only and does not hold the norm. Its products are bfloat16
    where the device does those in hardware: where it does not, float32 made the CNN's training 1.59 times as
    fast (two AVX2 cores).
    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the norm as in
    cifar10-airbench.
    """

    def __init__(self, params: Sequence[Tensor], learning_rate: float, momentum: float) -> None:
        without_compiler()
        super().__init__(params, {"lr": learning_rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            dtype = torch.bfloat16 if has_native_bf16(group["params"][0].device) else torch.float32
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter.grad)
                buffer = state["momentum_buffer"]
                buffer.mul_(group["momentum"]).add_(parameter.grad)
                update = parameter.grad.add(buffer, alpha=group["momentum"])
                parameter.mul_(math.sqrt(len(parameter)) / parameter.norm())
                direction = orthogonalise(update.reshape(len(update), -1), dtype).reshape(update.shape)
                parameter.add_(direction.to(parameter.dtype), alpha=-group["lr"])


def orthogonalise(matrix: Tensor, dtype: torch.dtype, steps: int = 3) -> Tensor:
    """Roughly U V^T of the matrix U S V^T, of the dtype, same shape: all singular values near one.

    A quintic Newton-Schulz iteration whose coefficients rise fastest at zero; after three steps the singular
    values lie between about 0.5 and 1.5, which trains as well as exact ones. Source: as Muon's."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x: Tensor = matrix.to(dtype)
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    orthogonal: Tensor = x.T if tall else x
    return orthogonal


_Named = list[tuple[str, nn.Parameter]]


def build_optimizers(network: Network, recipe: TrainingRecipe) -> list[Optimizer]:
    """The optimisers of a recipe over the parameters that learn. Each group holds `initial_lr` and
    `lr_ends_at`: the fraction of all steps at which it stops learning.

    Raises: ConfigError as stage_scales."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if recipe.optimizer == "muon":
        assert isinstance(recipe, CNNRecipe)
        optimizers = _muon_and_sgd(named, recipe)
    else:
        scales = stage_scales(network, recipe) if isinstance(recipe, TransferRecipe) else {}
        optimizers = [_sgd_or_adamw(named, scales, recipe)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
            group.setdefault("lr_ends_at", 1.0)
    return optimizers


def _muon_and_sgd(named: _Named, recipe: CNNRecipe) -> list[Optimizer]:
    """Muon for convolution filters; SGD for the first layer's bias, all other biases and the head."""
    filters = [p for _, p in named if p.ndim == 4]
    whiten = [p for name, p in named if name.startswith("whiten.")]
    heads = [p for name, p in named if name.startswith("head.")]
    taken = {id(p) for p in (*filters, *whiten, *heads)}
    biases = [p for _, p in named if id(p) not in taken]

    def group(params: list[nn.Parameter], rate: float, ends_at: float = 1.0) -> dict[str, Any]:
        # the recipe's rates are for a loss summed over the batch, ours is its mean
        lr = rate * recipe.batch_size
        # torch couples decay with the learning rate; the recipe's is per step
        decay = recipe.weight_decay / lr
        return {"params": params, "lr": lr, "weight_decay": decay, "lr_ends_at": ends_at}

    groups = [
        group(whiten, recipe.bias_learning_rate, recipe.whiten_bias_fraction),
        group(biases, recipe.bias_learning_rate),
        group(heads, recipe.head_learning_rate),
    ]
    return [
        eager(SGD)(groups, momentum=recipe.bias_momentum, nesterov=True),
        Muon(filters, recipe.learning_rate, recipe.momentum),
    ]


def _sgd_or_adamw(named: _Named, scales: Mapping[int, float], recipe: TrainingRecipe) -> Optimizer:
    """One optimiser; a group for each learning rate (scales: by parameter id, over the recipe's), with and
    without weight decay."""
    shared: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for _, p in named:
        decays = p.ndim > 1  # biases and BatchNorm are not decayed
        shared.setdefault((scales.get(id(p), 1.0), decays), []).append(p)
    # The recipe's own rate first: it is the one that set_learning_rates reports.
    order = sorted(shared, key=lambda part: (part[0] != 1.0, -part[0], not part[1]))
    groups = [
        {
            "params": shared[scale, decays],
            "lr": recipe.learning_rate * scale,
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for scale, decays in order
    ]
    # on a GPU: one kernel a group instead of dozens
    fused = True if all(p.is_cuda for _, p in named) else None
    if recipe.optimizer == "adamw":
        return eager(AdamW)(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999), fused=fused)
    nesterov = recipe.momentum > 0
    return eager(SGD)(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=fused
    )


def stage_scales(network: Network, recipe: TransferRecipe) -> dict[int, float]:
    """Learning rate of each parameter (by id) over the recipe's: the last stage has 1, each one before it
    `stage_lr_decay` of its successor's, what lies after the stages (the head) `head_lr_scale`.

    Raises: ConfigError where scales are asked for and the network has no stages."""
    if not network.stages():
        if recipe.stage_lr_decay == recipe.head_lr_scale == 1:
            return {}
        raise ConfigError(
            f"{type(network).__name__} has no stages to give learning rates of their own; set "
            "stage_lr_decay = 1 and head_lr_scale = 1 in recipe_changes"
        )
    stages = [parameters for _, stage in network.stages() if (parameters := list(stage.parameters()))]
    scales = {id(p): recipe.head_lr_scale for p in network.parameters()}
    for steps_before_last, stage in enumerate(reversed(stages)):
        scales |= {id(p): recipe.stage_lr_decay**steps_before_last for p in stage}
    return scales


def set_learning_rates(
    optimizers: list[Optimizer], step: int, total_steps: int, recipe: TrainingRecipe
) -> float:
    """Sets each group's learning rate for a step (counted from 0) and returns the main group's."""
    warmup = recipe.warmup_fraction * total_steps
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            end = group["lr_ends_at"] * total_steps
            factor = (
                (step + 1) / (warmup + 1)
                if step < warmup
                else max(0.0, 1 - (step - warmup) / max(end - warmup, 1e-9))
            )
            if group["lr_ends_at"] == 1.0:
                factor = recipe.final_lr_fraction + (1 - recipe.final_lr_fraction) * factor
            group["lr"] = group["initial_lr"] * factor
    return float(optimizers[-1].param_groups[0]["lr"])
