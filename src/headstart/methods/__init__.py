"""METHODS: how a model learns. Adding one: a file with a `run(Context) -> Outcome`, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headstart.methods import linear_probe, scratch
from headstart.methods.base import Context, Outcome
from headstart.recipes import CNNRecipe, ProbeRecipe
from headstart.types import Recipe


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method for people and for the program. schema: raised when the same trial would give another result.

    deterministic: with all labels, every seed gives the same result, so one is run."""

    title: str
    run: Callable[[Context], Outcome]
    recipe: type[Recipe]
    default_recipe: str
    needs_weights: bool
    schema: int
    deterministic: bool = False


METHODS: dict[str, MethodSpec] = {
    "scratch": MethodSpec(
        title="all layers trained from random weights", run=scratch.run, recipe=CNNRecipe, default_recipe="cnn-fast",
        needs_weights=False, schema=1,
    ),
    "linear_probe": MethodSpec(
        title="frozen pretrained backbone, logistic regression on its features", run=linear_probe.run, recipe=ProbeRecipe,
        default_recipe="probe", needs_weights=True, schema=1, deterministic=True,
    ),
}  # fmt: skip

__all__ = ["METHODS", "Context", "MethodSpec", "Outcome"]
