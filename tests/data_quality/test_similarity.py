"""Pairs of feature rows: every pair that a plain N x N table has, and no other."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.data_quality.similarity import FeatureRows, aligned_correlation, similar_pairs


def reference(rows: np.ndarray, least: float) -> dict[tuple[int, int], float]:
    """The same in float64, all pairs at once."""
    centred = rows.astype(np.float64) - rows.astype(np.float64).mean(axis=0)
    table = centred @ centred.T / np.outer(*[np.linalg.norm(centred, axis=1)] * 2)
    return {
        (i, j): float(table[i, j])
        for i, j in zip(*np.triu_indices(len(rows), 1), strict=True)
        if table[i, j] >= least
    }


@pytest.mark.parametrize("width", [3, 300, 600])
def test_all_pairs_above_the_threshold_are_found_and_no_other(width: int) -> None:
    rng = np.random.default_rng(0)
    rows = np.abs(rng.normal(size=(900, width)) + 2 * rng.normal(size=width)).astype(np.float16)
    rows[700:900] = rows[0:200] + rng.normal(
        0, np.linspace(0.01, 1, 200)[:, None], (200, width)
    )  # near to farther copies
    expected = reference(rows, 0.6)
    assert len(expected) >= 100
    pairs, similarity = similar_pairs(FeatureRows([rows[:500], rows[500:]]), 0.6)
    missing = set(expected) ^ set(map(tuple, pairs.tolist()))
    assert all(abs(expected.get(pair, 0.6) - 0.6) < 1e-5 for pair in missing)  # only what rounding decides
    values = [expected.get((int(i), int(j)), 0.6) for i, j in pairs]
    np.testing.assert_allclose(similarity, values, atol=1e-5)
    assert pairs.dtype == np.int64 and (np.lexsort((pairs[:, 1], pairs[:, 0])) == np.arange(len(pairs))).all()


def test_pairs_across_many_tiles_are_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.data_quality.similarity._TOP", 7)
    monkeypatch.setattr("headstart.data_quality.similarity._LEFT", 20)
    monkeypatch.setattr("headstart.data_quality.similarity._CHUNK", 9)
    rows = np.random.default_rng(1).normal(size=(101, 6)).astype(np.float32)
    pairs, _ = similar_pairs(FeatureRows([rows[:33], rows[33:34], rows[34:]]), 0.8)
    assert set(map(tuple, pairs.tolist())) == set(reference(rows, 0.8))
    assert len(pairs) == len(reference(rows, 0.8))


def test_identical_rows_are_like_themselves_and_empty_ones_like_nothing() -> None:
    rows = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]], np.float32)
    pairs, similarity = similar_pairs(FeatureRows([rows]), 0.99)
    assert pairs.tolist() == [[0, 1]] and similarity == pytest.approx([1.0])
    same = np.full((5, 4), 0.1, np.float16)  # equal to their mean, all of them
    assert similar_pairs(FeatureRows([same]), 0.5)[0].shape == (0, 2)


def test_one_row_has_no_pair() -> None:
    pairs, similarity = similar_pairs(FeatureRows([np.ones((1, 4), np.float16)]), 0.5)
    assert pairs.shape == (0, 2) and similarity.shape == (0,)


def test_a_shifted_mirrored_brighter_picture_is_found_and_another_is_not() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 200, (2, 12, 12, 3)).repeat(4, axis=1).repeat(4, axis=2)
    picture, other = coarse[0], coarse[1]
    small = np.stack(
        [
            picture[8:40, 8:40],
            picture[11:43, 5:37],
            picture[8:40, 8:40][:, ::-1],
            picture[8:40, 8:40] // 2 + 40,
            other[8:40, 8:40],
            np.full((32, 32, 3), 7),
        ]
    ).astype(np.uint8)
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [0, 4], [0, 5]])
    found = aligned_correlation(small, pairs)
    assert found[0] == pytest.approx(1, abs=1e-6) and found[1] == pytest.approx(1, abs=1e-6)
    assert found[2] > 0.9999 and found[3] == pytest.approx(1, abs=1e-6)
    assert found[4] < 0.5 and found[5] == 0  # a picture of one grey is like nothing
