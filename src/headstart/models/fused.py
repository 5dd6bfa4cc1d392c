"""A frozen ResNet on a CPU: each convolution with its shortcut and ReLU in one pass over memory.

The convolutions are oneDNN's, through the operators that torch's own compiler generates (no compiler is
needed to call them); their weights are brought into oneDNN's order once. A 1x1 convolution of stride 2 reads
every second pixel of every second row: those are picked first, once for all that read them.

ResNet-50, ImageNet weights, batches of 64, torch 2.13. bf16: 1 thread of an AMD EPYC 9004 (2 cores, shared),
23 November 2026;
fp32: 2 cores of an AMD EPYC with AVX2, 26 November 2026, alternating:

| against the plain network                                             | 96 px  | 128 px |
|-----------------------------------------------------------------------|--------|--------|
| fp32, medians of 6 alternating runs                                   | 1.14 x | 1.18 x |
| bf16, medians of 8 alternating runs                                   | 1.11 x | 1.14 x |
| another run, medians of 7                                             | 1.13 x |        |
| the same run, strides left to the convolutions                        | 1.08 x |        |
| the same run, and weights not reordered                               | 1.02 x |        |

In fp32 the values are those of the plain network. In bf16 they are as near to float32's as its own: relative
distance 0.0212 and 0.0212 (192 CIFAR-10 images, 96 px), and 0.008 from each other (convolution and sum with
the shortcut are rounded to bf16 together here, one by one there).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from headstart.models.network import Network
from headstart.models.resnet import ResidualBlock, ResNet


def has_fused_operators(dtype: torch.dtype) -> bool:
    """Whether this torch and this processor have oneDNN's fused convolutions of float32 or bfloat16."""
    operators = torch.ops.mkldnn
    wanted = (
        "_convolution_pointwise",
        "_convolution_pointwise_",
        "_reorder_convolution_weight",
        "_is_mkldnn_bf16_supported",
    )
    return (
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(operators, name) for name in wanted)
        and (dtype == torch.float32 or operators._is_mkldnn_bf16_supported())
    )


def fuse(folded: Network, cut: str = "pool") -> Callable[[Tensor], Tensor] | None:
    """Network inputs (N, 3, S, S) of any float type -> float32 features (N, D), at an inner cut (N, H, W, C);
    for inference mode.

    folded: a Network.frozen_copy, on the CPU, float32 or bf16, channels_last; its weights are taken over.
    cut: one of the network's. None where it is no ResNet or `has_fused_operators` is false: then the plain
    network is all there is."""
    if not isinstance(folded, ResNet) or not has_fused_operators(folded.conv1.weight.dtype):
        return None
    names = [name for name, _ in folded.units()]
    last = max(place for place, name in enumerate(names) if name == cut or name.startswith(f"{cut}."))
    stem, dtype = _Convolution(folded.conv1), folded.conv1.weight.dtype
    steps: list[Callable[[Tensor], Tensor]] = [folded.maxpool]
    steps += [_Block(*block) for block in folded_blocks(folded)]
    steps += [folded.avgpool]

    def run(x: Tensor) -> Tensor:
        x = stem(x.to(dtype), relu=True)
        for step in steps[: last + 1]:
            x = step(x)
        return x.float() if cut == "pool" else x.float().permute(0, 2, 3, 1)

    return run


def folded_blocks(folded: ResNet) -> Iterator[tuple[list[nn.Conv2d], nn.Conv2d | None]]:
    """Each residual block's convolutions in order, and its shortcut's (None: the block's input itself)."""
    for _, unit in folded.units():
        if isinstance(unit, ResidualBlock):
            yield unit.convolutions, unit.shortcut


class _Convolution:
    def __init__(self, convolution: nn.Conv2d) -> None:
        self.weight, self.bias = convolution.weight, convolution.bias
        assert isinstance(convolution.padding, tuple)
        self.padding, self.dilation = list(convolution.padding), list(convolution.dilation)
        # of the pixels that it reads
        self.step = convolution.stride[0] if convolution.kernel_size == (1, 1) else 1
        self.stride = [1, 1] if self.step > 1 else list(convolution.stride)

    def _weight_for(self, x: Tensor) -> Tensor:
        if not self.weight.is_mkldnn:
            self.weight = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, 1, list(x.shape)
            )
        return self.weight

    def __call__(self, x: Tensor, *, relu: bool) -> Tensor:
        parameters = (self._weight_for(x), self.bias, self.padding, self.stride, self.dilation)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, *parameters, 1, "relu" if relu else "none", [], ""
        )
        return out

    def add_to(self, shortcut: Tensor, x: Tensor) -> Tensor:
        """ReLU of shortcut + convolution, written over the shortcut."""
        parameters = (self._weight_for(x), self.bias, self.padding, self.stride, self.dilation)
        out: Tensor = torch.ops.mkldnn._convolution_pointwise_(
            shortcut, x, *parameters, 1, "add", 1.0, "relu", [], ""
        )
        return out


class _Block:
    def __init__(self, convolutions: list[nn.Conv2d], shortcut: nn.Conv2d | None) -> None:
        self.first, *self.middle, self.last = [_Convolution(convolution) for convolution in convolutions]
        self.shortcut = None if shortcut is None else _Convolution(shortcut)

    def __call__(self, x: Tensor) -> Tensor:
        picked = x
        if self.shortcut is not None and (step := self.shortcut.step) > 1:
            picked = x[:, :, ::step, ::step].contiguous(memory_format=torch.channels_last)
        out = self.first(picked if self.first.step > 1 else x, relu=True)
        for convolution in self.middle:
            out = convolution(out, relu=True)
        return self.last.add_to(x if self.shortcut is None else self.shortcut(picked, relu=False), out)
