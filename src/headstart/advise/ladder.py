"""`headstart advise`: which way is best for somebody's images, found out within a number of minutes.

Cheap tries first: kNN and a linear probe on frozen features, then a short training of the CNN from
scratch. The way that is worse by more than chance is dropped; what remains gets the rest of the time.
Validation images alone choose; the expected accuracy is read on held-out test images that had no say. What
was planned lies in plan.json: the same command goes on from there.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from headstart.advise.candidates import FAMILIES, SURE, Candidate, Judged, compare, read_candidate, read_part
from headstart.advise.images import UserImages
from headstart.advise.rung import BACKBONE, Rung
from headstart.advise.timekeeper import Timekeeper
from headstart.advise.trying import Trying
from headstart.data.splits import split_for_choosing
from headstart.errors import DownloadError, StoreError
from headstart.models import load_model
from headstart.models.features import FrozenLayers
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.store import FinishedTrial
from headstart.studies.plan import plan_study
from headstart.studies.timings import Timings
from headstart.studies.trial import run_trial
from headstart.studies.trials import trials_of
from headstart.types import ALL_LABELS, Study

_HEAD_PIXELS = 96  # of the first answer; 64 where that would take too long
_FIRST_ANSWER_SECONDS = 75.0  # for its features: beside the check, an answer stands within two minutes
_SHORT_SHARE = 0.2  # of the time left: for the short CNN
_REFINE_SHARE = 0.5  # for features of larger images
_LABELS_SHARE = 0.15  # for the search for wrong labels
_TRAIN_SHARE = 0.8  # of its time that a network trains; the rest goes into reading it
_LEAST_SECONDS = 5.0  # less is no training
_REST_SECONDS = 10.0  # kept for the learning curve and the report


class Ladder(Trying):
    """The candidates that were trained as trials of a study, and the time that is left.

    results: by name, of those that ended."""

    def __init__(self, images: UserImages, folder: Path, *, time: Timekeeper, balance: bool) -> None:
        super().__init__(images, folder, time=time, balance=balance)
        self.results: dict[str, FinishedTrial] = {}
        self._timings = Timings(images.dataset, default_device())

    def planned(self, rung: Rung) -> float:
        """Seconds that a rung would take here, from a few measured steps and batches."""
        return plan_study(self.study([rung]), self.folder, timings=self._timings).seconds_left

    def climb(self) -> None:
        """All candidates, in their order."""
        train, _ = self.training_ids()
        head = self.head_pixels()
        try:
            load_model(BACKBONE, "imagenet-keras")
        except (DownloadError, StoreError) as error:
            self.pass_over(f"anything pretrained: {error}")
        else:
            self.climb_first(head)
        cnn = Rung(
            name="cnn-short",
            label="CNN from scratch, shortly",
            method="scratch",
            duration="1 steps",
            pixels=32 if self.images.side <= 48 else 64,
            batch_size=min(500, max(16, len(train) // 10)),
        )
        self.attempt(self.timed(cnn, _SHORT_SHARE * self.time.left(), "60 epochs"))
        scratch, pretrained = self.promising()
        if pretrained:
            larger = Rung(
                name="probe-large",
                label="Linear probe, ResNet-50, larger images",
                method="linear_probe",
                pixels=max(128, min(self.images.side, 224)),
            )
            self.attempt(larger, _REFINE_SHARE * self.time.left())
            self.look_for_label_errors(self.seconds_per_image(_HEAD_PIXELS))
        if scratch:
            longer = dataclasses.replace(cnn, name="cnn", label="CNN from scratch")
            self.attempt(
                self.timed(
                    longer, (self.time.left() - _REST_SECONDS) * (0.5 if pretrained else 1.0), "200 epochs"
                )
            )
        if pretrained:
            probes = [rung for rung in self.rungs if rung.method == "linear_probe"]
            for probe in sorted(probes, key=lambda r: -(self.results[r.name].metrics["val_accuracy"] or 0)):
                tuned = Rung(
                    name="partial",
                    label="Fine-tuned last stage, ResNet-50",
                    method="partial",
                    pixels=probe.pixels,
                    duration="1 steps",
                )
                if self.attempt(self.timed(tuned, self.time.left() - _REST_SECONDS, "10 epochs")):
                    break

    def climb_first(self, pixels: int) -> None:
        """The frozen network's candidates, and the first answer."""
        self.attempt(Rung(name="knn", label="kNN, ResNet-50", method="knn", pixels=pixels))
        self.attempt(
            Rung(name="probe", label="Linear probe, ResNet-50", method="linear_probe", pixels=pixels)
        )
        best = self.results["probe"].metrics["val_accuracy"] or 0.0
        progress.say(
            f"first answer after {progress.clock(self.time.spent())}: Linear probe, ResNet-50, about "
            f"{100 * best:.0f} % right; {progress.clock(max(self.time.left(), 0))} left to do better"
        )

    def attempt(self, rung: Rung | None, most: float | None = None) -> bool:
        """Runs a rung, the way an earlier run had planned it; not where it would take more than `most`
        seconds."""
        if rung is None:
            return False
        rung = self.plan.get(rung.name, dataclasses.replace(rung, balance=self.balance))
        if most is not None and rung.name not in self.plan and (needed := self.planned(rung)) > most:
            self.drop(rung, needed)
            return False
        self.announce(rung)
        self.rungs.append(rung)
        try:
            self.results[rung.name] = run_trial(trials_of(self.study([rung]))[0], self.title(), self.folder)
        finally:
            if rung.name not in self.results:
                self.rungs.remove(rung)
        self.tell(rung.name)
        return True

    def timed(self, rung: Rung, seconds: float, whole: str) -> Rung | None:
        """The rung trained for `whole`, or for as long as fits into so many seconds; None, and said, where
        nothing fits."""
        if rung.name in self.plan:
            return self.plan[rung.name]
        if rung.name == "cnn-short":  # always tried, however shortly
            seconds = max(seconds, _LEAST_SECONDS)
        if seconds < _LEAST_SECONDS:
            self.drop(rung, None)
            return None
        fixed = self.planned(rung)  # frozen layers and reading; one step
        if fixed > seconds / 2:
            self.drop(rung, fixed)
            return None
        complete = dataclasses.replace(rung, duration=whole)
        if self.planned(complete) <= _TRAIN_SHARE * seconds:
            return complete
        return dataclasses.replace(rung, duration=f"{_TRAIN_SHARE * seconds:.0f} seconds")

    def drop(self, rung: Rung, needed: float | None) -> None:
        why = (
            "no time was left"
            if needed is None
            else f"it needs about {progress.clock(needed)}, more than there was"
        )
        self.pass_over(f"{rung.label} at {rung.pixels} px: {why}")

    def promising(self) -> tuple[bool, bool]:
        """(from scratch, pretrained): which way goes on. The other is dropped only where chance does not
        explain its lag."""
        candidates = self.candidates()
        best = {
            family: max(
                (t for t in candidates if t.family == family),
                key=lambda t: t.score(self.balance),
                default=None,
            )
            for family in FAMILIES
        }
        scratch, pretrained = best["scratch"], best["pretrained"]
        if scratch is None or pretrained is None:
            return pretrained is None, pretrained is not None
        if compare(self.judged(scratch), self.judged(pretrained), self.balance) >= SURE:
            return True, True
        worse = min(scratch, pretrained, key=lambda each: each.score(self.balance))
        self.pass_over(
            f"{FAMILIES[worse.family]}, any further: at {100 * worse.score(self.balance):.1f} % "
            "on the images kept for choosing it is behind by more than chance explains"
        )
        return worse is pretrained, worse is scratch

    # --- what the steps need ---

    def training_ids(self) -> tuple[np.ndarray, np.ndarray]:
        return split_for_choosing(self.images.dataset.train)

    def seconds_per_image(self, pixels: int) -> float:
        model = load_model(BACKBONE, "imagenet-keras", image_pixels=pixels)
        trial = trials_of(self.study([Rung(name="probe", label="", method="linear_probe", pixels=pixels)]))[0]
        train = self.images.dataset.train
        layers = FrozenLayers(
            network=model, precision=trial.feature_precision, device=default_device(), calibration=train
        )
        return self._timings.features(trial.arm, layers)

    def head_pixels(self) -> int:
        if "probe" in self.plan:
            return self.plan["probe"].pixels
        images = len(self.images.dataset.train) + 2 * len(self.images.dataset.test)
        most = min(_FIRST_ANSWER_SECONDS, 0.4 * 60 * self.time.minutes)
        return _HEAD_PIXELS if images * self.seconds_per_image(_HEAD_PIXELS) <= most else 64

    def judged(self, candidate: Candidate) -> Judged:
        """What a candidate said of the images kept for choosing."""
        return read_part(self.results[candidate.name], "val")

    def title(self) -> str:
        return f"advice-{self.images.dataset.name}"

    def study(self, rungs: list[Rung]) -> Study:
        return Study(
            name=self.title(),
            title=f"Advice on {self.images.dataset.name}",
            dataset=self.images.name,
            seeds=(0,),
            question="For these images: train a network from scratch, or start from a pretrained one?",
            arms=tuple(rung.arm(self.images.name) for rung in rungs),
            label_budgets=(ALL_LABELS,),
        )

    def candidates(self) -> list[Candidate]:
        # A trial keeps the name that it ran under first; a rung of the same recipe is the same trial.
        return [
            dataclasses.replace(
                read_candidate(self.results[rung.name], rung.pixels), name=rung.name, label=rung.label
            )
            for rung in self.rungs
            if rung.name in self.results
        ]
