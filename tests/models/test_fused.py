"""The fused network: as near to float32 as the plain network of its precision, at every cut and batch
size."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.support.networks import KERAS_FORM, random_images, with_random_statistics
from torch import Tensor, nn

from headstart.models.fused import fuse, has_fused_operators
from headstart.models.resnet import ResNet, fold_batchnorm

DTYPES = [
    pytest.param(
        dtype,
        id=name,
        marks=pytest.mark.skipif(not has_fused_operators(dtype), reason=f"no {name} convolutions"),
    )
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
]
NEAR = {torch.float32: 1e-5, torch.bfloat16: 0.01}
# the strides sit on 3x3s, on the second and on the first convolution
FORMS = [(18, {}), (50, {}), (50, KERAS_FORM), (18, {"small_stem": 7})]


def network(depth: int, form: dict) -> ResNet:
    torch.manual_seed(0)
    return with_random_statistics(ResNet(depth, num_classes=2, **form)).eval()  # type: ignore[return-value]


def folded(model: ResNet, dtype: torch.dtype) -> nn.Module:
    return fold_batchnorm(model).to(dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fused(model: ResNet, dtype: torch.dtype, cut: str = "pool") -> Callable[[Tensor], Tensor]:
    run = fuse(folded(model, dtype), cut)
    assert run is not None
    return torch.inference_mode()(run)


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("depth", "form"), FORMS)
def test_features_are_as_near_to_float32_as_those_of_the_plain_network(
    depth: int, form: dict, dtype: torch.dtype
) -> None:
    model, x = network(depth, form), random_images(8)
    with torch.inference_mode():
        exact = model.forward_features(x)
        plain = folded(model, dtype).forward_features(x.to(dtype))  # type: ignore[operator]
    found = fused(model, dtype)(x)
    assert found.dtype == torch.float32 and found.shape == exact.shape
    assert distance(found, exact) < NEAR[dtype] and distance(plain, exact) < NEAR[dtype]
    assert dtype == torch.float32 or distance(found, exact) < 1.1 * distance(plain, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cut", ["stem", "layer1.0", "layer2", "layer4.0"])
def test_an_inner_cut_gives_the_activations_there_channels_last(cut: str, dtype: torch.dtype) -> None:
    model, x = network(50, KERAS_FORM), random_images(2)
    with torch.inference_mode():
        exact = model.forward_to(x, cut).permute(0, 2, 3, 1)
    found = fused(model, dtype, cut)(x)
    assert found.shape == exact.shape and distance(found, exact) < NEAR[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
def test_batches_of_other_sizes_and_repeated_ones_give_the_same_rows(dtype: torch.dtype) -> None:
    run, x = fused(network(18, {}), dtype), random_images(7)
    before = x.clone()
    whole = run(x)
    assert torch.equal(run(x), whole) and torch.equal(x, before)
    torch.testing.assert_close(torch.cat([run(x[:4]), run(x[4:])]), whole, rtol=NEAR[dtype], atol=NEAR[dtype])


def test_another_network_is_not_fused() -> None:
    assert fuse(nn.Sequential(nn.Conv2d(3, 4, 3))) is None


def test_a_processor_without_these_convolutions_keeps_the_plain_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert fuse(folded(network(18, {}), torch.float32)) is None
