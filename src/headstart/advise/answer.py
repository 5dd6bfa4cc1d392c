"""What is concluded once the candidates are read: the final model, what to expect of it, what labels
bring."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.advise.advice import Advice, Confusion, How
from headstart.advise.candidates import FOLD_SPREAD, Candidate, Judged, accuracy_interval, class_accuracies
from headstart.advise.images import PartOfImages
from headstart.advise.label_curve import LabelCurve
from headstart.advise.page import Evidence, write_pages
from headstart.advise.trying import Trying
from headstart.advise.wording import imbalance_of
from headstart.predict.predictor import Predictor
from headstart.results import metrics
from headstart.types import ImageSet, Predictions

_CONFUSIONS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Conclusion:
    """What either way of comparing hands over for the answer.

    chosen, tries: candidates. judged: what `accuracy` rests on, in `how`'s sense, of the images `shown`
    uint8 (M, S, S, 3) with these file names. rival: the best of the other family, its p value and the gap."""

    chosen: Candidate
    tries: Sequence[Candidate]
    judged: Judged
    how: How
    predictor: Predictor
    model: Path
    val_images: int
    train_images: int
    refitted: bool
    labels_per_class: int
    curve: LabelCurve | None
    p_value: float | None
    rivals_gap: float | None
    shown: NDArray[np.uint8] | PartOfImages
    names: Sequence[str]
    unfamiliar: float | None = None
    sample: str = ""
    imbalance: float | None = None  # None: of the images that were compared on


def write_answer(trying: Trying, conclusion: Conclusion) -> Advice:
    """The recommendation; writes advice.json, advice.md and advice.html into the folder, and
    what was said of the held-out images as predictions.npz."""
    judged, class_names = conclusion.judged, trying.images.dataset.train.class_names
    spread = FOLD_SPREAD if conclusion.how == "folds" else 1.0
    imbalance = conclusion.imbalance or imbalance_of(trying.images.dataset.train.labels)
    value = Advice(
        chosen=conclusion.chosen,
        tries=tuple(conclusion.tries),
        dropped=tuple(trying.dropped),
        accuracy=judged.score(False),
        interval=accuracy_interval(judged.share_right, judged.units, spread),
        balanced_accuracy=judged.score(True),
        macro_f1=judged.mean_of(metrics.macro_f1),
        imbalance=imbalance,
        classes=class_accuracies(judged, class_names, spread),
        test_images=len(judged.labels),
        val_images=conclusion.val_images,
        train_images=conclusion.train_images,
        labels_per_class=conclusion.labels_per_class,
        doubling=None if conclusion.curve is None else conclusion.curve.doubling,
        p_value=conclusion.p_value,
        rivals_gap=conclusion.rivals_gap,
        seconds_per_image=_seconds_per_image(conclusion.predictor, conclusion.shown),
        spent_seconds=trying.time.spent(),
        minutes=trying.time.minutes,
        fixes=trying.fixes,
        model=str(conclusion.model),
        interrupted=trying.interrupted,
        balanced=trying.balance,
        how=conclusion.how,
        refitted=conclusion.refitted,
        repetitions=len(judged.readings),
        confusions=_confusions(judged, class_names),
        unfamiliar=conclusion.unfamiliar,
        decided=trying.images.decided,
        sample=conclusion.sample,
    )
    store.write_sealed(trying.folder / "advice.json", value.json())
    store.write_predictions(
        trying.folder / "predictions.npz",
        {"test": Predictions(logits=judged.logits, labels=judged.labels, example_ids=judged.ids)},
    )
    evidence = Evidence(
        advice=value,
        judged=judged,
        images=conclusion.shown,
        names=conclusion.names,
        class_names=class_names,
        curve=conclusion.curve,
        title=trying.images.dataset.title,
    )
    write_pages(evidence, trying.folder)
    return value


def file_names(images: ImageSet) -> list[str]:
    """Of the images; numbers where they are not kept."""
    if images.names is None:
        return [f"image {place}" for place in range(len(images))]
    return [str(name) for name in images.names]


def _seconds_per_image(predictor: Predictor, images: NDArray[np.uint8] | PartOfImages) -> float:
    batch = np.array(images[: predictor.batch_size])
    predictor.probabilities(batch[:1])
    start = time.perf_counter()
    predictor.probabilities(batch)
    return (time.perf_counter() - start) / len(batch)


def _confusions(judged: Judged, names: Sequence[str]) -> tuple[Confusion, ...]:
    said = judged.logits.argmax(axis=1)
    pairs, counts = np.unique(
        np.stack([judged.labels, said])[:, said != judged.labels], axis=1, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")[:_CONFUSIONS]
    return tuple(
        Confusion(given=names[pairs[0, place]], said=names[pairs[1, place]], images=int(counts[place]))
        for place in order
    )
