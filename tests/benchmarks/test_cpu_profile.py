"""The profile's arithmetic: operators by group, convolutions and their operations, the shifted products."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import cpu_profile  # noqa: E402
import layers  # noqa: E402


@pytest.mark.parametrize(
    ("operator", "group"),
    [
        ("aten::convolution_backward", "convolutions, backward"),
        ("aten::mkldnn_convolution", "convolutions, forward"),
        ("aten::max_pool2d_with_indices_backward", "max-pooling"),
        ("aten::native_batch_norm", "BatchNorm"),
        ("aten::threshold_backward", "ReLU"),
        ("aten::addmm", "matrix products"),
        ("aten::copy_", "copies and casts"),
        ("aten::sum", "the rest"),
    ],
)
def test_an_operator_is_of_one_group(operator, group):
    assert cpu_profile.group_of(operator) == group


def test_shares_are_of_all_operators_and_the_longest_stands_first():
    rows = cpu_profile.share_rows([("aten::relu", 1000.0), ("aten::mm", 2000.0), ("aten::clamp_min", 5000.0)])
    assert rows == [
        {"group": "ReLU", "milliseconds": 6.0, "share": 0.75},
        {"group": "matrix products", "milliseconds": 2.0, "share": 0.25},
    ]


def test_convolutions_are_found_with_their_inputs_and_counted():
    conv = nn.Conv2d(8, 8, 3, padding=1, bias=False)
    model = nn.Sequential(nn.Conv2d(3, 8, 2, stride=2), conv, conv)
    counts = layers.convolutions(model, torch.zeros(1, 3, 8, 8), batch=5)
    first, second = counts
    assert list(counts.values()) == [1, 2]
    assert (first.pixels, first.out_pixels, first.in_words) == (8, 4, "3 -> 8, 2 x 2, stride 2, 8 px")
    assert first.flops == 2 * 5 * 16 * 8 * 3 * 4
    assert (second.pixels, second.batch, second.flops) == (4, 5, 2 * 5 * 16 * 8 * 8 * 9)


@pytest.mark.parametrize(("kernel", "padding"), [(3, 1), (2, 0)])
def test_a_product_for_each_place_of_the_kernel_gives_the_weights_gradient(kernel, padding):
    generator = torch.Generator().manual_seed(1)
    conv = layers.Convolution(
        inputs=4, outputs=6, kernel=kernel, stride=1, padding=padding, pixels=5, batch=3
    )
    x = torch.randn(3, 4, 5, 5, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4, kernel, kernel, generator=generator, dtype=torch.float64, requires_grad=True)
    out = torch.nn.functional.conv2d(x, weight, padding=padding)
    gradient = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(out, weight, gradient)
    torch.testing.assert_close(layers.weight_gradient_by_shifts(x, gradient, conv), expected)


def test_a_row_has_every_pass_that_the_layer_has():
    conv = {"inputs": 8, "outputs": 8, "kernel": 3, "padding": 1, "pixels": 4, "batch": 2}
    counts = {layers.Convolution(**conv, stride=stride): 1 for stride in (1, 2)}
    smooth, strided = layers.layer_rows(counts, torch.float32, rounds=1, backward=True)
    assert {name for name in layers.PASSES if name in smooth} == set(layers.PASSES)
    assert {name for name in layers.PASSES if name in strided} == {"forward", "input", "weight"}
    (forward,) = layers.layer_rows({next(iter(counts)): 3}, torch.float32, rounds=1, backward=False)
    assert forward["times"] == 3 and "input" not in forward and forward["forward share"] > 0
