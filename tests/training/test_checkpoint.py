"""Checkpoints: those of earlier versions are resumed, and what cannot be read is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tests.support.small_training import Numbers, step_of

from headstart.recipes import TrainingRecipe
from headstart.training.checkpoint import TrainingState, no_counts
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


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))


def _of_another_network(path: Path) -> None:
    with safe_open(GOLDEN, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file({name: value for name, value in tensors.items() if "weight" not in name}, path, metadata)


DAMAGES = {
    "one bit of a tensor": (_flipped, "its SHA-256 is not that of what was written"),
    "no safetensors file": (lambda path: path.write_bytes(b"12345"), "is damaged"),
    "empty": (lambda path: path.write_bytes(b""), "is damaged"),
    "of another network": (_of_another_network, "Missing key"),
    **{
        f"without {number}": (
            lambda p, n=number: _changed(p.parent, n).replace(p),
            f"cannot be read .*{number}",
        )
        for number in ("step", "history", "total_steps", "flops_per_example")
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_announced_discarded_and_the_training_begins_anew(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(step_of(RECIPE), Numbers())
    path = tmp_path / "checkpoint.safetensors"
    step = step_of(RECIPE)
    TrainingState(step.network, RECIPE).write(path, no_counts(9, 1.0))
    change, reason = DAMAGES[damage]
    change(path)
    again = train(step_of(RECIPE), Numbers(), checkpoint=path)
    assert re.search(f"{reason}.* It is discarded", capsys.readouterr().err.replace("\n", " "))
    assert again.step == whole.step
    for name, value in whole.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], value, rtol=0, atol=0)
