"""What an arm's answer costs somebody who has only their own labelled images.

A trial counts the frozen features of every image that it read: a study shares them between all its label
budgets, and reads the test images for the evaluation. Whoever asks "which should I choose?" has to pass their
own images alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from headstart.registry.methods import FeatureUse, stored_method
from headstart.report.load import Arm, StudyView
from headstart.store import FinishedTrial


def own_flops(view: StudyView, arm: Arm, trials: Sequence[FinishedTrial]) -> float:
    """Mean floating-point operations of an arm's trials, of frozen features those of the labelled images
    alone."""
    about = view.study.dataset
    use = stored_method(arm.stored.method).features
    every = [trial for trial in view.trials if trial.arm.name == arm.name]
    flops = 0.0
    for trial in trials:
        own, read = _images(use, trial.train_images, about.train_images, about.test_images)
        same = [trial] if use is FeatureUse.OWN_IMAGES else every
        flops += trial.cost.flops - (1 - own / read) * min(_features(same), trial.cost.flops)
    return flops / len(trials)


def _images(use: FeatureUse, own: int, training: int, test: int) -> tuple[int, int]:
    """How many images' features are of the trial's own labels, and of how many there are features."""
    if use is FeatureUse.NONE:
        return 1, 1
    read = {
        FeatureUse.ALL_IMAGES: (own, training + 2 * test),
        FeatureUse.TRAINING_IMAGES: (own, training),
        FeatureUse.OWN_IMAGES: (2 * own, 2 * own + 2 * test),
    }
    return read[use]


def _features(trials: Sequence[FinishedTrial]) -> float:
    """Operations of the frozen features: what stands in a history's first row, where the fewest labels were
    learned from hardly more."""
    first = [row["flops"] for trial in trials for row in trial.history[:1] if "flops" in row]
    return float(min(first, default=0.0))
