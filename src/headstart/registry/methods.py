"""METHODS: all that anyone must know of a method. Imports no torch: reports and tables read it too.

To add one: an entry here, and the class in headstart/methods/ that it names (docs/how-to/adding-a-method.md).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from headstart import plugins
from headstart.errors import ConfigError
from headstart.recipes import (
    CNNRecipe,
    FineTuneRecipe,
    KNNRecipe,
    LPFTRecipe,
    PartialRecipe,
    ProbeRecipe,
    ResNetRecipe,
    spaces,
)
from headstart.recipes.spaces import Knob
from headstart.registry import words
from headstart.registry.words import ArmFacts
from headstart.runtime import progress
from headstart.types import Recipe

if TYPE_CHECKING:
    from headstart.methods.base import Method


class FeatureUse(Enum):
    """Which outputs of frozen layers a method reads; they are computed once and cached.

    ALL_IMAGES: pooled features of all training images and of both views of the test images.
    TRAINING_IMAGES: pooled features of all training images alone.
    OWN_IMAGES: activations inside the network, of both views of the trial's own images and of the test
    images.
    """

    NONE = auto()
    ALL_IMAGES = auto()
    TRAINING_IMAGES = auto()
    OWN_IMAGES = auto()


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method for people and for the program; `implementation` is the half that computes.

    title: a line for `headstart list`. schema: raised when the same trial would give another result.
    implemented_by: a class derived from methods.base.Method, or where it lies as "package.module:NAME", which
    is imported on first use.

    Of its recipes:
    spaces: the recipe types that it takes, each with what `headstart tune` may change of it. default_recipe:
    the name of the recipe of an arm that names none.

    Of its start:
    needs_weights: it starts from pretrained weights, otherwise from random ones. random_control: weights =
    "none" is allowed where it is said in so many words: one random start, frozen, the same for every trial.
    needs_cuts: the model's frozen part must end at any block that a recipe names (ModelSpec.has_cuts).

    Of what it learns:
    deterministic: with all labels every seed gives the same result, so one is run. frozen_backbone: nothing
    but a head learns, on features in the trial's feature_precision. features: the outputs of frozen layers
    that it reads. why_no_network: where its saved model is not one network, which could be explained and
    exported: the reason, as the start of a sentence.

    Of reports:
    describe: what was done in an arm, a paragraph an item. depth: its place among the steps from nothing
    trained (0) to everything trained; None keeps it out of that table. controls: the methods whose pretrained
    arms an arm of this one from random weights is the control of, the nearest first. epoch_note, gap_note:
    what a reader must know of its epochs and of its training accuracy, as the rest of a sentence about its
    arms.
    """

    title: str
    implemented_by: str | type[Method]
    schema: int
    spaces: Mapping[type[Recipe], tuple[Knob, ...]]
    default_recipe: str
    needs_weights: bool
    random_control: bool = False
    needs_cuts: bool = False
    deterministic: bool = False
    frozen_backbone: bool = False
    features: FeatureUse = FeatureUse.NONE
    why_no_network: str = ""
    describe: Callable[[ArmFacts], Sequence[str]] = words.any_method
    depth: int | None = None
    controls: tuple[str, ...] = ()
    epoch_note: str = ""
    gap_note: str = ""

    @property
    def is_network(self) -> bool:
        """Whether its saved model is one network, which can be explained and exported."""
        return not self.why_no_network

    def takes(self, recipe: Recipe) -> bool:
        """Whether a recipe is of one of its types."""
        return isinstance(recipe, tuple(self.spaces))

    @property
    def implementation(self) -> Method:
        """The half that computes; the first use imports torch."""
        if not isinstance(self.implemented_by, str):
            return self.implemented_by()
        module, _, name = self.implemented_by.partition(":")
        kind: type[Method] = getattr(importlib.import_module(module), name)
        return kind()

    def space(self, recipe: Recipe, pixels: Sequence[int] = ()) -> tuple[Knob, ...]:
        """The search space of an arm with this recipe; pixels: input sizes to choose among."""
        knobs = next(space for kind, space in self.spaces.items() if isinstance(recipe, kind))
        return (*knobs, spaces.pixels_knob(pixels)) if pixels else knobs


METHODS: dict[str, MethodSpec] = {
    "scratch": MethodSpec(
        title="all layers trained from random weights",
        implemented_by="headstart.methods.scratch:Scratch",
        schema=1,
        spaces={
            CNNRecipe: spaces.CNN,
            ResNetRecipe: spaces.FROM_SCRATCH,
            FineTuneRecipe: spaces.FROM_SCRATCH,
        },
        default_recipe="cnn-fast",
        needs_weights=False,
        describe=words.scratch,
        controls=("finetune", "lp_ft", "partial"),
    ),
    "knn": MethodSpec(
        title="frozen pretrained backbone, votes of the nearest training images",
        implemented_by="headstart.methods.knn:KNN",
        schema=1,
        spaces={KNNRecipe: spaces.KNN},
        default_recipe="knn",
        needs_weights=True,
        random_control=True,
        deterministic=True,
        frozen_backbone=True,
        features=FeatureUse.ALL_IMAGES,
        why_no_network="a kNN model answers by comparing with its training images",
        describe=words.knn,
        depth=0,
        gap_note="each training image is among its own neighbours, which alone raises it.",
    ),
    # Schema 2: the folds of a label budget are drawn from its own labels alone.
    "linear_probe": MethodSpec(
        title="frozen pretrained backbone, logistic regression on its features",
        implemented_by="headstart.methods.linear_probe:LinearProbe",
        schema=2,
        spaces={ProbeRecipe: ()},
        default_recipe="probe",
        needs_weights=True,
        random_control=True,
        deterministic=True,
        frozen_backbone=True,
        features=FeatureUse.ALL_IMAGES,
        describe=words.linear_probe,
        depth=1,
        controls=("linear_probe",),
        epoch_note="an epoch is one pass of the solver over stored features.",
    ),
    "partial": MethodSpec(
        title="the last stages of a pretrained network trained on, the rest frozen",
        implemented_by="headstart.methods.partial:Partial",
        schema=1,
        spaces={PartialRecipe: spaces.TRANSFER},
        default_recipe="partial",
        needs_weights=True,
        needs_cuts=True,
        features=FeatureUse.OWN_IMAGES,
        describe=words.partial,
        depth=2,
    ),
    "finetune": MethodSpec(
        title="all layers of a pretrained network trained on",
        implemented_by="headstart.methods.finetune:FineTune",
        schema=1,
        spaces={FineTuneRecipe: spaces.FINE_TUNE},
        default_recipe="finetune",
        needs_weights=True,
        describe=words.finetune,
        depth=3,
    ),
    "lp_ft": MethodSpec(
        title="linear probe first, then all layers trained on from it",
        implemented_by="headstart.methods.lp_ft:LPFT",
        schema=1,
        spaces={LPFTRecipe: spaces.LP_FT},
        default_recipe="lp_ft",
        needs_weights=True,
        features=FeatureUse.TRAINING_IMAGES,
        describe=words.lp_ft,
        depth=4,
    ),
}

# For results of a method whose package is not installed (any more): it claims nothing and cannot run.
_UNKNOWN = MethodSpec(
    title="", implemented_by="", schema=0, spaces={}, default_recipe="", needs_weights=False
)


def method_spec(name: str) -> MethodSpec:
    """The entry of METHODS, or that of an installed package.

    Raises: ConfigError for an unknown name, with the choices."""
    return plugins.look_up("method", name, METHODS, MethodSpec)


def stored_method(name: str) -> MethodSpec:
    """As method_spec, for results on disk: of an unknown method an entry that claims nothing, so that they
    still render."""
    return METHODS.get(name) or _of_a_package(name)


@functools.cache
def _of_a_package(name: str) -> MethodSpec:
    try:
        return method_spec(name)
    except ConfigError as error:
        if plugins.is_known("method", name, METHODS):  # the package is installed, but broken
            progress.say(str(error))
        return _UNKNOWN
