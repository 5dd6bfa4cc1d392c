"""What the registries know of the package; imports no torch."""

from pydantic import Field

from headstart.data import DatasetSpec
from headstart.methods import FeatureUse, MethodSpec
from headstart.recipes.spaces import Range
from headstart.registry.words import ArmFacts
from headstart.types import Recipe
from headstart_toy.colours import load_colours


class CentroidRecipe(Recipe):
    """How sure a nearest class mean is: logits are -sharpness times the squared distance."""

    sharpness: float = Field(gt=0)


RECIPE = CentroidRecipe(sharpness=4.0)


def describe(facts: ArmFacts) -> list[str]:
    return [f"{facts.model} with {facts.start}: the class whose mean feature is nearest{facts.at_pixels}."]


METHOD = MethodSpec(
    title="frozen backbone, nearest class mean of its features",
    implemented_by="headstart_toy.centroids:Centroids",
    schema=1,
    spaces={CentroidRecipe: (Range(name="sharpness", low=0.5, high=50.0, log=True),)},
    default_recipe="centroids",
    needs_weights=True,
    random_control=True,
    deterministic=True,
    frozen_backbone=True,
    features=FeatureUse.ALL_IMAGES,
    why_no_network="a centroids model answers by comparing with class means",
    describe=describe,
    depth=1,
    controls=("centroids",),
)
DATASET = DatasetSpec(title="Colours: 16 px squares of three colours", load=load_colours)
