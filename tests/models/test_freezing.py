"""Freezing, unfreezing, stopping and resuming, in every order: the same bits as never stopping."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headstart.data.batches import ImageBatches
from headstart.methods.network import set_policy
from headstart.models import resnet
from headstart.models.preprocessing import preprocess
from headstart.models.resnet import ResNet
from headstart.recipes import FineTuneRecipe
from headstart.training.loop import train
from headstart.training.step import Step
from headstart.types import Preprocessing

CPU = torch.device("cpu")
RECIPE = FineTuneRecipe(
    duration="3 epochs",
    batch_size=5,
    learning_rate=0.05,
    weight_decay=1e-3,
    stage_lr_decay=0.5,
    warmup_fraction=0.2,
)
PIXELS = Preprocessing(size_pixels=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ResNet-18 with few channels: the order of events matters here, not the size.

    Multiples of 8: with 4, oneDNN of torch 2.13 writes beyond its buffers on processors with AVX2 alone."""
    monkeypatch.setattr(resnet, "_WIDTHS", (8, 8, 16, 16))


def _fresh() -> ResNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ResNet(18, 2)


def _batches() -> ImageBatches:
    images = torch.randint(
        0, 255, (10, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    return ImageBatches(images, torch.arange(10) % 2, batch_size=5, seed=0, flip="random", translate_pixels=1)


def _train(model: ResNet, checkpoint: Path | None = None, stop_after: int = 99) -> None:
    seen = 0

    def stop(_: torch.nn.Module) -> dict[str, float]:
        nonlocal seen
        seen += 1
        if seen > stop_after:
            raise KeyboardInterrupt
        return {}

    step = Step(
        network=model, recipe=RECIPE, prepare=lambda x: preprocess(x, PIXELS), device=CPU, precision="fp32"
    )
    train(step, _batches(), checkpoint=checkpoint, evaluate=stop)


def _bits(model: ResNet) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("order", list(itertools.permutations(["fc", "layer4.1", "stem"])))
def test_phases_stopped_and_resumed_end_in_the_bits_of_phases_never_stopped(
    order: tuple[str, ...], tmp_path: Path
) -> None:
    whole = _fresh()
    for stage in order:
        set_policy(whole, RECIPE, stage)
        _train(whole)

    state = _bits(_fresh())
    for stage in order:
        path = tmp_path / f"{stage}.safetensors"
        stopped = _fresh()  # as another process would begin: nothing is known but what is stored
        stopped.load_state_dict(state)
        set_policy(stopped, RECIPE, stage)
        with pytest.raises(KeyboardInterrupt):
            _train(stopped, path, stop_after=1)
        assert path.exists()
        resumed = _fresh()
        set_policy(resumed, RECIPE, stage)
        _train(resumed, path)
        state = _bits(resumed)
    assert _same(_bits(whole), state)


@pytest.mark.parametrize("before", list(itertools.permutations(["freeze", "unfreeze", "train", "eval"])))
def test_what_was_frozen_and_unfrozen_before_leaves_no_trace(before: tuple[str, ...]) -> None:
    direct, roundabout = _fresh(), _fresh()
    for step in before:
        {
            "freeze": lambda: roundabout.set_trainable("fc"),
            "unfreeze": lambda: roundabout.set_trainable("stem", keep_statistics=True),
            "train": roundabout.train,
            "eval": roundabout.eval,
        }[step]()
    for model in (direct, roundabout):
        set_policy(model, RECIPE, "layer4")
    images, labels = next(_batches().epoch(0))
    for model in (direct, roundabout):
        model.train()
        torch.nn.functional.cross_entropy(model(preprocess(images, PIXELS)), labels).backward()
    assert _same(_bits(direct), _bits(roundabout))
    for (name, a), (_, b) in zip(direct.named_parameters(), roundabout.named_parameters(), strict=True):
        assert a.requires_grad == b.requires_grad == name.startswith(("layer4.", "fc."))
        assert (a.grad is None) == (b.grad is None) and (a.grad is None or torch.equal(a.grad, b.grad))
