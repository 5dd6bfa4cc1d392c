"""Checkpoints: those of earlier versions are resumed, and what cannot be read is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.support.small_training import Numbers, step_of

from headstart.errors import StoreError
from headstart.recipes import TrainingRecipe
from headstart.training.loop import train

# One of three epochs, written by version 0.1.1.
GOLDEN = Path(__file__).parents[1] / "golden" / "checkpoint.safetensors"
RECIPE = TrainingRecipe(
    duration="3 epochs",
    batch_size=4,
    learning_rate=0.1,
    optimizer="adamw",
    weight_decay=0.1,
    ema_decay=0.5,
    warmup_fraction=0.3,
)


def _changed(folder: Path, drop: str) -> Path:
    """The golden checkpoint without one of its numbers."""
    with safe_open(GOLDEN, framework="pt") as file:
        numbers = json.loads(file.metadata()["numbers"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    del numbers[drop]
    save_file(tensors, folder / "changed.safetensors", {"numbers": json.dumps(numbers)})
    return folder / "changed.safetensors"


def test_a_checkpoint_that_version_0_1_1_wrote_is_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    shutil.copy(GOLDEN, path)
    resumed = train(step_of(RECIPE), Numbers(), checkpoint=path, what="this")
    assert "this: resuming after epoch 1 (3 of 9 steps)" in capsys.readouterr().err
    assert resumed.history[0]["seconds"] == 0.2530978929999037 < resumed.seconds
    whole = train(step_of(RECIPE), Numbers())
    assert (resumed.step, resumed.examples, resumed.flops) == (whole.step, whole.examples, whole.flops)
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], value, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_from_before_recordings_were_timed_is_resumed(tmp_path: Path) -> None:
    path = _changed(tmp_path, "recording_seconds")
    assert train(step_of(RECIPE), Numbers(), checkpoint=path).step == 9


@pytest.mark.parametrize("number", ["step", "history", "total_steps", "flops_per_example"])
def test_a_checkpoint_that_lacks_a_number_is_refused_not_begun_anew(number: str, tmp_path: Path) -> None:
    path = _changed(tmp_path, number)
    with pytest.raises(StoreError, match=f"cannot be read .*{number}.*; delete it to start this trial anew"):
        train(step_of(RECIPE), Numbers(), checkpoint=path)


def test_a_truncated_checkpoint_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"12345")
    with pytest.raises(StoreError, match="delete it to start this trial anew"):
        train(step_of(RECIPE), Numbers(), checkpoint=path)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with safe_open(GOLDEN, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file({name: value for name, value in tensors.items() if "weight" not in name}, path, metadata)
    with pytest.raises(StoreError, match=r"Missing key.*head\.weight.*; delete it to start this trial anew"):
        train(step_of(RECIPE), Numbers(), checkpoint=path)
