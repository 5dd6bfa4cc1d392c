"""Which classes are confused, for whom, and how far the arms err on the same images."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from headstart.report.load import Arm, StudyView
from headstart.results import headline, metrics
from headstart.results.trials import agreement

_PAIRS = 8
_ALL_PAIRS = 6  # of more arms, only the pairs with a headline arm are listed


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """A true class and the one that it is taken for; by arm the share of the true class's images, seeds
    together."""

    truth: str
    taken_for: str
    shares: tuple[float, ...]


def confused_pairs(view: StudyView) -> list[ConfusedPair]:
    """The class pairs that some arm confuses most, largest share first; fewer where nothing else is
    confused."""
    shares = np.stack([_shares(arm) for arm in view.arms])
    shares[:, np.arange(shares.shape[1]), np.arange(shares.shape[1])] = 0
    worst = shares.max(axis=0)
    order = np.argsort(-worst, axis=None, kind="stable")[:_PAIRS]
    places = [np.unravel_index(k, worst.shape) for k in order if worst.flat[k] > 0]
    return [
        ConfusedPair(
            truth=view.class_names[i],
            taken_for=view.class_names[j],
            shares=tuple(map(float, shares[:, i, j])),
        )
        for i, j in places
    ]


def _shares(arm: Arm) -> NDArray[np.float64]:
    """Confusion matrix of all seeds, rows normalised, float64 (C, C); zeros for a class without images."""
    counts = np.sum(
        [metrics.confusion_matrix(test.logits, test.labels) for test in arm.tests], axis=0
    ).astype(np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How two arms' first seeds compare image by image; shares of the test images, and Cohen's kappa or
    None."""

    a: Arm
    b: Arm
    same_prediction: float
    both_right: float
    both_wrong: float
    only_a: float
    only_b: float
    kappa: float | None


@dataclass(frozen=True, kw_only=True)
class Agreements:
    """rows: the pairs shown. pairs: how many there are. about: the arms of which every shown pair holds one;
    empty where all pairs are shown."""

    rows: tuple[Agreement, ...]
    pairs: int
    about: tuple[Arm, ...]


def agreements(view: StudyView) -> Agreements:
    """Pairs of arms, in the study's order: all; of more than six arms, those with one of the two that the
    headline names."""
    rows = []
    every = list(combinations(view.arms, 2))
    about: tuple[Arm, ...] = ()
    if len(view.arms) > _ALL_PAIRS:
        names = headline.headline_pair(view.study, view.trials)
        about = tuple(arm for name in names for arm in view.arms if arm.name == name)
    for a, b in every:
        if about and not {a.name, b.name} & {arm.name for arm in about}:
            continue
        shares = agreement(a.tests[0], b.tests[0])
        kappa = shares.pop("kappa")
        rows.append(Agreement(a=a, b=b, kappa=None if np.isnan(kappa) else kappa, **shares))
    return Agreements(rows=tuple(rows), pairs=len(every), about=about)
