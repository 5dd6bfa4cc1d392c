"""What every network offers through Network, shown on the smallest ones that can be written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from headstart.errors import ConfigError
from headstart.models import load_model
from headstart.models.network import Network, Tail
from headstart.models.weights import random_start_hash


class Mean(Network):
    """Colours, and nothing told of its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 3
        self.head = nn.Linear(3, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Row(Network):
    """Two convolutions and a pooling, one after the other."""

    head_name = "answer"

    def __init__(self) -> None:
        super().__init__()
        self.feature_dim = 5
        self.first = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.second = nn.Sequential(nn.Conv2d(4, 5, 1), nn.BatchNorm2d(5), nn.Dropout(0.5))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.answer = nn.Linear(5, 2)

    def forward_features(self, x: Tensor) -> Tensor:
        return self.pool(self.second(self.first(x)))

    def units(self) -> list[tuple[str, nn.Module]]:
        return [("stem", self.first), ("last", self.second), ("pool", self.pool)]


@pytest.fixture
def row() -> Row:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Row()


def _images() -> Tensor:
    return torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def test_a_network_without_forward_features_cannot_be_built() -> None:
    with pytest.raises(TypeError, match=r"abstract method '?forward_features'?"):
        Network()  # type: ignore[abstract]


def test_logits_are_float32_and_come_from_the_features_through_the_classifier(row: Row) -> None:
    network = row.to(torch.bfloat16).eval()
    x = _images().to(torch.bfloat16)
    assert network(x).dtype == torch.float32
    assert torch.equal(network(x), network.answer(network.forward_features(x)).float())


def test_a_network_that_tells_no_stages_learns_whole_or_not_at_all() -> None:
    network = Mean()
    network.set_trainable("stem")
    assert all(parameter.requires_grad for parameter in network.parameters())
    for arguments in ({"from_stage": "head"}, {"from_stage": "stem", "keep_statistics": True}):
        with pytest.raises(ConfigError, match=r"^Mean cannot be frozen in part; use a ResNet, or method"):
            network.set_trainable(**arguments)
    with pytest.raises(ConfigError, match="images are explained for the CNN and this project's ResNets"):
        network.last_block()


def test_units_are_enough_to_freeze_in_part_to_cut_and_to_explain(row: Row) -> None:
    row.set_trainable("last")
    row.train()
    learning = {name.split(".")[0] for name, parameter in row.named_parameters() if parameter.requires_grad}
    assert learning == {"second", "answer"}
    assert not row.first[1].training and row.second[1].training
    row.eval()
    assert row.cut_before("last") == "stem" and row.cut_before("stem") is None
    at_cut = row.forward_to(_images(), "stem")
    assert at_cut.shape == (4, 4, 6, 6)
    assert torch.equal(row.forward_from(at_cut, "stem"), row.forward_features(_images()))
    assert row.last_block() is row.second


def test_dropout_of_a_frozen_backbone_is_off(row: Row) -> None:
    row.set_trainable("answer")
    row.train()
    assert row.training and row.answer.training and not row.second[2].training
    row.set_trainable(None)
    assert not any(parameter.requires_grad for parameter in row.parameters())


@pytest.mark.parametrize(
    ("call", "kind"), [("forward_to", "cut"), ("set_trainable", "stage"), ("cut_before", "stage")]
)
def test_a_name_that_is_no_part_is_refused_with_those_that_there_are(call: str, kind: str, row: Row) -> None:
    arguments = (_images(), "layer4") if call == "forward_to" else ("layer4",)
    with pytest.raises(ValueError, match=f"'layer4' is no {kind} of this network; .*stem, last, pool"):
        getattr(row, call)(*arguments)


def test_a_tail_holds_what_comes_after_the_cut_alone_and_computes_the_same(row: Row) -> None:
    row.set_trainable("last")
    row.eval()
    at_cut, logits = row.forward_to(_images(), "stem"), row(_images())
    names = {name for name in row.state_dict() if not name.startswith("first.")}
    tail = Tail(row, "stem")
    assert set(tail.state_dict()) == {f"network.{name}" for name in names}
    assert tail.classifier is row.answer and torch.equal(tail.eval()(at_cut), logits)


def test_a_loaded_network_says_which_weights_it_has(tmp_path: Path) -> None:
    random = load_model("resnet18", "none", seed=3)
    assert random.weights_hash == random_start_hash("resnet18", 3)
    path = tmp_path / "w.safetensors"
    save_file({name: value.contiguous() for name, value in random.state_dict().items()}, path)
    assert load_model("resnet18", str(path)).weights_hash == hashlib.sha256(path.read_bytes()).hexdigest()
