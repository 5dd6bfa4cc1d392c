"""Splits never overlap, keep every class's share, nest over budgets and depend only on what they say they
depend on."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.splits import label_subset, split_for_choosing, stratified_folds, validation_split
from headstart.errors import ConfigError, DataError
from headstart.types import ImageSet

LABELS = np.repeat(np.arange(3), [10, 20, 70])  # int64 (100,)
GOLDEN_VALIDATION = [6, 19, 20, 37, 57, 61, 73, 81, 86, 93]
GOLDEN_SUBSET = [3, 5, 8, 11, 14, 22, 74, 85, 89]
GOLDEN_FOLD = [0, 15, 25, 30, 35, 45, 55, 65, 75, 80]
GOLDEN_50_000 = "681d6de8d0c749067dfa984a91550e068bace45de3ffe87251a6fba8819bbe50"
properties = settings(deadline=None, max_examples=60)
class_sizes = st.lists(st.integers(3, 40), min_size=2, max_size=6)


def shuffled_labels(sizes, seed=0):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(labels)


def sha256(array):
    return hashlib.sha256(np.ascontiguousarray(array, "<i8").tobytes()).hexdigest()


# validation


def test_validation_split_of_ten_equal_classes_is_500_each():
    labels = shuffled_labels([5000] * 10)
    train_ids, val_ids = validation_split(labels, "fingerprint")
    assert np.bincount(labels[val_ids]).tolist() == [500] * 10
    assert np.bincount(labels[train_ids]).tolist() == [4500] * 10
    assert train_ids.dtype == val_ids.dtype == np.int64


def test_shares_are_rounded_by_largest_remainder_lower_class_first():
    # 15 of 100: exact shares 1.5, 3.0, 10.5; one place left over, two equal remainders
    _, val_ids = validation_split(LABELS, "fingerprint", 15)
    assert np.bincount(LABELS[val_ids]).tolist() == [2, 3, 10]


def test_largest_remainder_wins_over_the_larger_class():
    # 3 of 10: exact shares 0.9, 0.9, 1.2
    labels = np.repeat(np.arange(3), [3, 3, 4])
    _, val_ids = validation_split(labels, "fingerprint", 3)
    assert np.bincount(labels[val_ids]).tolist() == [1, 1, 1]


def test_splits_are_the_same_everywhere_and_always():
    # golden: a change here changes every published trial
    _, val_ids = validation_split(LABELS, "fingerprint", 10)
    assert val_ids.tolist() == GOLDEN_VALIDATION
    assert label_subset(LABELS, np.arange(100), "fingerprint", 0, 3).tolist() == GOLDEN_SUBSET
    folds = stratified_folds(LABELS, np.arange(0, 100, 5), 2, "fingerprint", 0)
    assert folds[0][1].tolist() == GOLDEN_FOLD


def test_the_validation_split_of_50_000_labels_is_the_same_everywhere_and_always():
    _, val_ids = validation_split(np.arange(50_000) % 10, "fingerprint")
    assert sha256(val_ids) == GOLDEN_50_000


@properties
@given(sizes=class_sizes, data=st.data())
def test_training_and_validation_are_disjoint_and_together_everything(sizes, data):
    labels = shuffled_labels(sizes)
    count = data.draw(st.integers(1, len(labels) // 2))
    train_ids, val_ids = validation_split(labels, "fingerprint", count)
    assert len(val_ids) == count
    assert not set(train_ids.tolist()) & set(val_ids.tolist())
    assert sorted([*train_ids.tolist(), *val_ids.tolist()]) == list(range(len(labels)))
    assert train_ids.tolist() == sorted(train_ids) and val_ids.tolist() == sorted(val_ids)
    for label, size in enumerate(sizes):
        assert abs(np.sum(labels[val_ids] == label) - count * size / len(labels)) < 1


def test_another_dataset_has_another_validation_split():
    assert validation_split(LABELS, "a", 10)[1].tolist() != validation_split(LABELS, "b", 10)[1].tolist()


@pytest.mark.parametrize("count", [0, 100, 5000, -1])
def test_impossible_validation_count_is_refused(count):
    with pytest.raises(ConfigError, match=rf"{count:,} validation images asked of 100; choose 1 to 99"):
        validation_split(LABELS, "fingerprint", count)


def test_validation_never_takes_a_whole_class():
    labels = np.repeat(np.arange(2), [1, 9])
    with pytest.raises(ConfigError, match="9 validation images would take all 1 of class 0; choose fewer"):
        validation_split(labels, "fingerprint", 9)


def test_absent_class_is_refused():
    with pytest.raises(ConfigError, match="class 1 has no images; every class from 0 to 2 needs some"):
        validation_split(np.array([0, 0, 2, 2]), "fingerprint", 2)


# label budgets


@properties
@given(sizes=class_sizes, seed=st.integers(0, 2**32), data=st.data())
def test_subsets_of_one_seed_nest_and_are_balanced(sizes, seed, data):
    labels = shuffled_labels(sizes)
    train_ids, val_ids = validation_split(labels, "fingerprint", len(sizes))
    most = int(np.bincount(labels[train_ids]).min())
    budgets = sorted(data.draw(st.lists(st.integers(1, most), min_size=2, max_size=4)))
    subsets = [label_subset(labels, train_ids, "fingerprint", seed, budget) for budget in budgets]
    for budget, subset in zip(budgets, subsets, strict=True):
        assert np.bincount(labels[subset]).tolist() == [budget] * len(sizes)
        assert subset.tolist() == sorted(set(subset.tolist()) & set(train_ids.tolist()))
        assert not set(subset.tolist()) & set(val_ids.tolist())
    for smaller, larger in itertools.pairwise(subsets):
        assert set(smaller.tolist()) <= set(larger.tolist())


def test_subset_does_not_depend_on_the_order_of_train_ids():
    ids = np.arange(100)
    backwards = label_subset(LABELS, ids[::-1], "fingerprint", 1, 4)
    assert backwards.tolist() == label_subset(LABELS, ids, "fingerprint", 1, 4).tolist()


def test_a_class_keeps_its_draw_when_other_classes_change():
    fewer = LABELS[:50]  # class 2 has 20 images in place of 70
    drawn = label_subset(LABELS, np.arange(100), "fingerprint", 1, 4)
    drawn_fewer = label_subset(fewer, np.arange(50), "fingerprint", 1, 4)
    assert drawn[:8].tolist() == drawn_fewer[:8].tolist()


def test_no_budget_means_all_training_images():
    assert label_subset(LABELS, np.array([7, 3, 50]), "fingerprint", 0, None).tolist() == [3, 7, 50]


def test_seeds_and_datasets_draw_different_subsets():
    drawn = {
        tuple(label_subset(LABELS, np.arange(100), fingerprint, seed, 5).tolist())
        for fingerprint in ("a", "b")
        for seed in (0, 1, 2)
    }
    assert len(drawn) == 6


def test_class_with_too_few_labels_is_named_with_its_count():
    ids = np.arange(4, 100)
    with pytest.raises(ConfigError) as error:
        label_subset(LABELS, ids, "fingerprint", 0, 7, class_names=("cat", "dog", "owl"))
    assert str(error.value) == (
        "7 labels per class asked for, but class 'cat' has 6 training images; choose 6 or fewer"
    )


def test_class_without_training_images_is_named():
    with pytest.raises(ConfigError, match="1 labels per class asked for, but class 0 has no training images"):
        label_subset(LABELS, np.arange(10, 100), "fingerprint", 0, 1)


def test_named_class_that_no_label_uses_is_refused():
    with pytest.raises(ConfigError, match="class 'emu' has no training images"):
        label_subset(LABELS, np.arange(100), "fingerprint", 0, 1, class_names=("cat", "dog", "owl", "emu"))


@pytest.mark.parametrize("budget", [0, -5])
def test_budget_below_one_is_refused(budget):
    with pytest.raises(ConfigError, match=f'labels_per_class is {budget}; it must be at least 1, or "all"'):
        label_subset(LABELS, np.arange(100), "fingerprint", 0, budget)


# folds


@properties
@given(sizes=class_sizes, folds=st.integers(2, 3), seed=st.integers(0, 1000), step=st.integers(1, 2))
def test_folds_part_the_budget_evenly(sizes, folds, seed, step):
    labels = shuffled_labels([size * 2 for size in sizes])
    ids = np.concatenate([np.flatnonzero(labels == label)[::step] for label in range(len(sizes))])
    parts = stratified_folds(labels, ids, folds, "fingerprint", seed)
    assert sorted(np.concatenate([val for _, val in parts]).tolist()) == sorted(ids.tolist())
    for train, val in parts:
        assert sorted([*train.tolist(), *val.tolist()]) == sorted(ids.tolist())
    val_sizes = [len(val) for _, val in parts]
    assert max(val_sizes) - min(val_sizes) <= 1
    for label in range(len(sizes)):
        in_class = [int(np.sum(labels[val] == label)) for _, val in parts]
        assert max(in_class) - min(in_class) <= 1


def test_five_labels_a_class_give_five_folds_of_one_each():
    ids = label_subset(LABELS, np.arange(100), "fingerprint", 0, 5)
    for _, val in stratified_folds(LABELS, ids, 5, "fingerprint", 0):
        assert np.bincount(LABELS[val]).tolist() == [1, 1, 1]


def test_more_folds_than_labels_is_refused():
    ids = label_subset(LABELS, np.arange(100), "fingerprint", 0, 3)
    with pytest.raises(
        ConfigError, match="5 folds asked for, but class 0 has 3 images; use 3 folds or fewer"
    ):
        stratified_folds(LABELS, ids, 5, "fingerprint", 0)


def test_one_fold_is_refused():
    with pytest.raises(ConfigError, match="1 folds asked for; at least 2 are needed"):
        stratified_folds(LABELS, np.arange(100), 1, "fingerprint", 0)


def test_too_few_images_are_named_by_class_with_how_many_to_collect() -> None:
    def images(*labels: int) -> ImageSet:
        values = np.array(labels, np.int64)
        pixels = np.zeros((len(values), 2, 2, 3), np.uint8)
        names = ("cat", "newt", *(f"class {n}" for n in range(2, max(labels) + 1)))
        return ImageSet(images=pixels, labels=values, class_names=names, fingerprint="x")

    with pytest.raises(
        DataError,
        match=r"6 images to train on are too few: .* class 'newt' has 1; "
        r"collect 4 more",
    ):
        split_for_choosing(images(0, 0, 0, 0, 0, 1))
    with pytest.raises(DataError, match=r"class 'cat' has 1 image to train on, .*; collect 1 more of each"):
        split_for_choosing(images(*range(12)))
    train_ids, val_ids = split_for_choosing(images(*[0] * 10, *[1] * 10))
    assert len(train_ids) == 18 and len(val_ids) == 2
