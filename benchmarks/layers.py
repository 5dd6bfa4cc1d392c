"""The convolutions of a network, each timed alone: forward, gradient of its input, gradient of its weight."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PRODUCT = 2048  # side of the square matrices whose product is the limit
PASSES = ("forward", "input", "weight", "weight by shifts")


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution as a network calls it, on square inputs and without a bias."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    padding: int
    pixels: int
    batch: int

    @property
    def out_pixels(self) -> int:
        return (self.pixels + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def flops(self) -> int:
        """Operations of any one of its passes."""
        return 2 * self.batch * self.out_pixels**2 * self.outputs * self.inputs * self.kernel**2

    @property
    def in_words(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        return f"{self.inputs} -> {self.outputs}, {self.kernel} x {self.kernel}{stride}, {self.pixels} px"


def convolutions(model: nn.Module, x: Tensor, batch: int) -> dict[Convolution, int]:
    """The convolutions that model(x) calls, in order, each with the number of times. batch: theirs."""
    counts: dict[Convolution, int] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        convolution = Convolution(
            inputs=module.in_channels,
            outputs=module.out_channels,
            kernel=module.kernel_size[0],
            stride=module.stride[0],
            padding=int(module.padding[0]),
            pixels=inputs[0].shape[2],
            batch=batch,
        )
        counts[convolution] = counts.get(convolution, 0) + 1

    hooks = [
        module.register_forward_hook(note) for module in model.modules() if isinstance(module, nn.Conv2d)
    ]
    with torch.no_grad():
        model(x)
    for hook in hooks:
        hook.remove()
    return counts


def weight_gradient_by_shifts(x: Tensor, gradient: Tensor, convolution: Convolution) -> Tensor:
    """The weight's gradient as a matrix product for each place in the kernel; stride 1 alone.

    x: (N, C, H, W). gradient: of the output, (N, O, H', W'). Both channels_last."""
    assert convolution.stride == 1
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, *(convolution.padding,) * 4))
    rows = gradient.permute(0, 2, 3, 1).reshape(-1, convolution.outputs).T
    size, side = convolution.kernel, convolution.out_pixels
    places = [
        rows @ padded[:, top : top + side, left : left + side].reshape(-1, convolution.inputs)
        for top in range(size)
        for left in range(size)
    ]
    return torch.stack(places, 2).view(convolution.outputs, convolution.inputs, size, size)


def passes(
    convolution: Convolution, dtype: torch.dtype, *, backward: bool
) -> dict[str, Callable[[], object]]:
    """Each pass of the convolution on random values, by its name in PASSES."""
    c, side = convolution, convolution.out_pixels
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=generator).to(dtype)
        return drawn.to(memory_format=torch.channels_last)

    x = random(c.batch, c.inputs, c.pixels, c.pixels)
    weight = random(c.outputs, c.inputs, c.kernel, c.kernel)
    made: dict[str, Callable[[], object]] = {
        "forward": lambda: F.conv2d(x, weight, stride=c.stride, padding=c.padding)
    }
    if not backward:
        return made
    gradient = random(c.batch, c.outputs, side, side)

    def gradients(of_input: bool, of_weight: bool) -> object:
        return torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            None,
            [c.stride] * 2,
            [c.padding] * 2,
            [1, 1],
            False,
            [0, 0],
            1,
            [of_input, of_weight, False],
        )

    made |= {"input": lambda: gradients(True, False), "weight": lambda: gradients(False, True)}
    if c.stride == 1:
        made["weight by shifts"] = lambda: weight_gradient_by_shifts(x, gradient, c)
    return made


@torch.no_grad()
def layer_rows(
    counts: Mapping[Convolution, int], dtype: torch.dtype, rounds: int, *, backward: bool
) -> list[dict[str, Any]]:
    """A row for each convolution: times called, GFLOP/s of each pass and its share of the product's rate.

    In each round every pass takes its turn beside the product; shares are medians of those of a round."""
    factor = torch.randn(PRODUCT, PRODUCT).to(dtype)
    out = torch.empty_like(factor)

    def product() -> object:
        return torch.mm(factor, factor, out=out)

    rows = []
    for convolution, times in counts.items():
        works = {"product": product} | passes(convolution, dtype, backward=backward)
        flops = dict.fromkeys(works, convolution.flops) | {"product": 2 * PRODUCT**3}
        speeds: dict[str, list[float]] = {name: [] for name in works}
        for current in range(1 + rounds):
            for name, work in works.items():
                start = time.perf_counter()
                work()
                if current:  # the first warms up
                    speeds[name].append(flops[name] / (time.perf_counter() - start) / 1e9)
        row: dict[str, Any] = {
            "layer": convolution.in_words,
            "times": times,
            "gflop": convolution.flops / 1e9,
        }
        for name in PASSES:
            if name in works:
                row[name] = statistics.median(speeds[name])
                row[f"{name} share"] = statistics.median(_ratios(speeds[name], speeds["product"]))
        rows.append(row)
    return rows


def _ratios(numerators: Iterable[float], denominators: Iterable[float]) -> list[float]:
    return [a / b for a, b in zip(numerators, denominators, strict=True)]
