"""One candidate of `headstart advise` and the arm that it is in a study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from headstart.errors import HeadstartError
from headstart.methods import method_spec
from headstart.models import model_spec, resolve_weights
from headstart.models.weight_names import is_url
from headstart.models.weights import is_fetched
from headstart.recipes import ProbeRecipe, recipe_named
from headstart.store.schema import LARGEST_PIXELS
from headstart.types import Arm

BACKBONE, BACKBONE_WEIGHTS = "resnet50", "imagenet-keras"
PROBE_RECIPE = "probe-unit"  # people's labels are few: docs/decisions/0033
_ALL_LAYERS_PIXELS = 128
BACKBONE_TITLES = {"resnet50": "ResNet-50", "efficientnet-lite0": "EfficientNet-Lite0"}


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One candidate. pixels: side of the network's input; duration: of its training, empty where it has none.
    model, weights: of the pretrained network; a CNN from scratch has none. flips: whether it may learn from
    mirror images. hurried: a head with the L2 that the recipe would take unchosen."""

    name: str
    label: str
    method: str
    pixels: Annotated[int, Field(ge=1, le=LARGEST_PIXELS)]
    duration: str = ""
    batch_size: Annotated[int, Field(ge=0, le=10**6)] = 0
    balance: bool = False
    model: str = BACKBONE
    weights: str = BACKBONE_WEIGHTS
    flips: bool = True
    hurried: bool = False

    @property
    def is_known(self) -> bool:
        """Whether there are such a method and such weights here: a file can name others, and no address that
        it names is fetched."""
        try:
            method_spec(self.method)
            if is_url(self.weights):
                return is_fetched(self.weights)
            return self.weights in model_spec(self.model).sources or Path(self.weights).is_file()
        except (HeadstartError, OSError, ValueError):
            return False

    @property
    def from_scratch(self) -> bool:
        return not method_spec(self.method).needs_weights

    @property
    def is_frozen(self) -> bool:
        """Whether nothing but a head on frozen features is fitted."""
        return method_spec(self.method).frozen_backbone

    def arm(self, dataset: str) -> Arm:
        """The candidate as an arm of a study."""
        spec = method_spec(self.method)
        recipe_name = PROBE_RECIPE if self.method == "linear_probe" else spec.default_recipe
        recipe = recipe_named(recipe_name)
        changes: dict[str, Any] = {"duration": self.duration} if self.duration else {}
        if self.balance and hasattr(recipe, "balance"):
            changes["balance"] = True
        if self.batch_size:
            changes["batch_size"] = self.batch_size
        if self.hurried and isinstance(recipe, ProbeRecipe):
            changes["l2_values"] = (recipe.default_l2,)
        if not self.flips and hasattr(recipe, "flip"):
            changes["flip"] = "none"
        return Arm(
            name=self.name,
            label=self.label,
            dataset=dataset,
            model="cnn" if self.from_scratch else self.model,
            weights="none" if self.from_scratch else resolve_weights(self.model, self.weights),
            method=self.method,
            recipe_name=recipe_name,
            recipe=recipe.replace(**changes),
            input_pixels=self.pixels,
        )


def pretrained_networks(model: str, weights: str, pixels: int, flips: bool) -> Iterator[tuple[Rung, int]]:
    """Ways of fine-tuning a pretrained network, the cheapest first, with the epochs that
    are enough. pixels: of the best head on it; all layers learn from at most _ALL_LAYERS_PIXELS."""
    title = BACKBONE_TITLES.get(model, model)
    own: dict[str, Any] = {"model": model, "weights": weights, "flips": flips}
    if model.startswith("resnet"):
        label = f"Fine-tuned last stage, {title}"
        yield Rung(name="partial", label=label, method="partial", pixels=pixels, **own), 20
    own["pixels"] = min(pixels, _ALL_LAYERS_PIXELS)
    yield (
        Rung(name="lp_ft", label=f"LP-FT, {title}", method="lp_ft", **own),
        10,
    )
    yield (
        Rung(
            name="finetune",
            label=f"Fine-tuned {title}",
            method="finetune",
            **own,
        ),
        10,
    )
