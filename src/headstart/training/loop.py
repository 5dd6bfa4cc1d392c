"""The one training loop: device, precision, schedule, averaged weights, checkpoints, cost.

The same trial on the same machine, versions and thread count gives the same bits, also when it was stopped
and resumed: a batch depends on (seed, epoch, position) alone, and a checkpoint after an epoch holds all else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from headstart.errors import ConfigError, DamagedError, HeadstartError
from headstart.models.network import Network
from headstart.recipes import TrainingRecipe
from headstart.runtime import progress
from headstart.runtime.waiting import warn_of_spinning
from headstart.training.checkpoint import Counts, TrainingState, no_counts
from headstart.training.durations import Spent, resolve_steps, seconds_to_train
from headstart.training.optimizers import set_learning_rates
from headstart.training.step import Batches, Step

# A cross-entropy above it, in nats, is no learning any more, though the number is finite.
_LARGEST_LOSS = 1e6
# The loss is read at every so many steps; on a GPU reading means waiting for it.
_READ_EVERY = {"cpu": 1, "cuda": 50}
# Of the wall time, at most about this share goes into checkpoints: where an epoch is two steps, most ends are
# not written.
_CHECKPOINT_SHARE = 0.05


class DivergedError(HeadstartError):
    """The loss became NaN, infinite or absurdly large; the last finite checkpoint is kept."""

    exit_code = 8


@dataclass(kw_only=True)
class Training(Counts):
    """A finished training: its counts, and the network (its averaged weights where the recipe asks for
    them)."""

    network: Network


def train(
    step: Step,
    batches: Batches,
    *,
    checkpoint: Path | None = None,
    evaluate: Callable[[Network], dict[str, float]] | None = None,
    spent: Spent | None = None,
    what: str = "training",
) -> Training:
    """Trains the step's network in place and returns it (or its averaged weights) with its history.

    evaluate: metrics after each epoch, e.g. val_accuracy. checkpoint: file written after epochs (the first,
    then as often as is cheap) and resumed from where it exists. spent: before this, see resolve_steps. what:
    the name of the progress line.
    Raises: DivergedError where the loss is not finite; StoreError where the checkpoint is damaged."""
    warn_of_spinning()
    step.network.to(step.device).train()
    if step.recipe.balance:
        step = step.balanced(batches.labels)
    _join_single_image(step, batches, what)
    state, resumed = TrainingState(step.network, step.recipe), None
    if checkpoint is not None and checkpoint.exists():
        state, resumed = _resume(checkpoint, state, step.recipe)
    if resumed is not None:
        counts = resumed
        steps = f"{counts.step} of {counts.total_steps} steps"
        progress.say(f"{what}: resuming after epoch {len(counts.history)} ({steps})")
    else:
        counts = _begin(step, batches, spent)
    start = time.perf_counter()
    step = step.recorded(batches)
    recording_seconds = time.perf_counter() - start
    counts.seconds += recording_seconds
    counts.recording_seconds += recording_seconds
    limit = seconds_to_train(step.recipe.duration, spent)
    due = 0.0  # when the next checkpoint may be written
    with progress.track(what, counts.total_steps, "steps") as bar:
        bar.done = float(counts.step)
        while counts.step < counts.total_steps:
            _run_epoch(step, batches, state, counts, bar)
            if limit is not None and counts.step < counts.total_steps:
                counts.total_steps = _steps_within(limit, counts)
                bar.total = counts.total_steps
            _evaluate_epoch(evaluate, state, counts, bar)
            if checkpoint is not None and counts.step < counts.total_steps:
                due = _write_when_due(checkpoint, state, counts, due)
    _require_finite_state(state.result)
    return Training(**vars(counts), network=state.result)


def _join_single_image(step: Step, batches: Batches, what: str) -> None:
    """Where the network cannot learn from one image, a last batch of one is joined to the one before it.

    Raises: ConfigError where every batch is of one image."""
    if not (batches.leaves_single or batches.batch_size == 1) or step.takes_one(batches):
        return
    if batches.batch_size == 1:
        raise ConfigError(
            f"{what}: this network's BatchNorm cannot learn from batches of one image at this input "
            "size; give "
            "batch_size 2 or more, or a larger input_pixels"
        )
    batches.joins_single = True
    progress.say(
        f"{what}: the last image of an epoch would be a batch of its own and joins the batch before it"
    )


def _begin(step: Step, batches: Batches, spent: Spent | None) -> Counts:
    """The counts of a training from its first step: how many steps its duration is."""
    flops_per_example = step.flops_per_example(batches)
    total_steps = resolve_steps(
        step.recipe.duration,
        batches.steps_per_epoch,
        lambda: step.seconds(batches),
        flops_per_example * batches.batch_size,
        spent,
    )
    return no_counts(total_steps, flops_per_example)


def _run_epoch(
    step: Step, batches: Batches, state: TrainingState, counts: Counts, bar: progress.Track
) -> None:
    """Trains for one epoch, or what is left of the steps; appends its history row."""
    correct = torch.zeros((), device=step.device, dtype=torch.int64)
    losses: list[Tensor] = []
    sizes: list[int] = []
    rate = 0.0
    read_every = _READ_EVERY.get(step.device.type, 50)
    start = time.perf_counter()
    for inputs, labels in batches.epoch(len(counts.history)):
        rate = set_learning_rates(state.optimizers, counts.step, counts.total_steps, step.recipe)
        loss, hits = step.take(inputs, labels, state.optimizers)
        state.average()
        losses.append(loss)
        correct += hits
        sizes.append(len(labels))
        counts.step += 1
        bar.advance()
        is_last = counts.step >= counts.total_steps
        if len(losses) % read_every == 0 or is_last:
            _require_finite(losses, counts, rate)
        if is_last:
            break
    _require_finite(losses, counts, rate)
    if step.device.type == "cuda":
        torch.cuda.synchronize(step.device)
    counts.seconds += time.perf_counter() - start
    counts.examples += sum(sizes)
    weights = torch.tensor(sizes, dtype=torch.float64)
    counts.history.append(
        {
            "epoch": counts.step / batches.steps_per_epoch,
            "step": counts.step,
            "seconds": counts.seconds,
            "examples": counts.examples,
            "train_loss": float((torch.stack(losses).double().cpu() * weights).sum() / weights.sum()),
            "train_accuracy": int(correct) / sum(sizes),
            "learning_rate": rate,
        }
    )


def _require_finite(losses: list[Tensor], counts: Counts, rate: float) -> None:
    """losses: of the epoch so far, the last one that of step counts.step."""
    recent = torch.stack(losses[-_READ_EVERY["cuda"] :])
    sane = recent.abs() < _LARGEST_LOSS  # False for NaN too
    if not bool(sane.all()):
        back = len(recent) - int((~sane).nonzero()[0])  # 1: the last step
        place = f"step {counts.step - back + 1} of {counts.total_steps}"
        raise DivergedError(
            f"the loss became {float(losses[-back])} at {place} (learning rate {rate:.3g}); use a smaller "
            "learning rate. The last finite checkpoint is kept"
        )


def _require_finite_state(network: Network) -> None:
    """Weights or BatchNorm statistics may overflow while the loss stays finite: such a model says nothing."""
    for name, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DivergedError(
                f"the training ended with values of {name} that are NaN or infinite; use a smaller "
                "learning rate"
            )


def _steps_within(limit: float, counts: Counts) -> int:
    """All steps of a training of `limit` seconds, by the pace so far and not that of the few that were
    timed."""
    step_seconds = (counts.seconds - counts.recording_seconds) / counts.step
    return counts.step + max(0, int((limit - counts.seconds) / step_seconds))


def _evaluate_epoch(
    evaluate: Callable[[Network], dict[str, float]] | None,
    state: TrainingState,
    counts: Counts,
    bar: progress.Track,
) -> None:
    """Adds what `evaluate` finds, and the operations so far, to the epoch's row."""
    row = counts.history[-1]
    start = time.perf_counter()
    if evaluate is not None:
        row |= evaluate(state.result)
        bar.note(", ".join(f"{name} {value:.3f}" for name, value in row.items() if "accuracy" in name))
    counts.watch_seconds += time.perf_counter() - start
    row["flops"] = counts.flops


def _write_when_due(checkpoint: Path, state: TrainingState, counts: Counts, due: float) -> float:
    """Writes a checkpoint unless it is too early; when the next one is due."""
    start = time.perf_counter()
    if start < due:
        return due
    state.write(checkpoint, counts)
    end = time.perf_counter()
    return end + (end - start) / _CHECKPOINT_SHARE


def _resume(
    checkpoint: Path, state: TrainingState, recipe: TrainingRecipe
) -> tuple[TrainingState, Counts | None]:
    """The state and the counts of a checkpoint; of a damaged one the state as it is, and None: the training
    begins anew."""
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    try:
        return state, state.restore(checkpoint)
    except DamagedError as error:
        progress.say(f"{error}. It is discarded, and this training begins anew")
        checkpoint.unlink()
        state.network.load_state_dict(before)
        return TrainingState(state.network, recipe), None
