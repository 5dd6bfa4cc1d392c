"""Training without torch's compiler, which nothing here uses.

torch.optim and torch's counter of operations load it (torch._dynamo, with sympy: 800 modules) at their first
call, only to tell it to leave them alone: 3.2 s of a core in every process that trains (torch 2.13).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer
from torch.utils import flop_counter

# Where torch keeps a function's version for the compiler, once it has asked for it.
_DONE = "__dynamo_disable"
_Kind = TypeVar("_Kind", bound=Optimizer)


@functools.cache
def without_compiler() -> None:
    """Lets the functions of torch that would load the compiler run as they are.

    A torch that keeps this elsewhere loads its compiler as before."""
    for function in (
        Optimizer.add_param_group,
        Optimizer.load_state_dict,
        Optimizer.state_dict,
        Optimizer.zero_grad,
        getattr(getattr(flop_counter, "_FlopCounterMode", None), "__torch_dispatch__", None),
    ):
        plain = getattr(function, "__wrapped__", None)
        if plain is not None:
            setattr(plain, _DONE, plain)


_eager: dict[type[Optimizer], Any] = {}


def eager(kind: type[_Kind]) -> type[_Kind]:
    """The optimiser class, whose step does not load the compiler: the same step, without its notes to it."""
    without_compiler()
    if kind not in _eager:
        step: Callable[..., Any] | None = getattr(kind.step, "__wrapped__", None)
        _eager[kind] = kind if step is None else type(kind.__name__, (kind,), {"step": torch.no_grad()(step)})
    made: type[_Kind] = _eager[kind]
    return made
