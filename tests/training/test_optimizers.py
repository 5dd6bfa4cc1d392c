"""Optimisers: the orthogonal update, the held norm, the schedule, the sharing out of parameters."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.errors import ConfigError
from headstart.models import load_model
from headstart.models.cnn import CNN
from headstart.recipes import CNNRecipe, FineTuneRecipe, TrainingRecipe
from headstart.training.optimizers import Muon, build_optimizers, orthogonalise, set_learning_rates


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalised_singular_values_lie_near_one(shape: tuple[int, int], dtype: torch.dtype) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix, dtype, steps=5).float())
    assert values.min() > 0.5 and values.max() < 1.4
    # The directions are the matrix's own: U^T (U S' V^T) V is diagonal.
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    turned = u.T @ orthogonalise(matrix, dtype, steps=5).float() @ vh.T
    off = turned - torch.diag(turned.diagonal())
    assert off.abs().max() < 0.1


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_muon_holds_the_norm_and_moves_by_the_learning_rate(
    native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.training.optimizers.has_native_bf16", lambda device: native)
    filters = nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 7)
    filters.grad = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    held = filters.detach() * (2.0 / filters.detach().norm())  # sqrt(4 filters) = 2
    Muon([filters], learning_rate=0.1, momentum=0.0).step()
    want = held - 0.1 * orthogonalise(filters.grad.reshape(4, -1), dtype).reshape(4, 3, 3, 3).float()
    torch.testing.assert_close(filters.detach(), want)


def test_every_learning_parameter_is_in_one_group() -> None:
    recipe = CNNRecipe(duration="1 epochs", batch_size=10, learning_rate=0.24, momentum=0.6)
    model = CNN(10, widths=(8, 8, 8))
    grouped = [
        id(p) for o in build_optimizers(model, recipe) for group in o.param_groups for p in group["params"]
    ]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_earlier_stages_learn_more_slowly_and_the_head_by_its_own_scale() -> None:
    recipe = FineTuneRecipe(
        duration="1 epochs",
        batch_size=1,
        learning_rate=0.8,
        weight_decay=0.3,
        stage_lr_decay=0.5,
        head_lr_scale=4.0,
    )
    model = load_model("resnet18", "none", num_classes=10)
    (optimizer,) = optimizers = build_optimizers(model, recipe)
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert len(found) == len(list(model.parameters()))
    rates = {
        "conv1": 0.05,
        "bn1": 0.05,
        "layer1": 0.1,
        "layer2": 0.2,
        "layer3": 0.4,
        "layer4": 0.8,
        "fc": 3.2,
    }
    for name, parameter in model.named_parameters():
        rate = rates[name.split(".")[0]]
        decays = name.endswith("weight") and "bn" not in name and "downsample.1" not in name
        assert found[id(parameter)] == (pytest.approx(rate), 0.3 if decays else 0.0), name
    assert set_learning_rates(optimizers, 0, 10, recipe) == pytest.approx(
        0.8
    )  # the recipe's own rate is the one reported


def test_rates_by_stage_need_a_network_that_tells_its_stages() -> None:
    recipe = FineTuneRecipe(duration="1 epochs", batch_size=1, learning_rate=0.1, stage_lr_decay=0.5)
    with pytest.raises(
        ConfigError, match=r"CNN has no stages .* set stage_lr_decay = 1 and head_lr_scale = 1"
    ):
        build_optimizers(CNN(10, widths=(8, 8, 8)), recipe)


def test_learning_rates_warm_up_then_fall_to_the_final_fraction() -> None:
    recipe = TrainingRecipe(
        duration="10 steps", batch_size=1, learning_rate=2.0, warmup_fraction=0.2, final_lr_fraction=0.1
    )
    optimizers = build_optimizers(nn.Linear(1, 1), recipe)
    rates = [set_learning_rates(optimizers, step, 10, recipe) for step in range(10)]
    # Two warm-up steps at 1/3 and 2/3 of the way, then a line from 1 to 0 over eight steps, lifted to end at
    # a tenth.
    shares = [1 / 3, 2 / 3, *(1 - k / 8 for k in range(8))]
    assert rates == pytest.approx([2.0 * (0.1 + 0.9 * share) for share in shares])


def test_the_first_layers_bias_stops_early() -> None:
    recipe = CNNRecipe(
        duration="8 steps", batch_size=1, learning_rate=0.2, momentum=0.6, whiten_bias_fraction=0.5
    )
    optimizers = build_optimizers(CNN(10, widths=(8, 8, 8)), recipe)
    rates = []
    for step in range(8):
        set_learning_rates(optimizers, step, 8, recipe)
        rates.append(optimizers[0].param_groups[0]["lr"] / 0.053)
    assert rates == pytest.approx([1, 0.75, 0.5, 0.25, 0, 0, 0, 0])
