"""A trial that is stopped and resumed ends in the bits of one that was never stopped, whatever it trains."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.transfer_trials import context_of

from headstart.methods import METHODS
from headstart.methods.base import Outcome
from headstart.training.checkpoint import Counts, TrainingState

pytestmark = pytest.mark.usefixtures("own_cache")

CNN = {
    "model": "cnn",
    "recipe": "cnn-fast",
    "pixels": None,
    "widths": (8, 8, 8),
    "batch_size": 4,
    "translate_pixels": 2,
}


def _run(method: str, folder: Path, precision: str, options: dict[str, Any]) -> Outcome:
    context = context_of(method, folder, **options)
    trial = dataclasses.replace(context.trial, precision=precision)
    return METHODS[method].implementation.run(dataclasses.replace(context, trial=trial))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("scratch", CNN | {"flip": "alternating", "balance": True}),
        ("scratch", CNN | {"flip": "random", "ema_decay": 0.5}),
        ("finetune", {"flip": "random", "ema_decay": 0.5, "balance": True, "stage_lr_decay": 0.5}),
        ("finetune", {"optimizer": "adamw", "batchnorm": "frozen"}),
        ("partial", {"trainable_from": "layer4.1", "ema_decay": 0.5}),
    ],
    ids=["cnn", "cnn-averaged", "finetune-averaged", "finetune-adamw", "partial"],
)
def test_a_resumed_trial_ends_in_the_same_bits(
    method: str,
    options: dict[str, Any],
    precision: str,
    weights: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if method != "scratch":
        options = options | {"weights": weights, "pixels": 48}
    whole = _run(method, tmp_path / "whole", precision, options)
    assert len(whole.history) > 1

    write = TrainingState.write

    def write_and_stop(state: TrainingState, path: Path, counts: Counts) -> None:
        write(state, path, counts)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "write", write_and_stop)
        with pytest.raises(KeyboardInterrupt):
            _run(method, tmp_path / "stopped", precision, options)
    assert (tmp_path / "stopped" / "checkpoint.safetensors").exists()
    resumed = _run(method, tmp_path / "stopped", precision, options)

    assert whole.state.keys() == resumed.state.keys()
    assert all(torch.equal(whole.state[name], resumed.state[name]) for name in whole.state)
    kept = ("step", "train_loss", "train_accuracy", "learning_rate", "flops")
    for ours, theirs in zip(resumed.history, whole.history, strict=True):
        assert {name: ours[name] for name in kept} == {name: theirs[name] for name in kept}
