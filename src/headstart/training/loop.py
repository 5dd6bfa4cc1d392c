"""The one training loop: device, precision, schedule, averaged weights, checkpoints, cost.

The same trial on the same machine, versions and thread count gives the same bits, also when it was stopped
and
resumed: a batch depends on (seed, epoch, position) alone, and a checkpoint after an epoch holds all else.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from headstart.data import splits
from headstart.errors import ConfigError, HeadstartError, StoreError
from headstart.models.network import Network
from headstart.recipes import TrainingRecipe
from headstart.runtime import progress
from headstart.runtime.cost import count_flops
from headstart.runtime.cuda_graph import recorded
from headstart.runtime.precision import autocast
from headstart.store import write_bytes
from headstart.training.optimizers import build_optimizers, set_learning_rates

# The loss is looked at every so many steps; on a GPU looking means waiting for it.
_LOOK_EVERY = {"cpu": 1, "cuda": 50}
# Of the wall time, at most about this share goes into checkpoints: where an epoch is two steps, most ends are
# not written.
_CHECKPOINT_SHARE = 0.05
_TIMED_STEPS = 3  # steps timed to turn a duration in seconds into steps
_UNITS = {
    "epoch": "epochs",
    "epochs": "epochs",
    "step": "steps",
    "steps": "steps",
    "second": "seconds",
    "s": "seconds",
    "seconds": "seconds",
    "PFLOP": "PFLOP",
    "PFLOPs": "PFLOP",
}


class Batches(Protocol):
    """What the loop learns from: epochs of (input, labels) batches on the device."""

    batch_size: int
    labels: Tensor  # int64 (N,), of all the images

    @property
    def steps_per_epoch(self) -> int: ...

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]: ...


class DivergedError(HeadstartError):
    """The loss became NaN or infinite; the last finite checkpoint is kept."""

    exit_code = 8


@dataclass
class Training:
    """A finished training. history: a row an epoch (types.Result); seconds: of training steps alone."""

    model: Network
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    watch_seconds: float = 0.0  # spent on validation during training
    recording_seconds: float = 0.0  # of `seconds`, those before the first step
    examples: int = 0
    flops: int = 0
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a trial has cost before training begins: frozen features, and a head found on them."""

    seconds: float = 0.0
    flops: int = 0


def parse_duration(text: str) -> tuple[float, str]:
    """(amount, unit) of "2.5 epochs", "300 steps", "90 seconds" or "0.36 PFLOP" (1e15 operations). Raises:
    ConfigError."""
    amount, _, unit = text.strip().partition(" ")
    unit = _UNITS.get(unit.strip(), unit.strip())
    try:
        value = float(amount)
    except ValueError:
        value = math.nan
    if unit not in _UNITS.values() or not 0 < value < math.inf:
        raise ConfigError(
            f'duration {text!r} is not like "2.5 epochs", "300 steps", "90 seconds" or "0.36 PFLOP"'
        )
    return value, unit


def resolve_steps(
    duration: str,
    steps_per_epoch: int,
    seconds_per_step: Callable[[], float],
    flops_per_step: float = math.nan,
    spent: Spent | None = None,
) -> int:
    """Training steps of a duration, at least one; the only place where durations are converted.

    "3 epochs, at least 300 steps" is the longer of the two: an epoch of a small label budget has few steps.
    seconds_per_step is asked (it times a few steps) only where the duration is in seconds; after an epoch
    `train` takes steps off or adds some where they are slower or faster. A duration in seconds or PFLOP is
    the whole trial's: what was `spent` before training is taken off it."""
    duration, _, least = duration.partition(", at least ")
    if least:
        return max(
            resolve_steps(part, steps_per_epoch, seconds_per_step, flops_per_step, spent)
            for part in (duration, least)
        )
    amount, unit = parse_duration(duration)
    before = spent or Spent()
    if unit == "seconds":
        amount = (amount - before.seconds) / seconds_per_step()
    if unit == "PFLOP":
        amount = (amount * 1e15 - before.flops) / flops_per_step
    if unit == "epochs":
        amount *= steps_per_epoch
    return max(1, math.ceil(amount - 1e-9))


def _seconds_to_train(duration: str, spent: Spent | None) -> float | None:
    """Of a duration in seconds, what is left for training; None for any other."""
    if ", at least " in duration:
        return None
    amount, unit = parse_duration(duration)
    return amount - (spent or Spent()).seconds if unit == "seconds" else None


def train(
    model: Network,
    batches: Batches,
    recipe: TrainingRecipe,
    *,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
    checkpoint: Path | None = None,
    evaluate: Callable[[Network], dict[str, float]] | None = None,
    spent: Spent | None = None,
    what: str = "training",
) -> Training:
    """Trains `model` in place and returns it (its averaged weights where the recipe asks for them) with its
    history.

    prepare: batch input -> network input, on the device. evaluate: metrics after each epoch, e.g.
    val_accuracy.
    checkpoint: file written after epochs (the first, then as often as is cheap) and resumed from where it
    exists.
    spent: before this, see resolve_steps.
    Raises: DivergedError where the loss is not finite."""
    model.to(device)
    model.train()
    optimizers = build_optimizers(model, recipe)
    averaged = _averaged(model, recipe)
    done = Training(model=model)
    total_steps, flops_per_example = 0, 0.0
    if checkpoint is not None and checkpoint.exists():
        state = _load_checkpoint(checkpoint, model, averaged, optimizers)
        done.history, done.steps = state["history"], state["step"]
        done.seconds, done.watch_seconds, done.examples = (
            state["seconds"],
            state["watch_seconds"],
            state["examples"],
        )
        done.recording_seconds = state.get("recording_seconds", 0.0)
        total_steps, flops_per_example = state["total_steps"], state["flops_per_example"]
        progress.say(
            f"{what}: resuming after epoch {len(done.history)} ({done.steps} of {total_steps} steps)"
        )
    else:
        flops_per_example = count_flops_per_example(model, batches, recipe, prepare, device, precision)
        total_steps = resolve_steps(
            recipe.duration,
            batches.steps_per_epoch,
            lambda: seconds_per_step(model, batches, recipe, prepare, device, precision),
            flops_per_example * batches.batch_size,
            spent,
        )
    start = time.perf_counter()
    forward = recorded(
        model, lambda: prepare(next(iter(batches.epoch(0)))[0]), device=device, precision=precision
    )
    took = time.perf_counter() - start
    done.seconds, done.recording_seconds = done.seconds + took, done.recording_seconds + took
    due = 0.0  # when the next checkpoint may be written
    limit = _seconds_to_train(recipe.duration, spent)
    with progress.track(what, total_steps, "steps") as bar:
        bar.done = float(done.steps)
        while done.steps < total_steps:
            _run_epoch(
                done,
                forward,
                batches,
                recipe,
                optimizers,
                averaged,
                total_steps,
                prepare,
                device,
                precision,
                bar,
            )
            done.flops = round(done.examples * flops_per_example)
            if (
                limit is not None and done.steps < total_steps
            ):  # by the pace so far, not that of the few steps that were timed
                step_seconds = (done.seconds - done.recording_seconds) / done.steps
                total_steps = done.steps + max(0, int((limit - done.seconds) / step_seconds))
                bar.total = total_steps
            start = time.perf_counter()
            if evaluate is not None:
                done.history[-1] |= evaluate(_averaged_network(averaged) if averaged else model)
                bar.note(
                    ", ".join(
                        f"{name} {value:.3f}"
                        for name, value in done.history[-1].items()
                        if "accuracy" in name
                    )
                )
            done.watch_seconds += time.perf_counter() - start
            done.history[-1]["flops"] = done.flops
            if checkpoint is not None and done.steps < total_steps and (now := time.perf_counter()) >= due:
                numbers = {
                    "history": done.history,
                    "step": done.steps,
                    "seconds": done.seconds,
                    "examples": done.examples,
                    "watch_seconds": done.watch_seconds,
                    "recording_seconds": done.recording_seconds,
                    "total_steps": total_steps,
                    "flops_per_example": flops_per_example,
                }
                _write_checkpoint(checkpoint, model, averaged, optimizers, numbers)
                due = time.perf_counter() + (time.perf_counter() - now) / _CHECKPOINT_SHARE
    done.flops = round(done.examples * flops_per_example)
    if averaged is not None:
        done.model = _averaged_network(averaged)
    return done


def _run_epoch(
    done: Training,
    forward: Callable[[Tensor], Tensor],
    batches: Batches,
    recipe: TrainingRecipe,
    optimizers: list[Optimizer],
    averaged: AveragedModel | None,
    total_steps: int,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
    bar: progress.Track,
) -> None:
    """One epoch, or what is left of the steps; appends its history row."""
    epoch = len(done.history)
    correct = torch.zeros((), device=device, dtype=torch.int64)
    losses: list[Tensor] = []
    sizes: list[int] = []
    first_step, rate = done.steps, 0.0
    look_every = _LOOK_EVERY.get(device.type, 50)
    class_weights = _class_weights(batches.labels) if recipe.balance else None
    start = time.perf_counter()
    for inputs, labels in batches.epoch(epoch):
        rate = set_learning_rates(optimizers, done.steps, total_steps, recipe)
        loss, hits = _step(
            forward, prepare(inputs), labels, recipe, optimizers, device, precision, class_weights
        )
        if averaged is not None:
            averaged.update_parameters(done.model)
        losses.append(loss)
        correct += hits
        sizes.append(len(labels))
        done.steps += 1
        bar.advance()
        last = done.steps >= total_steps
        if len(losses) % look_every == 0 or last:
            _require_finite(losses, first_step, rate, total_steps)
        if last:
            break
    _require_finite(losses, first_step, rate, total_steps)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    done.seconds += time.perf_counter() - start
    done.examples += sum(sizes)
    weights = torch.tensor(sizes, dtype=torch.float64)
    done.history.append(
        {
            "epoch": done.steps / batches.steps_per_epoch,
            "step": done.steps,
            "seconds": done.seconds,
            "examples": done.examples,
            "train_loss": float((torch.stack(losses).double().cpu() * weights).sum() / weights.sum()),
            "train_accuracy": int(correct) / sum(sizes),
            "learning_rate": rate,
        }
    )


def _step(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    labels: Tensor,
    recipe: TrainingRecipe,
    optimizers: list[Optimizer],
    device: torch.device,
    precision: str,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Learns from one batch; its mean loss (of weighted classes: the weighted mean) and number of correct
    answers, both on the device."""
    with autocast(precision, device):
        logits = forward(x)
    loss = F.cross_entropy(logits.float(), labels, weight=weights, label_smoothing=recipe.label_smoothing)
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.detach(), (logits.detach().argmax(1) == labels).sum()


def _class_weights(labels: Tensor) -> Tensor:
    """Float32, on the labels' device, a weight for each class up to the largest label."""
    values = labels.cpu().numpy()
    return torch.from_numpy(splits.class_weights(values, int(values.max()) + 1)).float().to(labels.device)


def _require_finite(losses: list[Tensor], first_step: int, rate: float, total_steps: int) -> None:
    recent = torch.stack(losses[-_LOOK_EVERY["cuda"] :])
    if not bool(torch.isfinite(recent).all()):
        bad = len(losses) - len(recent) + int((~torch.isfinite(recent)).nonzero()[0])
        raise DivergedError(
            f"the loss became {float(losses[bad])} at step {first_step + bad + 1} of {total_steps} "
            f"(learning rate {rate:.3g}); use a smaller learning rate. The last finite checkpoint is kept"
        )


def count_flops_per_example(
    model: Network,
    batches: Batches,
    recipe: TrainingRecipe,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
) -> float:
    """Operations per example of one full step, optimiser included, counted on a copy: the model is left as it
    was."""
    scratch = copy.deepcopy(model)
    optimizers = build_optimizers(scratch, recipe)
    inputs, labels = next(iter(batches.epoch(0)))
    _, flops = count_flops(
        lambda: _step(scratch, prepare(inputs), labels, recipe, optimizers, device, precision)
    )
    return flops / len(labels)


def seconds_per_step(
    model: Network,
    batches: Batches,
    recipe: TrainingRecipe,
    prepare: Callable[[Tensor], Tensor],
    device: torch.device,
    precision: str,
) -> float:
    """Seconds a step as it will be taken (on a GPU from a recording), the median of a few on a copy after one
    to warm up."""
    scratch = copy.deepcopy(model)
    optimizers = build_optimizers(scratch, recipe)
    inputs, labels = next(iter(batches.epoch(0)))
    forward = recorded(scratch, lambda: prepare(inputs), device=device, precision=precision)
    took = []
    for _ in range(1 + _TIMED_STEPS):
        start = time.perf_counter()
        _step(forward, prepare(inputs), labels, recipe, optimizers, device, precision)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.perf_counter() - start)
    return sorted(took[1:])[_TIMED_STEPS // 2]


def _averaged(model: Network, recipe: TrainingRecipe) -> AveragedModel | None:
    if recipe.ema_decay is None:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema_decay), use_buffers=True)


def _averaged_network(averaged: AveragedModel) -> Network:
    network = averaged.module
    assert isinstance(network, Network)
    return network


def _write_checkpoint(
    path: Path,
    model: Network,
    averaged: AveragedModel | None,
    optimizers: list[Optimizer],
    numbers: dict[str, Any],
) -> None:
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    if averaged is not None:
        tensors |= {f"averaged.{name}": value for name, value in averaged.state_dict().items()}
    for place, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{place}.{index}.{name}": torch.as_tensor(value)
                for name, value in state.items()
                if value is not None
            }
    write_bytes(
        path,
        save(
            {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {"numbers": json.dumps(numbers)}
        ),
    )


def _load_checkpoint(
    path: Path, model: Network, averaged: AveragedModel | None, optimizers: list[Optimizer]
) -> dict[str, Any]:
    """Puts a checkpoint's tensors back and returns its numbers. Raises: StoreError where the file is
    damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            numbers = json.loads(file.metadata()["numbers"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        model.load_state_dict(_under("model.", tensors))
        if averaged is not None:
            averaged.load_state_dict(_under("averaged.", tensors))
        for place, optimizer in enumerate(optimizers):
            stored: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"optimizer.{place}.", tensors).items():
                index, _, key = name.partition(".")
                stored.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict(
                {"state": stored, "param_groups": optimizer.state_dict()["param_groups"]}
            )
    except (KeyError, ValueError, RuntimeError, OSError, TypeError) as error:
        raise StoreError(
            f"checkpoint {path} cannot be read ({error}); delete it to start this trial anew"
        ) from error
    except Exception as error:  # safetensors raises its own SafetensorError for a truncated file
        raise StoreError(
            f"checkpoint {path} is damaged ({error}); delete it to start this trial anew"
        ) from error
    return numbers


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
