"""What was tried: each candidate with its accuracy on images that it did not learn from, and how two
compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.registry.methods import stored_method
from headstart.results import metrics
from headstart.results.stats import mcnemar, wilson_interval
from headstart.store import FinishedTrial

_DRAWS = 2000  # of the bootstrap
# Images of cross-validation say as much as this many times fewer held-out ones: folds share training images,
# and the final model learns from a quarter more. The same for one division into folds as for three
# (docs/decisions/0039).
FOLD_SPREAD = 1.6
SURE = 0.05  # p value below which a difference is called more than chance
FAMILIES = {"scratch": "a network trained from scratch", "pretrained": "a pretrained network"}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One candidate: accuracy (0..1) on the `images` that choose, none of which the model judging it had
    learned from, with its 95 % interval; wall seconds of its training, features included. folds: of
    cross-validation that it was read on, 0 where a part was held out instead."""

    name: str
    label: str
    family: str  # a key of FAMILIES
    pixels: int  # side of the network's input
    val_accuracy: float
    val_balanced_accuracy: float
    seconds: float
    key: str  # of its run folder; empty for one of cross-validation
    images: int = 0
    interval: tuple[float, float] = (0.0, 1.0)
    folds: int = 0

    def score(self, balanced: bool) -> float:
        """What candidates are compared by."""
        return self.val_balanced_accuracy if balanced else self.val_accuracy


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What a candidate said of images that it had not learned from.

    ids: int64 (M,), sorted. logits: float32 (M, C). labels, units: int64 (M,); units as in Division. again:
    logits of the same images by further divisions into folds."""

    ids: NDArray[np.int64]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    units: NDArray[np.int64]
    again: tuple[NDArray[np.float32], ...] = ()

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.asarray(self.logits.argmax(axis=1) == self.labels)

    @property
    def readings(self) -> tuple[NDArray[np.float32], ...]:
        """The logits of every division."""
        return self.logits, *self.again

    @property
    def share_right(self) -> NDArray[np.float64]:
        """Of an image's readings, those that are right: float64 (M,)."""
        right = [logits.argmax(axis=1) == self.labels for logits in self.readings]
        return np.asarray(np.mean(right, axis=0), np.float64)

    def only(self, ids: NDArray[np.int64]) -> Judged:
        """The part about these images, all of which must be among its own."""
        rows = np.searchsorted(self.ids, ids)
        return Judged(
            ids=ids,
            logits=self.logits[rows],
            labels=self.labels[rows],
            units=self.units[rows],
            again=tuple(logits[rows] for logits in self.again),
        )

    def score(self, balanced: bool) -> float:
        return self.mean_of(metrics.balanced_accuracy if balanced else metrics.accuracy)

    def mean_of(self, measure: Callable[[NDArray[np.floating[Any]], NDArray[np.int64]], float]) -> float:
        """Of a measure of (logits, labels), over the divisions into folds."""
        return float(np.mean([measure(logits, self.labels) for logits in self.readings]))


def accuracy_interval(
    right: NDArray[np.float64] | NDArray[np.bool_], units: NDArray[np.int64], spread: float = 1.0
) -> tuple[float, float]:
    """The 95 % interval of an accuracy over images, some of which belong together.

    Wilson's, with as many independent images as the variance between units allows, over `spread`. right:
    float64 (M,), the share of an image's readings that were right; units: int64 (M,). Source: Kish (1965),
    Survey Sampling, design effect."""
    count, share = len(right), float(right.mean())
    _, place = np.unique(units, return_inverse=True)
    sums = np.bincount(place, weights=right - share)
    effective = float(count)
    if len(sums) < count:
        variance = float((sums**2).sum()) * len(sums) / max(len(sums) - 1, 1)
        plain = count * share * (1 - share)
        effective = count / max(variance / plain, 1.0) if plain > 0 else len(sums)
    number = max(1.0, effective / spread)
    return wilson_interval(share * number if share < 1 else number, number)


def common(first: Judged, second: Judged) -> tuple[Judged, Judged]:
    """Both, on the images that both have judged."""
    ids = np.intersect1d(first.ids, second.ids)
    return first.only(ids), second.only(ids)


def compare(first: Judged, second: Judged, balanced: bool = False) -> float:
    """The p value of "both are as good" on the images that both have judged: McNemar's; balanced: of the
    difference of accuracies averaged over classes, by a bootstrap within classes.

    It is about these images and these trained models."""
    first, second = common(first, second)
    if not balanced:
        return mcnemar(first.right, second.right).p_value
    gains = _gains(first, second)
    generator = np.random.default_rng(0)
    by_class = [gains[first.labels == label] for label in np.unique(first.labels)]
    drawn = np.mean(
        [own[generator.integers(0, len(own), (_DRAWS, len(own)))].mean(axis=1) for own in by_class], axis=0
    )
    return float(min(1.0, 2 * min((drawn <= 0).mean(), (drawn >= 0).mean())))


def gain(first: Judged, second: Judged, balanced: bool) -> tuple[float, float]:
    """(first's score less second's, its standard error) on the images that both have judged."""
    first, second = common(first, second)
    differences = _gains(first, second)
    if balanced:
        counts = np.bincount(first.labels)
        differences = differences * len(differences) / (np.count_nonzero(counts) * counts[first.labels])
    _, place = np.unique(first.units, return_inverse=True)
    sums = np.bincount(place, weights=differences - differences.mean())
    return float(differences.mean()), float(np.sqrt((sums**2).sum())) / max(len(differences), 1)


def _gains(first: Judged, second: Judged) -> NDArray[np.float64]:
    """By image; over all divisions into folds where both have judged as many."""
    if len(first.readings) == len(second.readings):
        return first.share_right - second.share_right
    return first.right.astype(np.float64) - second.right


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """Share of a class's held-out images that are recognised, with its 95 % interval; `images` of them."""

    name: str
    accuracy: float
    interval: tuple[float, float]
    images: int


def class_accuracies(judged: Judged, names: Sequence[str], spread: float = 1.0) -> tuple[ClassAccuracy, ...]:
    """In the classes' order; classes without images are left out. spread: as of accuracy_interval."""
    right = judged.share_right
    return tuple(
        ClassAccuracy(
            name=name,
            accuracy=float(right[own].mean()),
            images=int(own.sum()),
            interval=accuracy_interval(right[own], judged.units[own], spread),
        )
        for label, name in enumerate(names)
        if (own := judged.labels == label).any()
    )


def best_rival(candidates: Sequence[Candidate], chosen: Candidate, balanced: bool) -> Candidate | None:
    """The best of the other family."""
    rivals = [each for each in candidates if each.family != chosen.family]
    return max(rivals, key=lambda each: each.score(balanced), default=None)


# --- of trials that keep a part for choosing ---


def choose(
    tries: Sequence[Candidate], trials: Mapping[str, FinishedTrial], balanced: bool = False
) -> Candidate:
    """The best on validation images by accuracy, or by balanced accuracy, ties by the smaller loss. kNN is a
    yardstick, never chosen while there is another, for it cannot be exported or explained."""
    able = [each for each in tries if stored_method(trials[each.key].arm.method).is_network] or tries

    def rank(each: Candidate) -> tuple[float, float]:
        return round(each.score(balanced), 9), -(trials[each.key].metrics["val_nll"] or 0.0)

    return max(able, key=rank)


def read_part(trial: FinishedTrial, part: str) -> Judged:
    """What a finished trial said of "val" or "test"."""
    read = store.read_predictions(trial.folder)[part]
    return Judged(
        ids=read.example_ids, logits=read.logits, labels=read.labels, units=np.arange(len(read.labels))
    )


def read_candidate(trial: FinishedTrial, pixels: int) -> Candidate:
    """A finished trial as a candidate at this input size."""
    val = read_part(trial, "val")
    return Candidate(
        name=trial.arm.name,
        label=trial.arm.label,
        family="pretrained" if stored_method(trial.arm.method).needs_weights else "scratch",
        pixels=pixels,
        val_accuracy=val.score(False),
        key=trial.key,
        seconds=trial.cost.total_seconds,
        val_balanced_accuracy=val.score(True),
        images=len(val.labels),
        interval=accuracy_interval(val.right, val.units),
    )
