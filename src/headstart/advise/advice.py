"""What `headstart advise` concludes from finished trials: a value, its words for a terminal, Markdown, plain
data."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart import store
from headstart.data_quality.inspection import Inspection
from headstart.data_quality.remarks import IMBALANCE
from headstart.registry.methods import stored_method
from headstart.results import metrics
from headstart.results.label_curves import Estimate
from headstart.results.stats import mcnemar, wilson_interval
from headstart.runtime import progress
from headstart.store import FinishedTrial

_DRAWS = 2000  # of the bootstrap
SURE = 0.05  # p value of the comparison on validation images below which a winner is called sure
FAMILIES = {"scratch": "a network trained from scratch", "pretrained": "a pretrained network"}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One candidate: accuracy on validation images (0..1), wall seconds of its training, features
    included."""

    name: str
    label: str
    family: str  # a key of FAMILIES
    pixels: int  # side of the network's input
    val_accuracy: float
    val_balanced_accuracy: float
    seconds: float
    key: str  # of its run folder

    def score(self, balanced: bool) -> float:
        """What candidates are compared by."""
        return self.val_balanced_accuracy if balanced else self.val_accuracy


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """Share of a class's held-out photos that are recognised, with its 95 % interval; `images` of them."""

    name: str
    accuracy: float
    interval: tuple[float, float]
    images: int


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The answer. accuracy, interval: of the chosen model on `test_images` held-out photos (Wilson, 95 %);
    chosen on `val_images` others. doubling: accuracy gained by twice the labels, from a learning curve up to
    `labels_per_class`; None where the data cannot say. p_value: of "the best of the other family is as good"
    on the validation images; None where there is no other. rivals_gap: validation accuracy of the chosen one
    minus that of the other family's best."""

    chosen: Candidate
    tries: tuple[Candidate, ...]
    dropped: tuple[str, ...]  # in words: what was not tried, or not further, and why
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    imbalance: float  # the largest class over the smallest
    classes: tuple[ClassAccuracy, ...]
    test_images: int
    val_images: int
    train_images: int
    labels_per_class: int
    doubling: Estimate | None
    p_value: float | None
    rivals_gap: float | None
    seconds_per_photo: float
    spent_seconds: float
    minutes: float
    fixes: tuple[str, ...]
    model: str
    interrupted: bool
    balanced: bool  # each class weighed alike, and balanced accuracy chose
    decided: str = ""  # in words: decisions about single images (data/folders/decisions.py)

    @property
    def most_common(self) -> tuple[str, float]:
        """The largest class of the held-out photos and its share: what saying it to everything gives."""
        total = sum(each.images for each in self.classes)
        largest = max(self.classes, key=lambda each: each.images)
        return largest.name, largest.images / max(total, 1)

    @property
    def beats_guessing(self) -> bool:
        """Whether more than chance lies between the model and guessing.

        Guessing is the largest class for accuracy, and one of C classes for accuracy averaged over classes,
        which counts where classes are uneven or weighed alike."""
        if self.balanced or self.imbalance >= IMBALANCE:
            count = len(self.classes)
            variance = sum(c.accuracy * (1 - c.accuracy) / c.images for c in self.classes) / count**2
            return self.balanced_accuracy - 1.96 * math.sqrt(variance) > 1 / count
        return self.interval[0] > self.most_common[1]

    def guessing(self) -> str:
        """What guessing would give, and whether this is more, in a sentence."""
        name, share = self.most_common
        text = f"Saying {name} to everything would be right for {_percent(share)} of these photos"
        if self.balanced or self.imbalance >= IMBALANCE:
            text += f", and averaged over classes for {_percent(1 / len(self.classes))}"
        if self.beats_guessing:
            return f"{text}: the model is better than guessing."
        return f"{text}: that the model is better than guessing cannot be told. Do not use it as it is."

    def sentence(self) -> str:
        """The recommendation in one sentence."""
        low, high = self.interval
        if self.balanced:
            return self._balanced_sentence()
        text = (
            f"Use {self.chosen.label} (input {self.chosen.pixels} px): expect {_percent(self.accuracy)} of "
            "new photos right "
            f"({_percent(low)} to {_percent(high)}, from {self.test_images:,} held-out photos)"
        )
        if self.imbalance >= IMBALANCE:
            text += (
                f"; classes are uneven, and averaged over classes it is {_percent(self.balanced_accuracy)} "
                f"(macro F1 {self.macro_f1:.2f})"
            )
        return text + "."

    def _balanced_sentence(self) -> str:
        low, high = self.interval
        return (
            f"Use {self.chosen.label} (input {self.chosen.pixels} px): expect "
            f"{_percent(self.balanced_accuracy)} of "
            "new photos right averaged over classes, each weighing alike (macro F1 "
            f"{self.macro_f1:.2f}); of all "
            f"photos {_percent(self.accuracy)} ({_percent(low)} to {_percent(high)}, from "
            f"{self.test_images:,} "
            "held-out photos)."
        )

    def command(self) -> str:
        """What to type next."""
        return f"headstart predict {shlex.quote(self.model)} PHOTOS"

    def confidence(self) -> str:
        """How sure the choice is, in a sentence."""
        if self.p_value is None or self.rivals_gap is None:
            return (
                f"Only {FAMILIES[self.chosen.family]} was tried in the time given, so nothing is said about "
                "the other way."
            )
        other = FAMILIES["scratch" if self.chosen.family == "pretrained" else "pretrained"]
        kept = f"{self.val_images:,} photos kept for choosing"
        gap = f"{100 * self.rivals_gap:.1f} points ahead of {other} on {kept}"
        if self.p_value < SURE:
            return f"Sure of the way: {gap}, more than chance explains."
        more = " More photos would tell." if self.chosen.val_accuracy < 1 else ""
        return f"Not sure of the way: {gap}, which chance alone could do.{more}"

    def labels(self) -> str:
        """What more labels would bring, in a sentence."""
        if self.doubling is None:
            return (
                "What more labels would bring cannot be said from so few, or accuracy does not grow "
                "steadily with labels."
            )
        between = self.doubling.interval
        spread = f" ({100 * between[0]:.1f} to {100 * between[1]:.1f})" if between is not None else ""
        return (
            f"Twice the labels (from {self.labels_per_class:,} a class) would bring about "
            f"{100 * self.doubling.value:.1f} points{spread}, by the learning curve of a new head on the "
            "pretrained network."
        )

    def cost(self) -> str:
        """What it costs, in a sentence."""
        return (
            f"Training took {progress.clock(self.chosen.seconds)} on this machine, everything that was tried "
            f"{progress.clock(self.spent_seconds)}; in use {1000 * self.seconds_per_photo:.0f} ms a photo."
        )

    def learned(self) -> str:
        """What the saved model learned from, and what not, in a sentence."""
        return (
            f"The saved model learned from {self.train_images:,} photos; the {self.val_images:,} kept for "
            "choosing and the "
            f"{self.test_images:,} held out are not in it, and the accuracy stated is that of this very "
            "model."
        )

    def lines(self) -> list[str]:
        """The answer for a terminal, the command last."""
        weak = [c for c in sorted(self.classes, key=lambda each: each.accuracy) if c.accuracy < 1][:3]
        lines = [
            self.sentence(),
            self.guessing(),
            self.confidence(),
            self.labels(),
            self.cost(),
            self.learned(),
        ]
        if self.decided:
            lines.append(f"Decided on, image by image, before: {self.decided} (decisions.csv).")
        if weak:
            named = ", ".join(f"{c.name} {_percent(c.accuracy)} of {c.images}" for c in weak)
            lines.append(f"Hardest classes: {named}.")
        scratch = [each for each in self.tries if each.family == "scratch"]
        if scratch and self.chosen.family != "scratch":
            best = max(scratch, key=lambda each: each.val_accuracy)
            lines.append(
                f"The CNN from scratch worked at {best.pixels} px and reached {_percent(best.val_accuracy)} "
                "on the "
                f"photos kept for choosing, against {_percent(self.chosen.val_accuracy)}."
            )
        lines += [f"First in the data: {fix}" for fix in self.fixes]
        lines += [f"Not tried: {why}" for why in self.dropped]
        if self.interrupted:
            lines.append("Interrupted: this is what was known by then; the same command goes on.")
        return [*lines, f"Next: {self.command()}"]

    def markdown(self) -> str:
        """The answer with its tables."""
        rows = [
            _row(
                t.label,
                t.pixels,
                _percent(t.val_accuracy),
                _percent(t.val_balanced_accuracy),
                progress.clock(t.seconds),
            )
            for t in self.tries
        ]
        classes = [
            _row(
                c.name,
                _percent(c.accuracy),
                f"{_percent(c.interval[0])} to {_percent(c.interval[1])}",
                c.images,
            )
            for c in self.classes
        ]
        return "\n".join(
            [
                "# Advice",
                "",
                *(f"{line}\n" for line in self.lines()[:-1]),
                "```sh",
                self.command(),
                "```",
                "",
                "## What was tried",
                "",
                f"Accuracy on the {self.val_images:,} photos kept for choosing; no model learned from them.",
                "",
                "| what | input px | accuracy | over classes | time |",
                "|---|---|---|---|---|",
                *rows,
                "",
                "## Class by class",
                "",
                f"The chosen model on {self.test_images:,} photos that neither learning nor choosing saw; "
                "intervals are 95 %, each for its class alone.",
                "",
                "| class | recognised | interval | photos |",
                "|---|---|---|---|",
                *classes,
                "",
                f"Accuracy {_percent(self.accuracy)}, averaged over classes "
                f"{_percent(self.balanced_accuracy)}, "
                f"macro F1 {self.macro_f1:.3f}.",
                "",
            ]
        )

    def json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "schema": 1,
            **asdict(self),
            "sentence": self.sentence(),
            "guessing": self.guessing(),
            "command": self.command(),
            "lines": self.lines(),
        }


def choose(tries: list[Candidate], trials: Mapping[str, FinishedTrial], balanced: bool = False) -> Candidate:
    """The best on validation images by accuracy, or by balanced accuracy, ties by the smaller loss. kNN is a
    yardstick, never chosen while there is another, for it cannot be exported or explained."""
    able = [each for each in tries if stored_method(trials[each.key].arm.method).is_network] or tries

    def rank(each: Candidate) -> tuple[float, float]:
        return round(each.score(balanced), 9), -(trials[each.key].metrics["val_nll"] or 0.0)

    return max(able, key=rank)


def compare(first: Candidate, second: Candidate, folder: Path, balanced: bool = False) -> float:
    """The p value of two candidates on the same validation images: McNemar's; balanced: of the difference of
    accuracies averaged over classes, by a bootstrap within classes."""
    right, labels = [], np.zeros(0, np.int64)
    for each in (first, second):
        val = store.read_predictions(folder / each.key)["val"]
        labels = val.labels
        right.append(val.logits.argmax(axis=1) == labels)
    if not balanced:
        return mcnemar(*right).p_value
    gains = right[0].astype(float) - right[1]
    generator = np.random.default_rng(0)
    by_class = [gains[labels == label] for label in np.unique(labels)]
    drawn = np.mean(
        [own[generator.integers(0, len(own), (_DRAWS, len(own)))].mean(axis=1) for own in by_class], axis=0
    )
    return float(min(1.0, 2 * min((drawn <= 0).mean(), (drawn >= 0).mean())))


def read_candidate(trial: FinishedTrial, pixels: int) -> Candidate:
    """A finished trial as a candidate at this input size."""
    val = store.read_predictions(trial.folder)["val"]
    return Candidate(
        name=trial.arm.name,
        label=trial.arm.label,
        family="pretrained" if stored_method(trial.arm.method).needs_weights else "scratch",
        pixels=pixels,
        val_accuracy=metrics.accuracy(val.logits, val.labels),
        key=trial.key,
        seconds=trial.cost.total_seconds,
        val_balanced_accuracy=metrics.balanced_accuracy(val.logits, val.labels),
    )


def class_accuracies(folder: Path, names: tuple[str, ...]) -> tuple[ClassAccuracy, ...]:
    """Of a run folder's test predictions, in the classes' order; classes without test images are left out."""
    test = store.read_predictions(folder)["test"]
    right = test.logits.argmax(axis=1) == test.labels
    return tuple(
        ClassAccuracy(
            name=name,
            accuracy=float(right[own].mean()),
            images=int(own.sum()),
            interval=wilson_interval(int(right[own].sum()), int(own.sum())),
        )
        for label, name in enumerate(names)
        if (own := test.labels == label).any()
    )


def fixes_of(inspection: Inspection) -> tuple[str, ...]:
    """What to mend in the data first, the gravest first, a line each."""
    order = {"error": 0, "warning": 1}
    lines = [
        f"{remark.message}{' - ' + remark.advice if remark.advice else ''}"
        for remark in sorted(inspection.remarks, key=lambda r: order.get(r.severity, 2))
        if remark.severity in order
    ]
    if inspection.suspects:
        surest = inspection.suspects[0]
        lines.append(
            f"surest of the wrong labels: {surest.name}, called {surest.given}, looks like "
            f"{surest.suggested}; check/check.html shows all"
        )
    return tuple(lines)


def imbalance_of(labels: np.ndarray) -> float:
    """The largest class's size over the smallest's."""
    sizes = np.bincount(labels)
    return float(sizes.max() / max(sizes.min(), 1))


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _row(*cells: object) -> str:
    texts = [str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells]
    return f"| {' | '.join(texts)} |"
