"""Shift sets in both forms, and one clear line for each way of getting them wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.errors import DataError
from headstart.evaluation.shift_sets import load_shift_set

CLASSES = ("airplane", "automobile", "bird")
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
LABELS = np.array([2, 0, 1, 1, 2, 0, 0], np.int32)  # CIFAR-10.1's are int32


def published(
    folder: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, version: str = "v6"
) -> Path:
    np.save(folder / f"cifar10.1_{version}_data.npy", images)
    np.save(folder / f"cifar10.1_{version}_labels.npy", labels)
    return folder


def test_the_published_form_is_read_as_it_is(tmp_path: Path) -> None:
    found = load_shift_set(published(tmp_path), CLASSES, 32)
    assert (found.images == IMAGES).all()
    assert found.labels.tolist() == LABELS.tolist() and found.labels.dtype == np.int64
    assert found.class_names == CLASSES


def test_a_folder_finds_its_classes_by_name_in_any_case(tmp_path: Path) -> None:
    for name, value in (("Bird", 40), ("airplane", 90)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (48, 32), (value, 0, 0)).save(tmp_path / name / "one.png")
    found = load_shift_set(tmp_path, CLASSES, 32)
    assert sorted(zip(found.labels.tolist(), found.images[:, 16, 16, 0].tolist(), strict=True)) == [
        (0, 90),
        (2, 40),
    ]
    assert found.images.shape == (2, 32, 32, 3)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, :16], LABELS, r"data.npy holds uint8 \(7, 16, 32, 3\); expected uint8 \(N, 32, 32, 3\)"),
        (IMAGES / 255, LABELS, r"data.npy holds float64"),
        (IMAGES[:0], LABELS[:0], r"data.npy holds uint8 \(0, 32, 32, 3\)"),
        (IMAGES, LABELS[:5], r"labels.npy holds int32 \(5,\); expected 7 whole numbers from 0 to 2"),
        (IMAGES, LABELS + 1, "expected 7 whole numbers from 0 to 2, in the order of the study's classes"),
        (IMAGES, LABELS * 0.5, "labels.npy holds float64"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        load_shift_set(published(tmp_path, images, labels), CLASSES, 32)


def test_two_versions_in_one_folder_are_refused(tmp_path: Path) -> None:
    published(published(tmp_path), version="v4")
    with pytest.raises(
        DataError, match=r"holds 2 files \*_data.npy \(cifar10.1_v4_data.npy, cifar10.1_v6_data.npy\)"
    ):
        load_shift_set(tmp_path, CLASSES, 32)


def test_labels_that_are_missing_are_named(tmp_path: Path) -> None:
    (published(tmp_path) / "cifar10.1_v6_labels.npy").unlink()
    with pytest.raises(DataError, match=r"cannot read .*cifar10.1_v6_labels.npy: .*; fetch both files again"):
        load_shift_set(tmp_path, CLASSES, 32)


def test_a_class_that_the_study_does_not_have_is_refused(tmp_path: Path) -> None:
    for name in ("bird", "lorry"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        DataError, match=r"lorry is none of the study's classes \(airplane, automobile, bird\)"
    ):
        load_shift_set(tmp_path, CLASSES, 32)


def test_a_folder_with_neither_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds neither"):
        load_shift_set(tmp_path, CLASSES, 32)
    with pytest.raises(DataError, match="is not a folder"):
        load_shift_set(tmp_path / "none", CLASSES, 32)
