"""What the steps after training have stored in a study's folder, read for the report, and what it comes to:
predictions on corrupted images and on shift sets, and Grad-CAM.

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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.errors import DamagedError, StoreError
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from headstart.results import stats
from headstart.results.trials import correct, require_same_images
from headstart.runtime import progress
from headstart.store.reading import Arrays
from headstart.store.remedies import READING as REMEDY
from headstart.store.schema import RobustnessReading, ShiftReading
from headstart.types import Predictions

ROBUSTNESS, SHIFT, GRADCAM = "robustness", "shift", "looks"  # folders
_RESAMPLES = 2000
_Reading = TypeVar("_Reading", RobustnessReading, ShiftReading)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A share, or a difference of shares, with its 95 % interval over test images."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """One trained model's predictions on the fixed test images, as they are and corrupted.

    logits: by corruption, float32 (5, N, C), mildest severity first."""

    key: str
    arm: str
    settings: Mapping[str, Any]
    seconds: Mapping[str, float]
    clean: Predictions
    logits: Mapping[str, NDArray[np.float32]]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each corrupted image is predicted right, bool (15, 5, N), in the order of CORRUPTIONS."""
        return np.stack([self.logits[name].argmax(axis=2) == self.clean.labels for name in CORRUPTIONS])


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """How many images one trained model predicts right on a shift set, and on its test set.

    classes: of the study's classes, those that the set has images of."""

    set_name: str
    key: str
    arm: str
    images: int
    classes: int
    right: int
    test_right: int
    test_images: int

    @property
    def accuracy(self) -> Measured:
        """Accuracy on the shift set, with its Wilson interval."""
        return Measured(
            value=self.right / self.images, interval=stats.wilson_interval(self.right, self.images)
        )

    @property
    def drop(self) -> Measured:
        """Accuracy on the test set less that on the shift set, with Newcombe's interval: two samples of
        images, one trained model."""
        value = self.test_right / self.test_images - self.right / self.images
        return Measured(
            value=value,
            interval=stats.difference_interval(self.test_right, self.test_images, self.right, self.images),
        )


@dataclass(frozen=True, kw_only=True)
class NetworkGradCam:
    """One network's Grad-CAM of its own predictions on N test images.

    heatmaps: float16 (N, H, W) in 0..1, a value for each position of its last block.
    probabilities: float16 (N, C). predictions: int64 (N,), the likeliest class of each image."""

    key: str
    heatmaps: NDArray[np.float16]
    probabilities: NDArray[np.float16]
    predictions: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StudyGradCam:
    """The Grad-CAM of several networks on the same test images, which were drawn with `seed`.

    images: uint8 (N, H, W, 3). labels, ids: int64 (N,), true classes and positions in the test set."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    ids: NDArray[np.int64]
    seed: int
    networks: tuple[NetworkGradCam, ...]


def read_arrays(path: Path) -> Arrays:
    """The arrays in a file; empty where it is not there. Raises: StoreError where it is damaged."""
    return store.read_npz(path, REMEDY) if path.is_file() else {}


def kept_arrays(path: Path) -> Arrays:
    """The arrays in a file that a step after training resumes from; empty where it is not there or damaged,
    which is announced."""
    try:
        return read_arrays(path)
    except StoreError as error:
        progress.say(f"{error}. It is made anew")
        return {}


def kept_reading(model: type[_Reading], path: Path) -> _Reading | None:
    """What a step after training wrote last of a trial; None where it is not there or damaged, which is
    announced."""
    try:
        return store.read_as(model, path, REMEDY) if path.is_file() else None
    except StoreError as error:
        progress.say(f"{error}. It is made anew")
        return None


def is_logits(array: NDArray[Any] | None, shape: tuple[int, ...]) -> bool:
    """Whether an array holds finite logits of a shape, whose last number is the classes: -1 for any."""
    return (
        array is not None
        and array.dtype.kind == "f"
        and array.ndim == len(shape)
        and array.shape[-1] > 0
        and all(wanted in (-1, own) for wanted, own in zip(shape, array.shape, strict=True))
        and bool(np.isfinite(array).all())
    )


def sound_corrupted(arrays: Arrays, names: Iterable[str]) -> bool:
    """Whether the arrays of a robustness reading are logits of the same images, those of `names` among
    them."""
    clean, labels, ids = (arrays.get(name) for name in ("clean", "labels", "ids"))
    if clean is None or labels is None or ids is None or not is_logits(clean, (-1, -1)):
        return False
    return (
        _are_labels(labels, clean.shape)
        and ids.shape == labels.shape
        and ids.dtype.kind in "iu"
        and all(is_logits(arrays.get(name), (len(SEVERITIES), *clean.shape)) for name in names)
    )


def sound_shifted(arrays: Arrays) -> bool:
    """Whether the arrays of a shift reading are logits with labels."""
    logits, labels = arrays.get("logits"), arrays.get("labels")
    if logits is None or labels is None or not is_logits(logits, (-1, -1)):
        return False
    return len(labels) > 0 and _are_labels(labels, logits.shape)


def _are_labels(labels: NDArray[Any], shape: tuple[int, ...]) -> bool:
    return (
        labels.dtype.kind in "iu"
        and labels.shape == shape[:1]
        and (not len(labels) or bool(labels.min() >= 0 and labels.max() < shape[1]))
    )


def read_corrupted(study_folder: Path) -> list[Corrupted]:
    """The finished readings of the robustness step, ordered by trial key. Raises: StoreError where one is
    damaged."""
    readings = []
    for path in sorted((study_folder / ROBUSTNESS).glob("*.json")):
        about = store.read_as(RobustnessReading, path, REMEDY)
        arrays = read_arrays(path.with_suffix(".npz"))
        if missing := {"clean", "labels", "ids", *CORRUPTIONS} - set(arrays):
            raise DamagedError(f"{path.with_suffix('.npz')} lacks {', '.join(sorted(missing))}; {REMEDY}")
        if not sound_corrupted(arrays, CORRUPTIONS):
            raise DamagedError(f"{path.with_suffix('.npz')} is damaged (no logits of its images); {REMEDY}")
        clean = Predictions(logits=arrays["clean"], labels=arrays["labels"], example_ids=arrays["ids"])
        readings.append(
            Corrupted(
                key=about.key,
                arm=about.arm,
                settings=about.settings,
                seconds=about.seconds,
                clean=clean,
                logits={name: arrays[name] for name in CORRUPTIONS},
            )
        )
    return readings


def read_shifted(study_folder: Path) -> list[Shifted]:
    """The finished readings of shift sets, ordered by set and trial key. Raises: StoreError where one is
    damaged."""
    readings = []
    for path in sorted((study_folder / SHIFT).glob("*/*.json")):
        about = store.read_as(ShiftReading, path, REMEDY)
        arrays = read_arrays(path.with_suffix(".npz"))
        if not sound_shifted(arrays):
            raise DamagedError(f"{path.with_suffix('.npz')} is missing or damaged; {REMEDY}")
        right = int((arrays["logits"].argmax(axis=1) == arrays["labels"]).sum())
        readings.append(
            Shifted(
                set_name=about.set_name,
                key=about.key,
                arm=about.arm,
                images=len(arrays["labels"]),
                right=right,
                classes=len(np.unique(arrays["labels"])),
                test_right=about.test_right,
                test_images=about.test_images,
            )
        )
    return readings


def read_gradcam(study_folder: Path) -> StudyGradCam | None:
    """The finished Grad-CAM readings, ordered by trial key; None where no network was read on the images that
    are there.

    Raises: StoreError where a file is damaged."""
    folder = study_folder / GRADCAM
    shared = read_arrays(folder / "images.npz")
    if not {"settings", "ids", "labels", "images", "seed"} <= set(shared):
        return None
    networks = []
    for path in sorted(folder.glob("*.npz")):
        arrays = read_arrays(path)
        if "evidence" in arrays and str(arrays.get("settings", "")) == str(shared["settings"]):
            _require_gradcam(path, arrays, shared)
            networks.append(
                NetworkGradCam(
                    key=path.stem,
                    heatmaps=arrays["evidence"],
                    probabilities=arrays["probabilities"],
                    predictions=arrays["targets"],
                )
            )
    if not networks:
        return None
    return StudyGradCam(
        images=shared["images"],
        labels=shared["labels"],
        ids=shared["ids"],
        seed=int(shared["seed"]),
        networks=tuple(networks),
    )


def _require_gradcam(path: Path, arrays: Arrays, shared: Arrays) -> None:
    """Raises: DamagedError where a network's heatmaps are not those of the images beside them."""
    images, labels = shared["images"], shared["labels"]
    heatmaps, probabilities, targets = (
        arrays.get(name, np.zeros(0)) for name in ("evidence", "probabilities", "targets")
    )
    sound = (
        images.dtype == np.uint8
        and images.ndim == 4
        and images.shape[3] == 3
        and len(images) > 0
        and labels.shape == shared["ids"].shape == targets.shape == images.shape[:1]
        and labels.dtype.kind == targets.dtype.kind == "i"
        and shared["seed"].shape == ()
        and shared["seed"].dtype.kind == "i"
        and is_logits(heatmaps, (len(images), -1, -1))
        and is_logits(probabilities, (len(images), -1))
        and _are_labels(targets, probabilities.shape)
        and _are_labels(labels, probabilities.shape)
    )
    if not sound:
        raise DamagedError(f"{path} is damaged (no heatmaps of the images beside it); {REMEDY}")


@dataclass(frozen=True, kw_only=True)
class RobustAccuracy:
    """Accuracy under corruption; all intervals are 95 % over test images, for one trained model.

    clean: accuracy on the same images as they are. mean: over all 15 x 5. drop: clean less mean.
    relative_drop: drop as a share of clean. by_corruption: mean over severities. by_severity: mean over
    corruptions, mildest first."""

    clean: Measured
    mean: Measured
    drop: Measured
    relative_drop: Measured
    by_corruption: Mapping[str, Measured]
    by_severity: tuple[Measured, ...]


def robust_accuracy(reading: Corrupted) -> RobustAccuracy:
    """Accuracies under corruption, with percentile bootstrap intervals over images.

    Images are drawn with all their 75 corrupted copies, which depend on each other. Source: Efron (1979);
    Hendrycks and Dietterich (2019), section 4."""
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
    """Mean accuracy under corruption of a less that of b, paired image by image, with its bootstrap interval.

    Raises: DataError on different images."""
    require_same_images(a.clean, b.clean)
    per_image = a.right.mean(axis=(0, 1)) - b.right.mean(axis=(0, 1))
    low, high = np.quantile(_draws(len(per_image)) @ per_image, [0.025, 0.975])
    return Measured(value=float(per_image.mean()), interval=(float(low), float(high)))


def _draws(images: int) -> NDArray[np.float64]:
    """How often each image is drawn, as shares, float64 (2000, N).

    The draws are the same for every arm, so that arms compare, and every time, so that reports stay as they
    are."""
    return np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), _RESAMPLES) / images
