"""What a training changes, and how it is kept: a checkpoint holds all that resuming needs.

A checkpoint is one safetensors file; its metadata hold `Counts` as JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from headstart.errors import DamagedError
from headstart.models.network import Network
from headstart.models.weights import content_hash
from headstart.recipes import TrainingRecipe
from headstart.store import write_bytes
from headstart.store.opening import open_file
from headstart.training.optimizers import build_optimizers

_HASH = "sha256"  # of the counts and the tensors, beside the counts


@dataclass(kw_only=True)
class Counts:
    """How far a training has come.

    history: a row an epoch (types.Result). step: steps taken, of total_steps. examples: images passed through
    the network, repeats counted. seconds: of training steps alone; recording_seconds: of these, what
    recording a step took before the first one. watch_seconds: of validation during training."""

    total_steps: int
    flops_per_example: float
    history: list[dict[str, float]]
    step: int
    examples: int
    seconds: float
    recording_seconds: float
    watch_seconds: float

    @property
    def flops(self) -> int:
        """Floating-point operations so far."""
        return round(self.examples * self.flops_per_example)


def no_counts(total_steps: int, flops_per_example: float) -> Counts:
    """The counts of a training that has not begun."""
    return Counts(
        total_steps=total_steps,
        flops_per_example=flops_per_example,
        history=[],
        step=0,
        examples=0,
        seconds=0.0,
        recording_seconds=0.0,
        watch_seconds=0.0,
    )


class TrainingState:
    """The tensors that a training changes: of the network, its averaged weights and its optimisers."""

    def __init__(self, network: Network, recipe: TrainingRecipe) -> None:
        self.network = network
        self.optimizers: list[Optimizer] = build_optimizers(network, recipe)
        self._averaged: AveragedModel | None = None
        if recipe.ema_decay is not None:
            average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
            self._averaged = AveragedModel(network, multi_avg_fn=average, use_buffers=True)

    @property
    def result(self) -> Network:
        """The network that is evaluated: with averaged weights where the recipe asks for them."""
        if self._averaged is None:
            return self.network
        averaged = self._averaged.module
        assert isinstance(averaged, Network)
        return averaged

    def average(self) -> None:
        """Takes the present weights into the averaged ones, where there are any."""
        if self._averaged is not None:
            self._averaged.update_parameters(self.network)

    def write(self, path: Path, counts: Counts) -> None:
        """Writes a checkpoint. Raises: StoreError."""
        tensors = {f"model.{name}": value for name, value in self.network.state_dict().items()}
        if self._averaged is not None:
            tensors |= {f"averaged.{name}": value for name, value in self._averaged.state_dict().items()}
        for place, optimizer in enumerate(self.optimizers):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {
                    f"optimizer.{place}.{index}.{name}": torch.as_tensor(value)
                    for name, value in state.items()
                    if value is not None
                }
        content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        numbers = json.dumps(vars(counts))
        # One entry of metadata: safetensors writes several in any order, and equal states are equal files.
        checked = json.dumps(vars(counts) | {_HASH: content_hash(numbers, content)})
        write_bytes(path, save(content, {"numbers": checked}))

    def restore(self, path: Path) -> Counts:
        """Puts a checkpoint's tensors back and returns its counts. Raises: DamagedError where it is damaged
        or of another training; some of the network and its optimisers may have changed by then."""
        try:
            open_file(path).close()  # a pipe would be waited for
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata()
                numbers = json.loads(metadata["numbers"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            # Earlier ones hold it beside the numbers, the first ones neither that nor recording_seconds.
            stored = numbers.pop(_HASH, metadata.get(_HASH))
            if stored not in (None, content_hash(json.dumps(numbers), tensors)):
                raise ValueError("its SHA-256 is not that of what was written")
            counts = Counts(**({"recording_seconds": 0.0} | numbers))
            self.network.load_state_dict(_under("model.", tensors))
            if self._averaged is not None:
                self._averaged.load_state_dict(_under("averaged.", tensors))
            for place, optimizer in enumerate(self.optimizers):
                _restore_optimizer(optimizer, _under(f"optimizer.{place}.", tensors))
        except (KeyError, ValueError, RuntimeError, OSError, TypeError, AttributeError) as error:
            raise DamagedError(f"checkpoint {path} cannot be read ({error})") from error
        except SafetensorError as error:
            raise DamagedError(f"checkpoint {path} is damaged ({error})") from error
        return counts


def _restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """tensors: by "INDEX.NAME", the index of a parameter."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
