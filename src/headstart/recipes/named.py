"""RECIPES: the named recipes that were written by hand; those that were tuned lie in tuned.toml.

Each named recipe was chosen on the validation split alone; its comment says how, and what was tried.
"""

from __future__ import annotations

from headstart.recipes.types import (
    CNNRecipe,
    FineTuneRecipe,
    KNNRecipe,
    LPFTRecipe,
    PartialRecipe,
    ProbeRecipe,
    ResNetRecipe,
)
from headstart.types import Recipe

# Densest where validation accuracy of ResNet-50 features at 96 px peaks (87.5 % at 0.02, 86.2 % at 0.1, 86.6
# % at 0.001).
_L2_VALUES = (1.0, 0.3, 0.1, 0.05, 0.03, 0.02, 0.015, 0.01, 0.005, 0.002)
_LEAST = ", at least 300 steps"  # small label budgets have one or two steps an epoch
_FROZEN_CLIP = 1.0  # without it frozen BatchNorm diverges at these learning rates: docs/decisions/0040

RECIPES: dict[str, Recipe] = {
    # Learning rate: of two tries at 2 epochs 0.12 gave 88.6 % validation accuracy, 0.24 87.9 %. Activation
    # and widths: docs/negative-results.md. The rest as in cifar10-airbench, not tuned here. A fifth of
    # cnn-full's work.
    "cnn-fast": CNNRecipe(
        duration="3.5 epochs",
        batch_size=500,
        learning_rate=0.12,
        momentum=0.6,
        weight_decay=0.001,
        label_smoothing=0.2,
        flip="alternating",
        translate_pixels=2,
    ),
    # Accepted on validation (45,000 images, one view, seeds 1 and 2): 14 epochs 92.8 and 93.2 %, 18 epochs
    # 93.2 and 93.3 %; 10 epochs had 93.0 %, and no other setting did better (docs/negative-results.md). 18
    # epochs of 50,000 images: 0.65 PFLOP.
    "cnn-full": CNNRecipe(
        duration="18 epochs",
        batch_size=500,
        learning_rate=0.12,
        momentum=0.6,
        weight_decay=0.001,
        label_smoothing=0.2,
        flip="alternating",
        translate_pixels=2,
    ),
    "probe": ProbeRecipe(l2_values=_L2_VALUES),
    # Chosen on training images alone, at 1 to 50 labels a class of seeds that no study uses:
    # docs/decisions/0033.
    "probe-unit": ProbeRecipe(l2_values=_L2_VALUES, scaling="unit"),
    # From here on: usual values; what a search found for the study `cifar10` is in tuned.toml.
    # Temperature: Wu et al. 2018, "Unsupervised feature learning via non-parametric instance discrimination".
    "knn": KNNRecipe(k_values=(1, 3, 5, 10, 20, 50, 100)),
    "finetune": FineTuneRecipe(
        duration="3 epochs" + _LEAST,
        batch_size=64,
        learning_rate=0.01,
        weight_decay=1e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        clip_norm=_FROZEN_CLIP,
        translate_pixels=2,
        stage_lr_decay=0.7,
    ),
    "partial": PartialRecipe(
        duration="5 epochs" + _LEAST,
        batch_size=64,
        learning_rate=0.01,
        weight_decay=1e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        clip_norm=_FROZEN_CLIP,
    ),
    "lp_ft": LPFTRecipe(
        l2_values=_L2_VALUES,
        duration="3 epochs" + _LEAST,
        batch_size=64,
        learning_rate=0.003,
        weight_decay=1e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        clip_norm=_FROZEN_CLIP,
        translate_pixels=2,
        stage_lr_decay=0.7,
    ),
    "resnet-scratch": ResNetRecipe(
        duration="20 epochs" + _LEAST,
        batch_size=128,
        learning_rate=0.1,
        weight_decay=5e-4,
        label_smoothing=0.1,
        warmup_fraction=0.1,
        translate_pixels=4,
    ),
}


# How the recipes above came about, for what a report says of tuning. The others choose for themselves what
# they need.
DEVELOPED_BY_HAND = frozenset({"cnn-fast", "cnn-full"})  # on validation images, as their comments say
USUAL_VALUES = frozenset({"knn", "finetune", "partial", "lp_ft", "resnet-scratch"})
