"""A training step replayed from a recording is the step itself; on a CPU nothing is recorded."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from headstart.models import load_model
from headstart.runtime.cuda_graph import recorded

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


def test_a_cpu_gets_the_model_itself_and_is_not_asked_for_a_sample():
    model = nn.Linear(3, 2)

    def sample() -> torch.Tensor:
        raise AssertionError("asked for")

    assert recorded(model, sample, device=torch.device("cpu"), precision="fp32") is model


def _gradients(forward, model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad(set_to_none=True)
    with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
        logits = forward(x)
    F.cross_entropy(logits.float(), torch.arange(len(x), device=x.device) % 10).backward()
    return [logits.detach().clone(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@CUDA
@pytest.mark.parametrize("name", ["cnn", "resnet50"])
def test_replayed_gradients_and_statistics_are_the_eager_ones(name):
    device = torch.device("cuda")
    size = {"image_pixels": 32} if name == "cnn" else {"image_pixels": 64}
    model = load_model(name, "none", num_classes=10, seed=0, **size).to(device).train()
    eager = copy.deepcopy(model)
    x, other = (torch.randn(n, 3, size["image_pixels"], size["image_pixels"], device=device) for n in (16, 7))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    forward = recorded(model, lambda: torch.zeros_like(x), device=device, precision="bf16")
    assert forward is not model and "forward" not in vars(model)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    for batch in (x, other, x):
        replayed, computed = _gradients(forward, model, batch), _gradients(eager, eager, batch)
        assert len(replayed) == len(computed)
        for a, b in zip(replayed, computed, strict=True):
            assert torch.allclose(a, b, rtol=0.05, atol=0.02 * float(b.abs().max()) + 1e-6)
    for (key, a), b in zip(model.state_dict().items(), eager.state_dict().values(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-3), key
