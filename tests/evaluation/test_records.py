"""What corrupted and shifted predictions come to, from predictions chosen by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as reference

from headstart import store
from headstart.errors import DataError, StoreError
from headstart.evaluation import records
from headstart.evaluation.corruptions import CORRUPTIONS
from headstart.evaluation.records import Corrupted, Shifted
from headstart.evaluation.study import chosen_trials
from headstart.store import FinishedTrial
from headstart.types import Cost, Predictions, Result


def reading(
    clean: np.ndarray, right: np.ndarray, arm: str = "cnn", ids: np.ndarray | None = None
) -> Corrupted:
    """Two-class predictions that are right where told. clean: bool (N,); right: bool (15, 5, N)."""
    labels = np.arange(len(clean)) % 2
    ids = np.arange(len(clean)) if ids is None else ids

    def logits(correct: np.ndarray) -> np.ndarray:
        return np.eye(2, dtype=np.float32)[np.where(correct, labels, 1 - labels)]

    return Corrupted(
        key=arm * 2,
        arm=arm,
        settings={"images": len(clean), "seed": 0},
        seconds={},
        clean=Predictions(logits=logits(clean), labels=labels, example_ids=ids),
        logits={name: logits(right[k]) for k, name in enumerate(CORRUPTIONS)},
    )


def random_reading(images: int = 400, level: float = 0.7, seed: int = 0, arm: str = "cnn") -> Corrupted:
    """Images differ in difficulty, so an image's 75 copies stand and fall together."""
    rng = np.random.default_rng(seed)
    ease = np.random.default_rng(9).normal(0, 1, images)
    chance = 1 / (1 + np.exp(-(ease + math.log(level / (1 - level)))))
    return reading(rng.random(images) < 0.9, rng.random((15, 5, images)) < chance, arm)


def test_accuracies_are_means_over_their_cells() -> None:
    right = np.zeros((15, 5, 10), bool)
    right[0] = True  # Gaussian noise: all right at every severity
    right[1, :2] = True  # shot noise: right at the two mildest
    right[2, 0, :5] = True  # impulse noise: half of the images at the mildest
    clean = np.arange(10) < 8
    found = records.robust_accuracy(reading(clean, right))
    assert found.clean.value == pytest.approx(0.8)
    assert [found.by_corruption[name].value for name in list(CORRUPTIONS)[:4]] == pytest.approx(
        [1.0, 0.4, 0.1, 0.0]
    )
    assert [each.value for each in found.by_severity] == pytest.approx(
        [2.5 / 15, 2 / 15, 1 / 15, 1 / 15, 1 / 15]
    )
    assert found.mean.value == pytest.approx(1.5 / 15)
    assert found.drop.value == pytest.approx(0.8 - 0.1)
    assert found.relative_drop.value == pytest.approx(1 - 0.1 / 0.8)
    assert found.by_corruption["gaussian_noise"].interval == pytest.approx((1.0, 1.0))


def test_intervals_agree_with_scipys_bootstrap_over_images() -> None:
    given = random_reading()
    per_image = given.right.mean(axis=(0, 1))
    clean = given.clean.logits.argmax(axis=1) == given.clean.labels
    found = records.robust_accuracy(given)

    def expected(statistic, *data):  # type: ignore[no-untyped-def]
        return tuple(
            reference.bootstrap(
                data,
                statistic,
                paired=True,
                vectorized=False,
                n_resamples=4000,
                method="percentile",
                rng=np.random.default_rng(5),
            ).confidence_interval
        )

    assert found.mean.interval == pytest.approx(expected(np.mean, per_image), abs=2e-3)
    drop = expected(lambda a, b: np.mean(a) - np.mean(b), clean, per_image)
    assert found.drop.interval == pytest.approx(drop, abs=3e-3)
    share = expected(lambda a, b: 1 - np.mean(b) / np.mean(a), clean, per_image)
    assert found.relative_drop.interval == pytest.approx(share, abs=3e-3)


def test_an_images_copies_do_not_count_as_so_many_images() -> None:
    """75 copies taken for independent would give an interval several times too narrow."""
    given = random_reading()
    low, high = records.robust_accuracy(given).mean.interval
    p = given.right.mean()
    naive = 2 * 1.96 * math.sqrt(p * (1 - p) / given.right.size)
    assert high - low > 3 * naive


def test_two_arms_are_compared_image_by_image() -> None:
    a, b = random_reading(level=0.75, seed=1), random_reading(level=0.7, seed=2, arm="probe")
    found = records.mean_difference(a, b)
    differences = a.right.mean(axis=(0, 1)) - b.right.mean(axis=(0, 1))
    half = 1.96 * differences.std(ddof=1) / math.sqrt(len(differences))
    assert found.value == pytest.approx(differences.mean())
    assert found.interval == pytest.approx((differences.mean() - half, differences.mean() + half), abs=1e-3)
    separate = records.robust_accuracy(a).mean.interval
    assert found.interval[1] - found.interval[0] < 0.6 * (
        separate[1] - separate[0]
    )  # pairing takes the images' spread out


def test_the_same_reading_gives_the_same_numbers() -> None:
    assert records.robust_accuracy(random_reading()) == records.robust_accuracy(random_reading())


def test_different_images_are_refused() -> None:
    one, other = (
        reading(np.ones(4, bool), np.ones((15, 5, 4), bool), ids=np.arange(4) + shift) for shift in (0, 1)
    )
    with pytest.raises(DataError, match="not of the same test set"):
        records.mean_difference(one, other)


def test_a_drop_is_between_two_samples_of_images() -> None:
    # 56 of 70 against 48 of 80: Newcombe (1998), table II, method 10
    given = Shifted(
        set_name="x", key="k", arm="cnn", images=80, classes=10, right=48, test_right=56, test_images=70
    )
    assert given.drop.value == pytest.approx(0.2)
    assert given.drop.interval == pytest.approx((0.0524, 0.3339), abs=6e-5)
    assert given.accuracy.value == pytest.approx(0.6)


def _trial(
    folder: Path, arm: str, seed: int, method: str = "scratch", budget: int | None = None
) -> FinishedTrial:
    result = Result(
        key=f"{arm}{seed}{budget}",
        study="s",
        metrics={},
        train_images=1,
        history=(),
        trial={
            "arm": {"name": arm, "method": method},
            "labels_per_class": budget,
            "seed": seed,
            "phase": "select",
        },
        cost=Cost(seconds={}, spent_seconds=0, examples=0, flops=0, peak_memory_bytes=0),
    )
    return FinishedTrial(folder=folder / f"{arm}{seed}{budget}", result=result)


def test_the_trial_of_the_seed_is_chosen_and_a_deterministic_arms_one_trial_stands_for_every_seed(
    tmp_path: Path,
) -> None:
    trials = [
        _trial(tmp_path, "cnn", 0),
        _trial(tmp_path, "cnn", 2),
        _trial(tmp_path, "cnn", 2, budget=10),
        _trial(tmp_path, "late", 1),
        _trial(tmp_path, "probe", 0, "linear_probe"),
    ]

    def keys(**options) -> dict[str, str]:  # type: ignore[no-untyped-def]
        return {
            name: trial.key
            for name, trial in chosen_trials(trials, "select", options.pop("arms", ()), **options).items()
        }

    assert keys(seed=2) == {"cnn": "cnn2None", "probe": "probe0None"}
    assert keys() == {"cnn": "cnn0None", "late": "late1None", "probe": "probe0None"}
    assert keys(arms=("cnn",), seed=0) == {"cnn": "cnn0None"}


def test_a_damaged_reading_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "robustness"
    folder.mkdir()
    key = "abc".ljust(64, "0")
    store.write_json(
        folder / "abc.json", {"key": key, "arm": "cnn", "settings": {"images": 5, "seed": 0}, "seconds": {}}
    )
    with pytest.raises(StoreError, match=r"abc\.npz lacks brightness, clean, .*; run `headstart robust"):
        records.read_corrupted(tmp_path)
    (folder / "abc.npz").write_bytes(b"no archive")
    with pytest.raises(StoreError, match=r"cannot read .*abc\.npz"):
        records.read_corrupted(tmp_path)
    assert records.read_shifted(tmp_path) == []
