"""Replay the forward and backward pass of a training step from a recording (a CUDA graph).

A small batch of a deep network is hundreds of kernels of a few microseconds each; launching them one by one
takes several times as long as they do. The replay runs the same kernels on the same values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from headstart.runtime import progress
from headstart.runtime.precision import autocast


def recorded(
    model: nn.Module, sample: Callable[[], Tensor], *, device: torch.device, precision: str
) -> Callable[[Tensor], Tensor]:
    """Record model(x) for training; return a callable for it.

    The recording serves inputs with the shape of sample(), the model itself all other batches. On a CPU, or
    where the network cannot be recorded (it asks the GPU for a value midway), the callable is the model
    itself. model: on the device, in training mode; its parameters and buffers are unchanged afterwards.
    sample: makes an input; called only where a recording is made."""
    if device.type != "cuda":
        return model
    # Recording runs on a stream of its own, where torch then finds the gradients' nodes: it synchronises, and
    # need not warn (torch 2.10 and later).
    if set_warning := getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None):
        set_warning(False)
    example = sample().detach().clone()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    try:
        with autocast(precision, device, cache=False):  # casts of weights belong into the recording
            torch.cuda.make_graphed_callables(model, (example,), allow_unused_input=True)
    except RuntimeError as error:
        progress.say(f"training goes on without a recorded step: {str(error).splitlines()[0]}")
        replay = None
    else:
        replay = model.forward
    finally:
        model.__dict__.pop("forward", None)  # the network itself is unchanged
        with torch.no_grad():  # warming up moved the statistics
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
    if replay is None:
        return model
    return lambda x: replay(x) if x.shape == example.shape else model(x)
