"""Predictions on corrupted images and on shift sets, and where networks look: their files in a study's
folder, and what they come to.

<study>/robustness/<trial key>.npz   logits of the fixed test images, clean and corrupted; grows corruption by
                   corruption <trial key>.json  written last: which arm and seed, the settings, seconds
                   sheet.npz         a few images under every corruption, to look at
<study>/shift/<set>/<trial key>.npz  logits of the shift set's images
                    <trial key>.json written last
<study>/looks/<trial key>.npz        Grad-CAM evidence for each network's own answer on a few fixed test
              images images.npz             these images, their labels, and the settings that the readings
              must share
No torch: a report renders from these alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import StoreError
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from headstart.results import stats
from headstart.results.trials import Trials, correct, is_deterministic, main_trials, require_same_images
from headstart.store import FinishedTrial
from headstart.types import Predictions

ROBUSTNESS, SHIFT, LOOKS = "robustness", "shift", "looks"
_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A share, or a difference of shares, with its 95 % interval over test images."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """One trained model on the fixed test images. logits: by corruption, float32 (5, N, C), mildest severity
    first."""

    key: str
    arm: str
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]
    clean: Predictions
    logits: Mapping[str, NDArray[np.float32]]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each prediction is right, bool (15, 5, N), corruptions in CORRUPTIONS' order."""
        return np.stack([self.logits[name].argmax(axis=2) == self.clean.labels for name in CORRUPTIONS])


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """One trained model on a shift set, beside its test set."""

    set_name: str
    key: str
    arm: str
    images: int
    classes: int  # of the study's classes, those that the set has images of
    right: int
    test_right: int
    test_images: int

    @property
    def accuracy(self) -> Measured:
        """On the shift set, with its Wilson interval."""
        return Measured(
            value=self.right / self.images, interval=stats.wilson_interval(self.right, self.images)
        )

    @property
    def drop(self) -> Measured:
        """Test accuracy less the shift set's, with Newcombe's interval: two samples of images, one trained
        model."""
        value = self.test_right / self.test_images - self.right / self.images
        return Measured(
            value=value,
            interval=stats.difference_interval(self.test_right, self.test_images, self.right, self.images),
        )


@dataclass(frozen=True, kw_only=True)
class Look:
    """Where one network looked. evidence: float16 (N, H, W) in 0..1 of its last block's positions, for the
    class `answers`.

    probabilities: float16 (N, C). answers: int64 (N,), the likeliest class of each image."""

    key: str
    evidence: NDArray[np.float16]
    probabilities: NDArray[np.float16]
    answers: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The looks of several networks at the same test images uint8 (N, H, W, 3), drawn with `seed`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    seed: int
    networks: tuple[Look, ...]


def chosen_trials(
    trials: Trials, phase: str | None, arms: Sequence[str], seed: int | None = None
) -> dict[str, FinishedTrial]:
    """For each arm (none named: all) the trial of this seed (None: the lowest) that the study's answer rests
    on; a deterministic arm's one trial stands for every seed. Arms without such a trial are left out."""
    found = {}
    for name, of_arm in main_trials(trials, phase).items():
        if arms and name not in arms:
            continue
        fitting = [trial for trial in of_arm if seed is None or trial.seed == seed or is_deterministic(trial)]
        if fitting:
            found[name] = fitting[0]
    return found


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays in a file; empty where it is not there. Raises: StoreError where it is damaged."""
    return store.read_npz(path, "delete it and run the same command again") if path.is_file() else {}


def read_corrupted(study_folder: Path) -> list[Corrupted]:
    """The finished readings of the robustness step, ordered by trial key. Raises: StoreError where one is
    damaged."""
    found = []
    for path in sorted((study_folder / ROBUSTNESS).glob("*.json")):
        about, arrays = store.read_json(path), read_arrays(path.with_suffix(".npz"))
        if missing := {"clean", "labels", "ids", *CORRUPTIONS} - set(arrays):
            raise StoreError(
                f"{path.with_suffix('.npz')} lacks {', '.join(sorted(missing))}; delete {path} and run "
                "`headstart robustness` again"
            )
        clean = Predictions(logits=arrays["clean"], labels=arrays["labels"], example_ids=arrays["ids"])
        found.append(
            Corrupted(
                key=about["key"],
                arm=about["arm"],
                settings=about["settings"],
                seconds=about["seconds"],
                clean=clean,
                logits={name: arrays[name] for name in CORRUPTIONS},
            )
        )
    return found


def read_shifted(study_folder: Path) -> list[Shifted]:
    """The finished readings of shift sets, ordered by set and trial key. Raises: StoreError where one is
    damaged."""
    found = []
    for path in sorted((study_folder / SHIFT).glob("*/*.json")):
        about, arrays = store.read_json(path), read_arrays(path.with_suffix(".npz"))
        if not {"logits", "labels"} <= set(arrays):
            raise StoreError(
                f"{path.with_suffix('.npz')} is missing; delete {path} and run `headstart shift` again"
            )
        right = int((arrays["logits"].argmax(axis=1) == arrays["labels"]).sum())
        found.append(
            Shifted(
                set_name=about["set"],
                key=about["key"],
                arm=about["arm"],
                images=len(arrays["labels"]),
                right=right,
                classes=len(np.unique(arrays["labels"])),
                test_right=about["test_right"],
                test_images=about["test_images"],
            )
        )
    return found


def read_looks(study_folder: Path) -> Looks | None:
    """Where the networks looked, ordered by trial key; None without a reading of the images that are there.

    Raises: StoreError where a file is damaged."""
    folder = study_folder / LOOKS
    shown = read_arrays(folder / "images.npz")
    if not {"settings", "ids", "labels", "images", "seed"} <= set(shown):
        return None
    found = []
    for path in sorted(folder.glob("*.npz")):
        arrays = read_arrays(path)
        if "evidence" in arrays and str(arrays["settings"]) == str(shown["settings"]):
            found.append(
                Look(
                    key=path.stem,
                    evidence=arrays["evidence"],
                    probabilities=arrays["probabilities"],
                    answers=arrays["targets"],
                )
            )
    return (
        Looks(
            images=shown["images"],
            labels=shown["labels"],
            ids=shown["ids"],
            seed=int(shown["seed"]),
            networks=tuple(found),
        )
        if found
        else None
    )


@dataclass(frozen=True, kw_only=True)
class RobustAccuracy:
    """What corrupted predictions come to; all intervals are 95 % over test images, for one trained model.

    clean, mean: accuracy on the same images as they are, and over all 15 x 5. drop: clean less mean.
    relative_drop: drop as a share of clean. by_corruption: mean over severities. by_severity: mean over
    corruptions, mildest first."""

    clean: Measured
    mean: Measured
    drop: Measured
    relative_drop: Measured
    by_corruption: Mapping[str, Measured]
    by_severity: tuple[Measured, ...]


def robust_accuracy(reading: Corrupted) -> RobustAccuracy:
    """Accuracies under corruption with percentile bootstrap intervals: images are drawn, each with all its 75
    corrupted copies, for those stand and fall together. Source: Efron (1979); Hendrycks and Dietterich
    (2019), section 4."""
    right = reading.right.astype(np.float64)
    clean = correct(reading.clean).astype(np.float64)
    columns = np.column_stack([clean, right.mean(axis=(0, 1)), *right.mean(axis=1), *right.mean(axis=0)])
    values, draws = columns.mean(axis=0), _draws(len(clean)) @ columns

    def estimate(value: float, drawn: NDArray[np.float64]) -> Measured:
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Measured(value=float(value), interval=(float(low), float(high)))

    places = {name: 2 + k for k, name in enumerate(CORRUPTIONS)}
    severities = range(2 + len(CORRUPTIONS), 2 + len(CORRUPTIONS) + len(SEVERITIES))
    first = max(values[0], 1e-12)
    return RobustAccuracy(
        clean=estimate(values[0], draws[:, 0]),
        mean=estimate(values[1], draws[:, 1]),
        drop=estimate(values[0] - values[1], draws[:, 0] - draws[:, 1]),
        relative_drop=estimate(1 - values[1] / first, 1 - draws[:, 1] / np.maximum(draws[:, 0], 1e-12)),
        by_corruption={name: estimate(values[k], draws[:, k]) for name, k in places.items()},
        by_severity=tuple(estimate(values[k], draws[:, k]) for k in severities),
    )


def mean_difference(a: Corrupted, b: Corrupted) -> Measured:
    """Mean corruption accuracy of a less b, paired image by image, with its bootstrap interval over images.

    Raises: DataError on different images."""
    require_same_images(a.clean, b.clean)
    per_image = a.right.mean(axis=(0, 1)) - b.right.mean(axis=(0, 1))
    low, high = np.quantile(_draws(len(per_image)) @ per_image, [0.025, 0.975])
    return Measured(value=float(per_image.mean()), interval=(float(low), float(high)))


def _draws(images: int) -> NDArray[np.float64]:
    """How often each image is drawn, as shares, (2000, N): the same for every arm, so that arms compare and
    nothing moves from one rendering to the next."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), _RESAMPLES) / images
