"""Rows of a memory-mapped array in another order, without a copy of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from headstart.runtime.mapped import blocks, file_mapping, indexed


@pytest.fixture
def stored(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3)).astype(np.uint8)
    values.tofile(tmp_path / "values.u8")
    return np.memmap(tmp_path / "values.u8", np.uint8, "r", shape=(9, 4, 4, 3))


@pytest.mark.parametrize(
    "index",
    [
        3,
        np.int64(-1),
        slice(1, 4),
        slice(0, 0),
        slice(None, None, -2),
        np.array([4, 0, 0]),
        np.array([True, False, True, False, False]),
        (slice(1, 3), 2),
        (slice(0, 2), slice(None), slice(None, None, -1)),
        (2, 1),
        (np.array([1, 2]), 0, 3, 1),
    ],
    ids=str,
)
def test_rows_are_those_of_the_reordered_array(stored, index):
    places = np.array([7, 2, 2, 8, 0])
    expected = np.array(stored)[places][index]
    assert np.array_equal(indexed(stored, places)[index], expected)


def test_it_is_an_array_to_whoever_asks_for_one(stored):
    rows = indexed(stored, np.array([7, 2]))
    assert (rows.shape, rows.dtype, rows.ndim, len(rows), rows.nbytes) == ((2, 4, 4, 3), np.uint8, 4, 2, 96)
    assert np.array_equal(np.asarray(rows), np.array(stored)[[7, 2]])
    assert [image.sum() for image in rows] == [stored[7].sum(), stored[2].sum()]


def test_it_computes_as_an_array_does(stored):
    rows, whole = indexed(stored, np.array([7, 2])), np.array(stored)[[7, 2]]
    assert np.array_equal(rows / 255, whole / 255) and np.array_equal(1 + rows, 1 + whole)
    assert rows.mean() == whole.mean() and np.array_equal(rows.reshape(2, -1), whole.reshape(2, -1))
    assert (np.equal(rows, whole)).all() and np.max(rows) == whole.max()
    assert np.array_equal(copy.deepcopy(rows), whole)
    assert not hasattr(rows, "no_such_method")


def test_blocks_are_all_rows_in_their_order(stored, monkeypatch):
    monkeypatch.setattr("headstart.runtime.mapped._BLOCK_BYTES", 100)
    parts = list(blocks(indexed(stored, np.array([7, 2, 8]))))
    assert [len(part) for part in parts] == [2, 1]
    assert np.array_equal(np.concatenate(parts), np.array(stored)[[7, 2, 8]])
    assert list(blocks(indexed(stored, np.array([], np.int64)))) == []


def test_pages_of_what_is_indexed_can_be_released(stored):
    assert file_mapping(indexed(stored, np.array([1]))) is file_mapping(stored) is not None
