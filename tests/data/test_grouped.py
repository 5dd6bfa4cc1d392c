"""Held-out images: what belongs together stays together, every class keeps training images, names do not
matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.data import load_dataset
from headstart.data.duplicates import near_duplicates
from headstart.data.folders import decode_source, divide, find_entries, require_mostly_good
from headstart.data.grouped import hold_out, units_of
from headstart.data.splits import fold_numbers
from headstart.errors import DataError


@st.composite
def labelled_units(draw):
    """Labels (each class at least once), units (which may join several classes) and digests."""
    classes = draw(st.integers(1, 6))
    count = draw(st.integers(classes, 60))
    units = draw(st.integers(1, count))
    rng = np.random.default_rng(
        draw(st.integers(0, 2**32 - 1))
    )  # drawing each number through Hypothesis takes ten times as long
    weights = rng.dirichlet(
        np.full(units, draw(st.sampled_from([0.1, 1.0, 100.0])))
    )  # from one huge unit to equal ones
    labels = rng.permutation(np.concatenate([np.arange(classes), rng.integers(0, classes, count - classes)]))
    return (
        labels,
        rng.choice(units, count, p=weights),
        [f"{number:08x}" for number in rng.permutation(10**4)[:count]],
    )


@settings(max_examples=1000, deadline=None)
@given(labelled_units(), st.sampled_from([0.1, 0.2, 0.5]))
def test_units_never_cross_and_every_class_is_in_train(case, fraction):
    labels, units, digests = case
    held = hold_out(labels, units, digests, fraction)
    assert held.dtype == bool and held.shape == labels.shape  # one answer an image: the parts cannot overlap
    assert not set(units[held]) & set(units[~held])
    assert set(labels[~held]) == set(labels)


@settings(max_examples=1000, deadline=None)
@given(labelled_units(), st.randoms(use_true_random=False))
def test_the_order_of_the_images_does_not_matter(case, random):
    labels, units, digests = case
    order = list(range(len(labels)))
    random.shuffle(order)
    renamed = {unit: number for number, unit in enumerate(dict.fromkeys(units[order].tolist()))}
    held = hold_out(labels, units, digests)
    shuffled = hold_out(
        labels[order],
        np.array([renamed[unit] for unit in units[order].tolist()]),
        [digests[i] for i in order],
    )
    assert np.array_equal(held[order], shuffled)


@settings(max_examples=1000, deadline=None)
@given(labelled_units())
def test_units_of_one_class_leave_no_class_without_a_test_image(case):
    labels, units, digests = case
    units = units * 10 + labels  # no unit joins classes
    held = hold_out(labels, units, digests)
    for label in np.unique(labels):
        several = len(np.unique(units[labels == label])) > 1
        assert bool(held[labels == label].any()) == several


@settings(max_examples=1000, deadline=None)
@given(labelled_units(), st.integers(2, 6))
def test_folds_keep_units_together(case, folds):
    labels, units, _ = case
    numbers = fold_numbers(labels, units, folds)
    assert numbers.min() >= 0 and numbers.max() < folds
    for unit in np.unique(units):
        assert len(np.unique(numbers[units == unit])) == 1


def test_single_images_give_exactly_the_rounded_fraction():
    labels = np.repeat([0, 1, 2], [100, 33, 4])
    held = hold_out(labels, np.arange(137), [f"{i * 7919 % 137:04d}" for i in range(137)])
    assert np.bincount(labels[held]).tolist() == [20, 7, 1]


def test_folds_spread_each_class_evenly():
    labels = np.repeat([0, 1, 2], [50, 33, 4])
    numbers = fold_numbers(labels, np.arange(87), 5)
    counts = np.array([np.bincount(numbers[labels == label], minlength=5) for label in range(3)])
    assert (
        counts[0].tolist() == [10] * 5
        and sorted(counts[1]) == [6, 6, 7, 7, 7]
        and sorted(counts[2]) == [0, 1, 1, 1, 1]
    )


def test_a_class_of_one_unit_is_for_training():
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert not hold_out(labels, np.array([5, 5, 5, 6, 7, 8]), list("abcdef"))[:3].any()


def test_copies_near_copies_and_groups_are_one_unit():
    small = np.array(load_dataset("cifar10").train.images[:6])
    small[3] = np.clip(small[0].astype(int) + 4, 0, 255)
    near = near_duplicates(small)
    assert units_of(near, ["a", "b", "c", "d", "b", "f"], [None, None, "x", None, None, "x"]).tolist() == [
        0,
        1,
        2,
        0,
        1,
        2,
    ]
    assert units_of(near[:0], list("abcdef"), [None] * 6).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.fixture
def objects(tmp_path, monkeypatch):
    """Two classes, 12 objects each, 5 different real pictures an object; the table names the object."""
    images = _cats_and_dogs()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    rows = ["path,label,object"]
    for number, image in enumerate(images):
        label = ("cat", "dog")[number // 60]
        file = tmp_path / "things" / label / f"thing{number // 5:02d}_{number % 5}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
        rows.append(f"{file.relative_to(tmp_path)},{label},{number // 5}")
    (tmp_path / "things.csv").write_text("\n".join(rows))
    return tmp_path


def _cats_and_dogs():
    """60 real images of each class."""
    train = load_dataset("cifar10").train
    return np.concatenate([train.images[np.flatnonzero(train.labels == label)[:60]] for label in (3, 5)])


@pytest.mark.parametrize("options", [{"group_column": "object"}, {"group_regex": r"thing(\d+)_"}])
def test_pictures_of_one_object_never_stand_on_both_sides(objects, options):
    source = find_entries(objects / ("things.csv" if "group_column" in options else "things"), **options)
    division = divide(decode_source(source, 16))
    things = np.array([source.entries[place].name.rsplit("thing", 1)[1][:2] for place in division.places])
    test = division.splits == "test"
    assert not set(things[test]) & set(things[~test])
    assert np.bincount(division.labels[test]).tolist() == [
        10,
        10,
    ]  # two objects of five: nearest below a fifth of 60


def test_without_groups_they_do(objects):
    source = find_entries(objects / "things")
    division = divide(decode_source(source, 16))
    things = np.array([source.entries[place].name.rsplit("thing", 1)[1][:2] for place in division.places])
    test = division.splits == "test"
    assert set(things[test]) & set(things[~test])


def test_given_parts_are_respected(tmp_path, monkeypatch):
    images = _cats_and_dogs()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for number, image in enumerate(images[::6]):
        part = ("train", "val", "test", "train")[number % 4]
        file = tmp_path / "photos" / part / ("cat", "dog")[number // 10] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    source = find_entries(tmp_path / "photos")
    division = divide(decode_source(source, 16))
    assert division.is_own
    assert [source.entries[place].split for place in division.places] == division.splits.tolist()


def test_bad_files_stop_from_five_percent_on(tmp_path, monkeypatch):
    images = _cats_and_dogs()
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "photos"
    for number, image in enumerate(images[:38]):
        file = home / ("cat", "dog")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    (home / "cat" / "bad.png").write_bytes(b"")
    one = decode_source(find_entries(home), 8)  # 1 of 39: 2.6 %
    require_mostly_good(one)
    with pytest.raises(
        DataError, match=r"1 of 39 files in .* none may be bad \(--strict\): cat/bad.png: the file is empty"
    ):
        require_mostly_good(one, "refuse")
    (home / "dog" / "bad.png").write_bytes(b"no")
    two = decode_source(find_entries(home), 8)  # 2 of 40: 5 %, which is not below 5 %
    with pytest.raises(
        DataError, match=r"2 of 40 .*only fewer than 5 % are left out: cat/bad.png: .*; dog/bad.png: text"
    ) as error:
        require_mostly_good(two)
    assert error.value.exit_code == 3
    require_mostly_good(two, "skip")
