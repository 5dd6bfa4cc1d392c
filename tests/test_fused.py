"""The fused bf16 network: as near to float32 as the plain bf16 network, at every cut and batch size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from headstart.models.fused import fuse, has_fused_operators
from headstart.models.resnet import ResNet, fold_batchnorm
from test_resnet import KERAS_FORM, random_images, with_random_statistics

needs_operators = pytest.mark.skipif(not has_fused_operators(), reason="this processor has no bf16 convolutions")
FORMS = [(18, {}), (50, {}), (50, KERAS_FORM)]  # the strides sit on 3x3s, on the second and on the first convolution


def network(depth: int, form: dict) -> ResNet:
    torch.manual_seed(0)
    return with_random_statistics(ResNet(depth, num_classes=2, **form)).eval()  # type: ignore[return-value]


def in_bf16(model: ResNet) -> nn.Module:
    return fold_batchnorm(model).to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fused(model: ResNet, cut: str = "pool") -> Callable[[Tensor], Tensor]:
    run = fuse(in_bf16(model), cut)
    assert run is not None
    return torch.inference_mode()(run)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@needs_operators
@pytest.mark.parametrize(("depth", "form"), FORMS)
def test_features_are_as_near_to_float32_as_those_of_the_plain_bf16_network(depth: int, form: dict) -> None:
    model, x = network(depth, form), random_images(8)
    with torch.inference_mode():
        exact = model.forward_features(x)
        plain = in_bf16(model).forward_features(x.to(torch.bfloat16))  # type: ignore[operator]
    found = fused(model)(x)
    assert found.dtype == torch.float32 and found.shape == exact.shape
    assert distance(found, exact) < 0.01 and distance(plain, exact) < 0.01
    assert distance(found, exact) < 1.1 * distance(plain, exact)


@needs_operators
@pytest.mark.parametrize("cut", ["stem", "layer1.0", "layer2", "layer4.0"])
def test_an_inner_cut_gives_the_activations_there_channels_last(cut: str) -> None:
    model, x = network(50, KERAS_FORM), random_images(2)
    with torch.inference_mode():
        exact = model.forward_to(x, cut).permute(0, 2, 3, 1)
    found = fused(model, cut)(x)
    assert found.shape == exact.shape and distance(found, exact) < 0.01


@needs_operators
def test_batches_of_other_sizes_and_repeated_ones_give_the_same_rows() -> None:
    run, x = fused(network(18, {})), random_images(7)
    before = x.clone()
    whole = run(x)
    assert torch.equal(run(x), whole) and torch.equal(x, before)
    torch.testing.assert_close(torch.cat([run(x[:4]), run(x[4:])]), whole, rtol=1e-2, atol=1e-2)


def test_another_network_is_not_fused() -> None:
    assert fuse(nn.Sequential(nn.Conv2d(3, 4, 3))) is None


def test_a_processor_without_bf16_convolutions_keeps_the_plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fuse(in_bf16(network(18, {}))) is None
