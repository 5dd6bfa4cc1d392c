"""The candidates by cross-validation, within the minutes that there are.

A linear probe on frozen features is the first answer, as soon as one fold of it is read. Then, as time
allows: a short CNN from scratch, another backbone, larger inputs. Networks that train come last, by
successive halving: each is trained on the first fold, what is behind by more than chance is dropped, the
better half goes on to the other folds. Nothing more is tried once no held-out image is wrong.

Source: Jamieson and Talwalkar (2016), Non-stochastic best arm identification (successive halving); Breiman et
al. (1984), Classification and Regression Trees (the one-standard-error rule).
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.advise.compared import Compared
from headstart.advise.folds import REPETITIONS
from headstart.advise.images import UserImages
from headstart.advise.mirrors import mirroring_hurts
from headstart.advise.pace import Pace
from headstart.advise.rung import BACKBONE, BACKBONE_TITLES, BACKBONE_WEIGHTS, Rung, pretrained_networks
from headstart.advise.timekeeper import Timekeeper
from headstart.data.splits import FOLDS
from headstart.errors import ConfigError, DownloadError, StoreError, WeightsError
from headstart.runtime import progress
from headstart.training.loop import DivergedError

Backbone = tuple[str, str]  # a model and the name of its weights
BACKBONES: tuple[Backbone, ...] = ((BACKBONE, BACKBONE_WEIGHTS), ("efficientnet-lite0", "imagenet-tf"))
_CHECK_PIXELS = 96  # of the search for wrong labels
_CNN_SHARE = 0.15  # of the time left: for the short CNN
_NETWORKS_SHARE = 0.6  # of the time left: for the first folds of networks
_TRAIN_SHARE = 0.85  # of its time that a network trains; the rest goes into reading it
_LEAST_STEPS = 30  # of a pretrained network: fewer change nothing
_MOST_BYTES = 8e9  # of the disk: for the outputs of a network's frozen layers
_HURRIED_IMAGES = 120  # that a CNN from scratch learns from where the time is over
_REFIT_FACTOR = 1.4  # all images instead of four fifths, with room


class Search(Compared):
    """Candidates read on folds, and which of them is the best.

    backbones: the pretrained networks, the first one first."""

    def __init__(
        self,
        images: UserImages,
        folder: Path,
        *,
        time: Timekeeper,
        balance: bool,
        backbones: tuple[Backbone, ...] = BACKBONES,
    ) -> None:
        super().__init__(images, folder, time=time, balance=balance)
        self.backbones = backbones
        self.pace = Pace(images.dataset.train, time)
        self.flips = True

    # --- the whole way ---

    def climb(self) -> None:
        self._first_answer()
        cnn = self._short_cnn()
        if not self._done():
            self._climb_further(cnn)
        self._repeat_heads()

    def _climb_further(self, cnn: Rung) -> None:
        self._more_features()
        if not self._done():
            self._check_mirrors()
            self._networks(cnn)
            if self.pace.rates:
                self.look_for_label_errors(next(iter(self.pace.rates.values())) * _CHECK_PIXELS**2)

    def _done(self) -> bool:
        """Whether nothing can be gained: no held-out image is wrong."""
        best = self.best()
        if best is None or best.score(self.balance) < 1:
            return False
        self.pass_over("anything more: no held-out image was wrong, so nothing can be gained")
        return True

    def _first_answer(self) -> None:
        model, weights = self.backbones[0]
        try:
            pixels = self._first_pixels(model, weights)
        except (DownloadError, StoreError, WeightsError) as error:
            self.pass_over(f"anything pretrained: {error}")
            return
        frozen: dict[str, Any] = {"pixels": pixels, "model": model, "weights": weights}
        title = BACKBONE_TITLES.get(model, model)
        self._try(Rung(name="knn", label=f"kNN, {title}", method="knn", **frozen))
        hurried = self.pace.left() < self.pace.heads_seconds(self.folds)
        self._try(
            Rung(
                name="probe",
                label=f"Linear probe, {title}",
                method="linear_probe",
                hurried=hurried,
                **frozen,
            )
        )

    def _say_first(self, rung: Rung) -> None:
        self.tell(rung.name)
        progress.say(
            f"first answer after {progress.clock(self.time.spent())}: {rung.label}; {self.clock_left()} left "
            "to do better"
        )

    def _short_cnn(self) -> Rung:
        train, _ = self.reader.ids(0)
        rung = Rung(
            name="cnn",
            label="CNN from scratch",
            method="scratch",
            pixels=32 if self.images.side <= 48 else 64,
            batch_size=min(500, max(8, len(train) // 10)),
        )
        return (
            self._try_network(rung, max(_CNN_SHARE * self.pace.left(), 1.0), epochs=60, least_steps=1) or rung
        )

    def _more_features(self) -> None:
        """Other backbones, then larger inputs of the best one, each where its features fit into the time."""
        if not self.pace.rates:
            return
        for model, weights in self.backbones[1:]:
            title = BACKBONE_TITLES.get(model, model)
            try:
                pixels = self.pace.larger_pixels(model, weights, self.folds)
            except (DownloadError, StoreError, WeightsError, ConfigError) as error:
                self.pass_over(f"Linear probe, {title}: {error}")
                continue
            name, label = f"probe-{model.replace(':', '-')}", f"Linear probe, {title}"
            if pixels is None and name not in self.plan:
                self.pass_over(f"{label}: no time was left for its features")
                continue
            self._try(
                Rung(
                    name=name,
                    label=label,
                    method="linear_probe",
                    pixels=pixels or 0,
                    model=model,
                    weights=weights,
                )
            )
        for model, weights in self.backbones[:1]:
            title = BACKBONE_TITLES.get(model, model)
            pixels = self.pace.larger_pixels(model, weights, self.folds)
            label = f"Linear probe, {title}, larger images"
            if pixels is None and "probe-large" not in self.plan:
                self.pass_over(f"{label}: no time was left for its features")
                continue
            rung = Rung(
                name="probe-large",
                label=label,
                method="linear_probe",
                pixels=pixels or 0,
                model=model,
                weights=weights,
            )
            self._try(rung)

    def _networks(self, cnn: Rung) -> None:
        """Successive halving: first folds of all, the other folds of the better half."""
        tried = [*self._first_folds(cnn)]
        best = self._best_frozen()
        if best is not None:
            behind = [rung for rung in tried if self._is_behind(rung.name, best.name)]
            for rung in behind:
                self.pass_over(f"{rung.label}, any further: behind by more than chance on its first fold")
            tried = [rung for rung in tried if rung not in behind]
        tried.sort(key=lambda rung: -self.judged(rung.name).score(self.balance))
        for rung in tried[: max(1, math.ceil(len(tried) / 2))]:
            self._other_folds(rung)

    def _first_folds(self, cnn: Rung) -> Iterator[Rung]:
        planned = list(self._network_rungs(cnn))
        for place, (rung, epochs) in enumerate(planned):
            share = _NETWORKS_SHARE * self.pace.left() / (len(planned) - place)
            done = self._try_network(rung, share, epochs=epochs, least_steps=_LEAST_STEPS)
            if done is not None:
                yield done

    def _network_rungs(self, cnn: Rung) -> Iterator[tuple[Rung, int]]:
        """Networks worth a first fold, the cheapest first, with the epochs that are enough."""
        frozen = self._best_frozen()
        if frozen is None or not self._is_behind(cnn.name, frozen.name):
            yield dataclasses.replace(cnn, name="cnn-long", label="CNN from scratch, longer"), 200
        if frozen is None:
            return
        model, weights = self.backbones[0]
        pixels = max(
            (rung.pixels for rung in self.rungs if rung.is_frozen and rung.model == model), default=0
        )
        yield from pretrained_networks(model, weights, pixels, self.flips)

    def _other_folds(self, rung: Rung) -> None:
        """The other folds of a network, as long as there is time for them and for training on all images."""
        first = self.read[rung.name][0]
        fixed = self.fixed(rung)
        for fold in range(1, self.folds):
            needed = (1 + _REFIT_FACTOR) * first.seconds
            if (
                fold not in self.read[rung.name]
                and self.pace.left() < needed
                and not self.reader.has(fixed, fold)
            ):
                self.pass_over(f"{rung.label}, on more than {fold} of {self.folds} folds: no time was left")
                return
            try:
                self.read[rung.name][fold] = self.reader.read(fixed, fold)
            except DivergedError as error:  # a network that does so on one fold is none to rely on
                self.pass_over(f"{rung.label}: fold {fold + 1} of {self.folds}: {error}")
                self.rungs.remove(rung)
                return
            self.tell(rung.name)

    def _repeat_heads(self) -> None:
        """Heads on further divisions into folds, the best first, as long as there is time; not where one fold
        is enough to judge by."""
        if self.folds < FOLDS:
            return
        heads = [rung for rung in self.rungs if rung.method == "linear_probe"]
        for rung in sorted(heads, key=lambda rung: self._rank(self._candidate(rung)), reverse=True):
            needed = sum(self.read[rung.name][fold].seconds for fold in range(FOLDS))
            folds = range(FOLDS, REPETITIONS * FOLDS)
            if self.pace.left() < (REPETITIONS - 1) * needed and not all(
                self.reader.has(rung, fold) for fold in folds
            ):
                return
            self.read[rung.name] |= {fold: self.reader.read(rung, fold) for fold in folds}
            self.tell(rung.name)

    # --- one candidate ---

    def _try(self, rung: Rung) -> None:
        """A frozen candidate, on all folds."""
        planned = self.plan.get(rung.name)
        if planned is None or (planned.hurried and not rung.hurried):  # more minutes than an earlier run had
            planned = dataclasses.replace(rung, balance=self.balance)
        rung = planned
        self.announce(rung)
        self.seconds[rung.name], _ = self.reader.prepare(rung)
        self.pace.note(rung, self.seconds[rung.name])
        is_head, is_first = rung.method == "linear_probe", not self.pace.head
        for fold in range(self.folds):
            with self.time.computing():
                read = self.reader.read(rung, fold)
            if fold == 0:
                self.rungs.append(rung)
            self.read.setdefault(rung.name, {})[fold] = read
            if is_head:
                self.pace.head = max(self.pace.head, read.seconds)
            if is_head and is_first and fold == 0:
                self._say_first(rung)
        if self.folds > 1 or not (is_head and is_first):
            self.tell(rung.name)

    def _try_network(self, rung: Rung, seconds: float, *, epochs: int, least_steps: int) -> Rung | None:
        """A network on the first fold, for so many epochs or as long as fits; None where nothing fits, or it
        diverged."""
        began = time.monotonic()
        planned = rung.name in self.plan
        rung = self.plan.get(rung.name, dataclasses.replace(rung, balance=self.balance))
        try:
            if not planned:
                fitting = self._timed(rung, seconds, epochs, least_steps)
                if fitting is None:
                    return None
                rung = fitting
            self.announce(rung)
            self.seconds[rung.name], _ = self.reader.prepare(rung)
            self.read[rung.name] = {0: self.reader.read(rung, 0)}
        except DivergedError as error:
            self.pass_over(f"{rung.label}: {error}")
            return None
        self.rungs.append(rung)
        self.tell(rung.name)
        progress.say(f"{rung.label}: first fold in {progress.clock(time.monotonic() - began)}")
        return rung

    def _timed(self, rung: Rung, seconds: float, epochs: int, least_steps: int) -> Rung | None:
        """The rung with a duration that fits; measuring it counts."""
        deadline = time.monotonic() + seconds
        if rung.from_scratch and self.pace.left() <= 0:  # measuring would take longer than learning
            return dataclasses.replace(rung, duration=f"{max(1, _HURRIED_IMAGES // rung.batch_size)} steps")
        if not rung.from_scratch and self.pace.training_seconds(rung, least_steps) > seconds:
            self.pass_over(f"{rung.label} at {rung.pixels} px: no time was left for {least_steps} steps")
            return None
        if (wanted := self.reader.missing_bytes(rung)) > _MOST_BYTES:
            gigabytes = f"{wanted / 1e9:.0f} GB, more than {_MOST_BYTES / 1e9:.0f}"
            self.pass_over(
                f"{rung.label} at {rung.pixels} px: its frozen layers' outputs would take {gigabytes}"
            )
            return None
        cold, _ = self.reader.prepare(rung)
        short = dataclasses.replace(rung, duration="1 steps")
        step = self.reader.step_seconds(short)
        left = _TRAIN_SHARE * (deadline - time.monotonic())
        train, _ = self.reader.ids(0)
        batch = getattr(short.arm(self.images.name).recipe, "batch_size", 64)
        whole = max(epochs * math.ceil(len(train) / batch), 5 * least_steps)
        if step * least_steps > left and not rung.from_scratch:
            self.pass_over(f"{rung.label} at {rung.pixels} px: no time was left for {least_steps} steps")
            return None
        if step * whole <= left:
            return dataclasses.replace(rung, duration=f"{whole} steps")
        if step * 10 > left:
            return dataclasses.replace(rung, duration=f"{max(1, int(left / step))} steps")
        return dataclasses.replace(rung, duration=f"{cold + left:.1f} seconds")

    def _check_mirrors(self) -> None:
        """Whether networks may learn from mirror images: not where the head confuses them."""
        probe = next((rung for rung in self.rungs if rung.name == "probe"), None)
        if probe is None or self.pace.left() <= 0:  # no network will learn
            return
        self.flips = not mirroring_hurts(self.reader, probe)
        if not self.flips:
            progress.say("mirror images are other classes here: networks learn without them")

    def _first_pixels(self, model: str, weights: str) -> int:
        return self.plan["probe"].pixels if "probe" in self.plan else self.pace.first_pixels(model, weights)
