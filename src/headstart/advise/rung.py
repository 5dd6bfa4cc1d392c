"""One candidate of `headstart advise` and the arm that it is in a study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headstart.methods import method_spec
from headstart.recipes import recipe_named
from headstart.types import Arm

BACKBONE = "resnet50"
PROBE_RECIPE = "probe-unit"  # people's labels are few: docs/decisions/0033


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One candidate of the ladder. pixels: side of the network's input; duration: of its training, empty
    where it has none."""

    name: str
    label: str
    method: str
    pixels: int
    duration: str = ""
    batch_size: int = 0
    balance: bool = False

    def arm(self, dataset: str) -> Arm:
        """The candidate as an arm of a study."""
        spec = method_spec(self.method)
        recipe_name = PROBE_RECIPE if self.method == "linear_probe" else spec.default_recipe
        recipe, scratch = recipe_named(recipe_name), not spec.needs_weights
        changes: dict[str, Any] = {"duration": self.duration} if self.duration else {}
        if self.balance and hasattr(recipe, "balance"):
            changes["balance"] = True
        if self.batch_size:
            changes["batch_size"] = self.batch_size
        return Arm(
            name=self.name,
            label=self.label,
            dataset=dataset,
            model="cnn" if scratch else BACKBONE,
            weights="none" if scratch else "imagenet-keras",
            method=self.method,
            recipe_name=recipe_name,
            recipe=recipe.replace(**changes),
            input_pixels=self.pixels,
        )
