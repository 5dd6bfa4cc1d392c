"""What `headstart advise` concludes: a value, its words for a terminal, plain data for programs."""

from __future__ import annotations

import math
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from headstart.advise.candidates import FAMILIES, SURE, Candidate, ClassAccuracy
from headstart.advise.wording import between, percent
from headstart.data_quality.remarks import IMBALANCE
from headstart.runtime import progress

if TYPE_CHECKING:  # scipy's optimisers, which no answer needs before it has a label curve
    from headstart.results.label_curves import Estimate

How = Literal["folds", "fifth", "own test", "hold-out"]
_OVERRUN_SECONDS = 5.0
INTERVALS = (
    "Intervals are 95 % ones over images (Wilson's, wider where folds judge and where images belong "
    "together). They say how far chance in these images goes, not what another camera, place or season "
    "brings."
)


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Images of one class that were taken for another."""

    given: str
    said: str
    images: int


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The answer.

    how: what `accuracy` and `interval` (95 %, Wilson) rest on, `test_images` images: "folds", each judged
    by a model that had not learned from it, an estimate for the saved model; "fifth", the same of one fold
    alone; "own test", the user's test split, read once by the saved model; "hold-out", a part that the saved
    model never saw. chosen by its accuracy on `val_images` images. train_images: what the saved model
    learned from; refitted: all but the user's own test split. repetitions: divisions into folds that
    `accuracy` is the mean of. doubling: accuracy gained by twice the labels, from a label curve up to
    `labels_per_class`; None where the data cannot say. p_value: of "the best of the other family is as good"
    on the images that choose; None where there is no other. rivals_gap: accuracy there of the chosen one
    minus that of the other family's best. unfamiliar: share of held-out images that the saved model's score
    for unfamiliar images refuses; None where it has none."""

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
    seconds_per_image: float
    spent_seconds: float
    minutes: float
    fixes: tuple[str, ...]
    model: str
    interrupted: bool
    balanced: bool  # each class weighed alike, and balanced accuracy chose
    how: How = "hold-out"
    refitted: bool = False
    repetitions: int = 1
    confusions: tuple[Confusion, ...] = ()  # the most frequent first
    unfamiliar: float | None = None
    decided: str = ""  # in words: decisions about single images (data/folders/decisions.py)
    sample: str = ""  # in words: of how many images the candidates were compared on a sample

    @property
    def most_common(self) -> tuple[str, float]:
        """The largest class of the held-out images and its share: what saying it to everything gives."""
        total = sum(each.images for each in self.classes)
        largest = max(self.classes, key=lambda each: each.images)
        return largest.name, largest.images / max(total, 1)

    @property
    def all_right(self) -> bool:
        """Whether no held-out image was wrong."""
        return self.accuracy >= 1

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
        text = f"Saying {name} to everything would be right for {percent(share)} of these images"
        if self.balanced or self.imbalance >= IMBALANCE:
            text += f", and averaged over classes for {percent(1 / len(self.classes))}"
        if self.beats_guessing:
            return f"{text}: the model is better than guessing."
        return f"{text}: that the model is better than guessing cannot be told. Do not use it as it is."

    def sentence(self) -> str:
        """The recommendation in one sentence."""
        use = f"Use {self.chosen.label} (input {self.chosen.pixels} px): expect"
        seen = f"{between(self.interval)}, from {self.test_images:,} {self._images_words()}"
        if self.balanced:
            return (
                f"{use} {percent(self.balanced_accuracy)} of new images right averaged over classes, each "
                f"weighing alike (macro F1 {self.macro_f1:.2f}); of all images {percent(self.accuracy)} "
                f"({seen})."
            )
        text = f"{use} {percent(self.accuracy)} of new images right ({seen})"
        if self.imbalance >= IMBALANCE:
            text += (
                f"; classes are uneven, and averaged over classes it is {percent(self.balanced_accuracy)} "
                f"(macro F1 {self.macro_f1:.2f})"
            )
        return text + "."

    def _images_words(self) -> str:
        return "images of your test split" if self.how == "own test" else "held-out images"

    def command(self) -> str:
        """What to type next."""
        return f"headstart predict {shlex.quote(self.model)} IMAGES"

    def confidence(self) -> str:
        """How sure the choice is, in a sentence: of this comparison, on these images."""
        if self.p_value is None or self.rivals_gap is None:
            return (
                f"Only {FAMILIES[self.chosen.family]} was tried in the time given, so nothing is said about "
                "the other way."
            )
        other = FAMILIES["scratch" if self.chosen.family == "pretrained" else "pretrained"]
        gap = f"{100 * self.rivals_gap:.1f} points ahead of {other} on the same held-out images"
        test = "bootstrap within classes" if self.balanced else "McNemar's test"
        evidence = f"({test}, p {_p(self.p_value)}; it compares these trained models on these images)"
        if self.p_value < SURE:
            return f"Sure of the way for these images: {gap}, more than chance explains {evidence}."
        more = " More images would tell." if not self.all_right else ""
        return f"Not sure of the way: {gap}, which chance alone could do {evidence}.{more}"

    def labels(self) -> str:
        """What more labels would bring, in a sentence."""
        if self.all_right:
            return "No held-out image was wrong: what more labels would bring cannot be seen here."
        if self.doubling is None:
            return (
                "What more labels would bring cannot be said: there are too few, there was too little time, "
                "or accuracy does not grow steadily with them."
            )
        spread = ""
        if self.doubling.interval is not None:
            low, high = self.doubling.interval
            spread = f" ({100 * low:.1f} to {100 * high:.1f})"
        return (
            f"Twice the labels (from {self.labels_per_class:,} a class) would bring about "
            f"{100 * self.doubling.value:.1f} points{spread}, by the label curve of the linear probe."
        )

    def next_labels(self) -> str:
        """Which images to label next, in a sentence; empty where none was wrong."""
        weak = self.weakest(2)
        if not weak:
            return ""
        text = f"Label next: more of {' and '.join(each.name for each in weak)}"
        if self.confusions:
            worst = self.confusions[0]
            pairs = f"{worst.given} taken for {worst.said} ({worst.images} of them)"
            text += f"; the most frequent mistake is {pairs}"
        return text + "."

    def weakest(self, count: int) -> list[ClassAccuracy]:
        """The classes with most mistakes, those without any left out."""
        return [c for c in sorted(self.classes, key=lambda each: each.accuracy) if c.accuracy < 1][:count]

    def cost(self) -> str:
        """What it costs, in a sentence."""
        return (
            f"Training took {progress.clock(self.chosen.seconds)} on this machine, everything that was tried "
            f"{progress.clock(self.spent_seconds)}{self._overrun()}; in use "
            f"{1000 * self.seconds_per_image:.0f} ms an image."
        )

    def _overrun(self) -> str:
        asked = 60 * self.minutes
        if self.spent_seconds <= asked + max(_OVERRUN_SECONDS, 0.1 * asked):
            return ""
        return (
            f", more than the {progress.clock(asked)} asked for: a first linear probe and a short CNN "
            "are always tried"
        )

    def learned(self) -> str:
        """What the saved model learned from, and what not, in a sentence."""
        if self.how == "own test":
            return (
                f"The saved model learned from {self.train_images:,} images, none of them of your test "
                "split; the accuracy stated is that of this very model."
            )
        if self.how in ("folds", "fifth"):
            rest = "each was judged by a model that had learned from about four fifths of the others"
            if self.how == "fifth":
                rest = "a fifth, judged by a model that had learned from the other four fifths"
            if self.repetitions > 1:
                rest += f", in {self.repetitions} divisions into fifths"
            if self.refitted:
                return (
                    f"The saved model was fitted anew on all {self.train_images:,} images; the accuracy "
                    f"stated is an estimate from held-out images: {rest}."
                )
            return (
                f"The saved model learned from {self.train_images:,} images, for lack of time to train it on "
                f"all; the accuracy stated is an estimate from held-out images: {rest}."
            )
        return (
            f"The saved model learned from {self.train_images:,} images; the {self.val_images:,} kept for "
            f"choosing and the {self.test_images:,} held out are not in it, and the accuracy stated is that "
            "of this very model."
        )

    def strangers(self) -> str:
        """What the model does about images unlike those that it learned from, in a sentence."""
        if self.unfamiliar is None:
            return "The saved model has no score for images of other things: it names them too, often surely."
        return (
            "Images unlike those that the model learned from are marked as unfamiliar by predict; so are "
            f"{percent(self.unfamiliar)} of held-out images of its own classes."
        )

    def lines(self) -> list[str]:
        """The answer for a terminal, the command last."""
        lines = [
            self.sentence(),
            self.guessing(),
            self.confidence(),
            self.labels(),
            self.cost(),
            self.learned(),
            self.strangers(),
        ]
        if self.sample:
            lines.append(self.sample)
        if self.decided:
            lines.append(f"Decided on, image by image, before: {self.decided} (decisions.csv).")
        if weak := self.weakest(3):
            named = ", ".join(f"{c.name} {percent(c.accuracy)} of {c.images}" for c in weak)
            lines.append(f"Hardest classes: {named}.")
        if following := self.next_labels():
            lines.append(following)
        scratch = [each for each in self.tries if each.family == "scratch"]
        if scratch and self.chosen.family != "scratch":
            best = max(scratch, key=lambda each: each.val_accuracy)
            lines.append(
                f"The CNN from scratch worked at {best.pixels} px and reached {percent(best.val_accuracy)} "
                f"on {best.images:,} images that it had not learned from, against "
                f"{percent(self.chosen.val_accuracy)}."
            )
        lines += [f"First in the data: {fix}" for fix in self.fixes]
        lines += [f"Not tried: {why}" for why in self.dropped]
        if self.interrupted:
            lines.append("Interrupted: this is what was known by then; the same command goes on.")
        return [*lines, f"Next: {self.command()}"]

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


def _p(value: float) -> str:
    return "below 0.001" if value < 0.001 else f"{value:.3f}"
