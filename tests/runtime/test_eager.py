"""Training does not load torch's compiler, and takes the same steps."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from headstart.runtime.eager import eager

TRAINS = """
import copy, sys
import torch
from headstart.models import load_model
from headstart.recipes import CNNRecipe, FineTuneRecipe
from headstart.runtime.cost import count_flops
from headstart.training.optimizers import build_optimizers

def take(network, recipe):
    optimizers = build_optimizers(network, recipe)
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

torch.manual_seed(0)
network = load_model("cnn", "none", image_pixels=32, num_classes=2, widths=(8, 8, 8))
count_flops(lambda: take(network, CNNRecipe(duration="1 steps", batch_size=2, learning_rate=0.1)))
for kind in ("sgd", "adamw"):
    network = load_model("resnet18", "none", image_pixels=32, num_classes=2)
    recipe = FineTuneRecipe(duration="1 steps", batch_size=2, learning_rate=0.1, optimizer=kind)
    count_flops(lambda: take(network, recipe))
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_a_process_that_trains_loads_no_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", TRAINS], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("kind", "options"), [(SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3}), (AdamW, {})]
)
def test_steps_have_the_bits_of_torchs_own(kind: type, options: dict) -> None:
    networks = []
    for made in (kind, eager(kind)):
        torch.manual_seed(0)
        network = nn.Linear(7, 3)
        optimizer = made(network.parameters(), lr=0.1, **options)
        for step in range(5):
            optimizer.zero_grad()
            network(torch.full((2, 7), float(step))).square().sum().backward()
            optimizer.step()
        networks.append((network, optimizer.state_dict()))
    (plain, state), (again, its_state) = networks
    assert torch.equal(plain.weight, again.weight) and torch.equal(plain.bias, again.bias)
    assert state.keys() == its_state.keys() and state["param_groups"] == its_state["param_groups"]
    assert eager(kind) is eager(kind) and issubclass(eager(kind), kind)
