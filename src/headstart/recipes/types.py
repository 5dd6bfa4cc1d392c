"""Types of recipes: every hyperparameter of a method, each with its range.

Every type is a frozen pydantic model. A number outside its range, an unknown field and a value of another
type are refused when a recipe is made; an int is accepted for a float and a list for a tuple. The text "none"
stands for None, which TOML lacks.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from headstart.types import Recipe


def _none(value: object) -> object:
    return None if value == "none" else value


def _list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


# A description is what an error message says of a value outside the range.
PositiveFloat = Annotated[float, Field(gt=0, description="must be above 0")]
Fraction = Annotated[float, Field(ge=0, le=1, description="must lie between 0 and 1")]
Count = Annotated[int, Field(ge=1, description="must be at least 1")]
# oneDNN of torch 2.13 writes beyond its buffers for 4 channels where the processor has AVX2 and no AVX-512.
Width = Annotated[int, Field(gt=0, multiple_of=8)]


class TrainingRecipe(Recipe):
    """How gradient training goes. Learning rates fall linearly to `final_lr_fraction` after a linear warm-up.

    duration: "7.3 epochs", "300 steps", "120 seconds", "0.36 PFLOP" or "3 epochs, at least 300 steps"; see
        training.resolve_steps.
    optimizer: "muon" (convolution filters by Muon, all else by SGD; the custom CNN's recipes alone), "sgd" or
        "adamw".
    flip: "alternating" (each image's first side is random, then sides alternate by epoch), "random" or
        "none".
    translate_pixels: largest random shift in each direction, borders reflected.
    ema_decay: decay a step of the averaged weights that are evaluated; None evaluates the weights themselves.
    balance: weigh each class alike in the loss, however many images it has.
    """

    takes_muon: ClassVar[bool] = False

    duration: str
    batch_size: Count
    optimizer: Literal["muon", "sgd", "adamw"] = "sgd"
    learning_rate: PositiveFloat
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0, description="must not be negative")] = 0.0
    label_smoothing: Fraction = 0.0
    warmup_fraction: Fraction = 0.0  # of all steps
    final_lr_fraction: Fraction = 0.0  # of the peak learning rate
    flip: Literal["alternating", "random", "none"] = "random"
    translate_pixels: Annotated[int, Field(ge=0, description="must not be negative")] = 0
    ema_decay: Annotated[
        float | None, Field(ge=0, le=1, description="must lie between 0 and 1"), BeforeValidator(_none)
    ] = None
    balance: bool = False

    @field_validator("optimizer")
    @classmethod
    def _muon_is_for_filters(cls, value: str) -> str:
        if value == "muon" and not cls.takes_muon:
            raise ValueError("optimizer 'muon' is for the custom CNN's recipes; choose 'sgd' or 'adamw'")
        return value

    @property
    def gradient_bound(self) -> float | None:
        """Largest norm of the gradient; None: no bound."""
        return None


class CNNRecipe(TrainingRecipe):
    """A TrainingRecipe for the custom CNN.

    widths: channels of its three blocks. bias_learning_rate, head_learning_rate, bias_momentum: of the
    parameters that are not convolution filters, trained by SGD; the rates are those of a loss summed over the
    batch (the head's output is divided by its width, hence their size). weight_decay here is per step and for
    those alone: Muon keeps each filter bank's norm fixed instead. whiten_bias_fraction: the share of all
    steps in which the first layer's bias learns.
    activation: "relu" or "gelu". norm_momentum: how far BatchNorm's running statistics move a step.
    """

    takes_muon: ClassVar[bool] = True

    optimizer: Literal["muon", "sgd", "adamw"] = "muon"
    widths: Annotated[
        tuple[Width, Width, Width], BeforeValidator(_list), Field(description="needs multiples of 8")
    ] = (64, 256, 256)
    bias_learning_rate: PositiveFloat = 0.053
    head_learning_rate: PositiveFloat = 0.67
    bias_momentum: Fraction = 0.85
    whiten_bias_fraction: Annotated[float, Field(ge=0, description="must not be negative")] = 0.375
    activation: Literal["relu", "gelu"] = "relu"
    norm_momentum: Fraction = 0.4


class ResNetRecipe(TrainingRecipe):
    """A TrainingRecipe for a ResNet from random weights: all layers learn at one rate."""


class LogisticRecipe(Recipe):
    """A multinomial logistic regression on frozen, standardised features.

    l2_values: candidates, on the weights of standardised features, mean loss; validation chooses by accuracy,
    then by loss.
    default_l2: used where nothing may be selected (fewer than 5 labels a class).
    tolerance: largest relative distance of the loss to the optimum.
    balance: weigh each class alike in the loss, however many images it has.
    """

    l2_values: Annotated[
        tuple[PositiveFloat, ...],
        BeforeValidator(_list),
        Field(min_length=1, description="needs values above 0"),
    ]
    default_l2: PositiveFloat = 0.03
    tolerance: PositiveFloat = 1e-4
    max_passes: Count = 200
    balance: bool = False


class ProbeRecipe(LogisticRecipe):
    """The regression as a method of its own: a linear probe.

    scaling: of the features. "columns": each column by its own mean and deviation over the labelled images.
    "unit": each image's features to length 1, then all columns by one deviation; better where labels are few,
    see docs/decisions/0033."""

    scaling: Literal["columns", "unit"] = "columns"


class KNNRecipe(Recipe):
    """Votes of the k nearest training images by cosine similarity of frozen features.

    k_values: candidates; validation chooses by accuracy, then by loss. default_k: used where nothing may be
    selected. A k above the number of training images means all of them.
    temperature: a neighbour's vote weighs exp(similarity / temperature); None: all votes weigh the same.
    smoothing: votes spread evenly over the classes before shares are taken; keeps the logarithm finite.
    """

    k_values: Annotated[
        tuple[Count, ...], BeforeValidator(_list), Field(min_length=1, description="needs values above 0")
    ]
    default_k: Count = 5
    temperature: Annotated[
        float | None, Field(gt=0, description="must be above 0"), BeforeValidator(_none)
    ] = 0.07
    smoothing: PositiveFloat = 1.0


class TransferRecipe(TrainingRecipe):
    """A TrainingRecipe for a network that has learned before.

    stage_lr_decay: a stage's learning rate is this times that of the stage after it; the last stage has the
    recipe's own.
    head_lr_scale: the new head's learning rate over the last stage's.
    batchnorm: of the layers that learn. "train": normalise with the batch's statistics and update the stored
    ones; "frozen": normalise with the stored ones and leave them, in training too. Scales and shifts learn in
    both.
    clip_norm: largest norm of the gradient where batchnorm is "frozen", as nothing else bounds a step there;
    None: no bound.
    """

    stage_lr_decay: Annotated[float, Field(gt=0, le=1, description="must be above 0 and at most 1")] = 1.0
    head_lr_scale: PositiveFloat = 1.0
    batchnorm: Literal["train", "frozen"] = "train"
    clip_norm: Annotated[float | None, Field(gt=0, description="must be above 0"), BeforeValidator(_none)] = (
        None
    )

    @property
    def gradient_bound(self) -> float | None:
        return self.clip_norm if self.batchnorm == "frozen" else None


class FineTuneRecipe(TransferRecipe):
    """All layers are fine-tuned under a new head that begins at zero."""


class PartialRecipe(TransferRecipe):
    """`trainable_from` ("layer4", "layer4.1", ...) and all after it are fine-tuned; the rest is frozen and
    computed once.

    Each image has two stored views, plain and mirrored: translate_pixels must be 0.
    """

    translate_pixels: Annotated[
        int,
        Field(
            ge=0,
            le=0,
            description="must be 0: the frozen part's output is stored for the plain and the mirrored image "
            "alone",
        ),
    ] = 0
    trainable_from: str = "layer4"


class LPFTRecipe(TransferRecipe, LogisticRecipe):
    """A logistic regression on frozen features gives the head from which all layers are then fine-tuned.

    Source: Kumar et al. 2022, "Fine-tuning can distort pretrained features and underperform
    out-of-distribution".
    """
