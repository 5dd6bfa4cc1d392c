"""The candidates by cross-validation, within the minutes that there are.

A new head on frozen features is the first answer. Then, as time allows: a short CNN from scratch, another
backbone, larger inputs. Networks that train come last, by successive halving: each is trained on the first
fold, what is behind by more than chance is dropped, the better half goes on to the other folds. Nothing more
is tried once no held-out image is wrong.

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

from headstart.advise import candidates as reading
from headstart.advise.candidates import SURE, Candidate, Judged
from headstart.advise.folds import REPETITIONS, FoldReader, FoldReading, joined
from headstart.advise.images import UserImages
from headstart.advise.mirrors import mirroring_hurts
from headstart.advise.pace import REST_SECONDS, Pace
from headstart.advise.rung import BACKBONE, BACKBONE_TITLES, BACKBONE_WEIGHTS, Rung, pretrained_networks
from headstart.advise.timekeeper import Timekeeper
from headstart.advise.trying import Trying
from headstart.data.splits import FOLDS
from headstart.errors import ConfigError, DownloadError, StoreError, WeightsError
from headstart.results import metrics
from headstart.runtime import progress
from headstart.training.loop import DivergedError

Backbone = tuple[str, str]  # a model and the name of its weights
BACKBONES: tuple[Backbone, ...] = ((BACKBONE, BACKBONE_WEIGHTS), ("efficientnet-lite0", "imagenet-tf"))
_CHECK_PIXELS = 96  # of the search for wrong labels
_CNN_SHARE = 0.15  # of the time left: for the short CNN
_NETWORKS_SHARE = 0.6  # of the time left: for the first folds of networks
_TRAIN_SHARE = 0.85  # of its time that a network trains; the rest goes into reading it
_LEAST_STEPS = 30  # of a pretrained network: fewer change nothing
_REFIT_FACTOR = 1.4  # all images instead of four fifths, with room


class Search(Trying):
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
        self.reader = FoldReader(images.dataset, images.name, folder)
        self.read: dict[str, dict[int, FoldReading]] = {}
        self.seconds: dict[str, float] = {}  # of frozen layers, cold
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
        self._try(Rung(name="knn", label=f"nearest neighbours on a frozen {title}", method="knn", **frozen))
        self._try(
            Rung(name="probe", label=f"a new head on a frozen {title}", method="linear_probe", **frozen)
        )
        progress.say(
            f"first answer after {progress.clock(self.time.spent())}: a new head on a pretrained {title}; "
            f"{self.clock_left()} left to do better"
        )

    def _short_cnn(self) -> Rung:
        train, _ = self.reader.ids(0)
        rung = Rung(
            name="cnn",
            label="a CNN trained from scratch",
            method="scratch",
            pixels=32 if self.images.side <= 48 else 64,
            batch_size=min(500, max(8, len(train) // 10)),
        )
        return (
            self._try_network(rung, max(_CNN_SHARE * self.time.left(), 1.0), epochs=60, least_steps=1) or rung
        )

    def _more_features(self) -> None:
        """Other backbones, then larger inputs of the best one, each where its features fit into the time."""
        if not self.pace.rates:
            return
        for model, weights in self.backbones[1:]:
            title = BACKBONE_TITLES.get(model, model)
            try:
                pixels = self.pace.larger_pixels(model, weights)
            except (DownloadError, StoreError, WeightsError, ConfigError) as error:
                self.pass_over(f"a new head on a frozen {title}: {error}")
                continue
            name, label = f"probe-{model.replace(':', '-')}", f"a new head on a frozen {title}"
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
            pixels = self.pace.larger_pixels(model, weights)
            label = f"a new head on a frozen {title}, larger images"
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
            share = _NETWORKS_SHARE * (self.time.left() - REST_SECONDS) / (len(planned) - place)
            done = self._try_network(rung, share, epochs=epochs, least_steps=_LEAST_STEPS)
            if done is not None:
                yield done

    def _network_rungs(self, cnn: Rung) -> Iterator[tuple[Rung, int]]:
        """Networks worth a first fold, the cheapest first, with the epochs that are enough."""
        frozen = self._best_frozen()
        if frozen is None or not self._is_behind(cnn.name, frozen.name):
            yield dataclasses.replace(cnn, name="cnn-long", label="a CNN trained from scratch, longer"), 200
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
        for fold in range(1, FOLDS):
            needed = (1 + _REFIT_FACTOR) * first.seconds + REST_SECONDS
            if (
                fold not in self.read[rung.name]
                and self.time.left() < needed
                and not self.reader.has(fixed, fold)
            ):
                self.pass_over(f"{rung.label}, on more than {fold} of {FOLDS} folds: no time was left")
                return
            self.read[rung.name][fold] = self.reader.read(fixed, fold)
            self.tell(rung.name)

    def _repeat_heads(self) -> None:
        """Heads on further divisions into folds, the best first, as long as there is time."""
        heads = [rung for rung in self.rungs if rung.method == "linear_probe"]
        for rung in sorted(heads, key=lambda rung: self._rank(self._candidate(rung)), reverse=True):
            needed = sum(self.read[rung.name][fold].seconds for fold in range(FOLDS))
            folds = range(FOLDS, REPETITIONS * FOLDS)
            if self.time.left() < (REPETITIONS - 1) * needed + REST_SECONDS and not all(
                self.reader.has(rung, fold) for fold in folds
            ):
                return
            self.read[rung.name] |= {fold: self.reader.read(rung, fold) for fold in folds}
            self.tell(rung.name)

    # --- one candidate ---

    def _try(self, rung: Rung) -> None:
        """A frozen candidate, on all folds."""
        rung = self.plan.get(rung.name, dataclasses.replace(rung, balance=self.balance))
        self.announce(rung)
        self.seconds[rung.name], _ = self.reader.prepare(rung)
        self.pace.note(rung, self.seconds[rung.name])
        read = {fold: self.reader.read(rung, fold) for fold in range(FOLDS)}
        self.rungs.append(rung)
        self.read[rung.name] = read
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
        if not rung.from_scratch and self.pace.training_seconds(rung, least_steps) > seconds:
            self.pass_over(f"{rung.label} at {rung.pixels} px: no time was left for {least_steps} steps")
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
        if probe is None or self.time.left() <= REST_SECONDS:  # no network will learn
            return
        self.flips = not mirroring_hurts(self.reader, probe)
        if not self.flips:
            progress.say("mirror images are other classes here: networks learn without them")

    def _first_pixels(self, model: str, weights: str) -> int:
        return self.plan["probe"].pixels if "probe" in self.plan else self.pace.first_pixels(model, weights)

    # --- what has been read ---

    def judged(self, name: str) -> Judged:
        """What a candidate said of the images of the folds on which it was read."""
        by_fold = self.read[name]
        divisions = [
            [by_fold[fold] for fold in range(first, first + FOLDS) if fold in by_fold]
            for first in range(0, REPETITIONS * FOLDS, FOLDS)
        ]
        ids, logits = joined(divisions[0])
        return Judged(
            ids=ids,
            logits=logits,
            labels=self.images.dataset.train.labels[ids],
            units=self.reader.units[ids],
            again=tuple(joined(division)[1] for division in divisions[1:] if division),
        )

    def candidates(self) -> list[Candidate]:
        return [self._candidate(rung) for rung in self.rungs]

    def _candidate(self, rung: Rung) -> Candidate:
        judged = self.judged(rung.name)
        return Candidate(
            name=rung.name,
            label=rung.label,
            family="scratch" if rung.from_scratch else "pretrained",
            pixels=rung.pixels,
            val_accuracy=judged.score(False),
            val_balanced_accuracy=judged.score(True),
            seconds=self.seconds.get(rung.name, 0.0)
            + sum(part.seconds for fold, part in self.read[rung.name].items() if fold < FOLDS),
            key="",
            images=len(judged.ids),
            interval=reading.accuracy_interval(judged.share_right, judged.units, reading.FOLD_SPREAD),
            folds=min(len(self.read[rung.name]), FOLDS),
        )

    def _best_frozen(self) -> Candidate | None:
        heads = [rung for rung in self.rungs if rung.method == "linear_probe"]
        return max(map(self._candidate, heads), key=self._rank, default=None)

    def _rank(self, candidate: Candidate) -> tuple[float, float]:
        judged = self.judged(candidate.name)
        loss = metrics.negative_log_likelihood(judged.logits, judged.labels)
        return round(candidate.score(self.balance), 9), -loss

    def best(self) -> Candidate | None:
        """The candidate to use: the best head, or a network that is ahead of it by over a standard error on
        the images that both have judged. kNN is a yardstick, never chosen while there is another."""
        best = self._best_frozen()
        networks = [self._candidate(rung) for rung in self.rungs if not rung.is_frozen]
        for network in sorted(networks, key=self._rank):
            if best is None:
                best = network
                continue
            ahead, error = reading.gain(self.judged(network.name), self.judged(best.name), self.balance)
            if ahead > error:
                best = network
        if best is None and self.rungs:
            best = self._candidate(self.rungs[0])
        return best

    def _is_behind(self, name: str, other: str) -> bool:
        """Whether a candidate is behind another by more than chance explains."""
        if name not in self.read or other not in self.read:
            return False
        ahead, _ = reading.gain(self.judged(other), self.judged(name), self.balance)
        return ahead > 0 and reading.compare(self.judged(name), self.judged(other), self.balance) < SURE

    def fixed(self, rung: Rung, times: float = 1.0) -> Rung:
        """The rung with the steps that its first fold took, for other folds; `times` as many for all
        images."""
        steps = math.ceil(times * self.read[rung.name][0].steps)
        return dataclasses.replace(rung, duration=f"{steps} steps") if rung.duration else rung
