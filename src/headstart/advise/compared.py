"""The candidates that were read on folds, compared: image by image, on the images that both have judged."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from headstart.advise import candidates as reading
from headstart.advise.candidates import SURE, Candidate, Judged
from headstart.advise.folds import REPETITIONS, FoldReader, FoldReading, joined
from headstart.advise.images import UserImages
from headstart.advise.rung import Rung
from headstart.advise.timekeeper import Timekeeper
from headstart.advise.trying import Trying
from headstart.data.splits import FOLDS
from headstart.results import metrics


class Compared(Trying):
    """What each candidate said, and which is the best.

    read: by name and fold. seconds: of frozen layers, cold. folds: how many of FOLDS candidates are read
    on."""

    def __init__(self, images: UserImages, folder: Path, *, time: Timekeeper, balance: bool) -> None:
        super().__init__(images, folder, time=time, balance=balance)
        self.reader = FoldReader(images.dataset, images.name, folder)
        self.read: dict[str, dict[int, FoldReading]] = {}
        self.seconds: dict[str, float] = {}
        self.folds = images.folds

    @property
    def spread(self) -> float:
        """Of intervals: see accuracy_interval."""
        return reading.FOLD_SPREAD if self.folds > 1 else 1.0

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
            interval=reading.accuracy_interval(judged.share_right, judged.units, self.spread),
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
