"""The solver against scikit-learn in float64, and against itself where bits must agree."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from headstart.errors import ConfigError, DataError
from headstart.training import logistic_problem
from headstart.training.feature_rows import predict_logits, standardisation
from headstart.training.logistic import SolverOptions, fit_path

PATH = [1e-3, 1.0, 0.03]


def made_up(rows, columns, classes=10, seed=0, dtype=np.float16):
    """Correlated, skewed features with overlapping classes, as pooled activations have."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    latent = rng.normal(size=(rows, 12)) + 0.9 * rng.normal(size=(classes, 12))[labels]
    values = (
        np.maximum(latent @ rng.normal(size=(12, columns)) / 3 + rng.normal(size=(rows, columns)) / 2, 0)
        ** 1.4
    )
    return values.astype(dtype), labels


def objective(values, labels, weight, bias, l2, sample_weight=None):
    """Loss and gradient in float64, written out, from weights for raw features."""
    values, weight = values.astype(np.float64), weight.astype(np.float64)
    mean, std = values.mean(0), values.std(0)
    std[std == 0] = 1
    share = np.ones(len(labels)) if sample_weight is None else np.asarray(sample_weight, float)
    share = share / share.sum()
    logits = values @ weight.T + bias.astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    log_chance = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    residual = np.exp(log_chance)
    residual[np.arange(len(labels)), labels] -= 1
    residual *= share[:, None]
    scaled = weight * std
    loss = -(share * log_chance[np.arange(len(labels)), labels]).sum() + 0.5 * l2 * (scaled**2).sum()
    return loss, residual.T @ ((values - mean) / std) + l2 * scaled, residual.sum(0)


def sklearn_optimum(values, labels, l2, sample_weight=None):
    """scikit-learn's fit on standardised float64 features, as weights for raw ones."""
    values = values.astype(np.float64)
    mean, std = values.mean(0), values.std(0)
    std[std == 0] = 1
    total = len(labels) if sample_weight is None else np.sum(sample_weight)
    model = LogisticRegression(C=1 / (l2 * total), tol=1e-8, max_iter=20000)
    model.fit((values - mean) / std, labels, sample_weight=sample_weight)
    weight = model.coef_ / std
    return weight, model.intercept_ - weight @ mean


@pytest.mark.parametrize(
    ("rows", "columns"), [(700, 40), (90, 300), (2000, 24)]
)  # N > D, N < D, N > 4 D (rows drawn)
def test_the_optimum_is_scikit_learns(rows, columns):
    values, labels = made_up(rows, columns)
    for fit in fit_path(values, labels, num_classes=10, l2_values=PATH):
        theirs, _, _ = objective(values, labels, *sklearn_optimum(values, labels, fit.l2), fit.l2)
        ours, gradient, bias_gradient = objective(values, labels, fit.weight, fit.bias, fit.l2)
        assert ours == pytest.approx(theirs, rel=1e-6)
        assert fit.loss == pytest.approx(ours, rel=1e-6)
        norm = max(abs(gradient).max(), abs(bias_gradient).max())
        assert norm < 1e-3
        assert fit.gradient_norm == pytest.approx(norm, rel=0.05, abs=1e-7)
        assert fit.converged


def test_scaling_by_length_is_scikit_learns_on_unit_rows_with_one_deviation():
    values, labels = made_up(90, 300, dtype=np.float32)
    unit = values.astype(np.float64) / np.linalg.norm(values.astype(np.float64), axis=1, keepdims=True)
    mean, deviation = unit.mean(0), np.sqrt(unit.var(0).mean())
    model = LogisticRegression(C=1 / (0.03 * 90), tol=1e-8, max_iter=20000)
    expected = model.fit((unit - mean) / deviation, labels).decision_function((unit - mean) / deviation)
    (fit,) = fit_path(values, labels, num_classes=10, l2_values=[0.03], options=SolverOptions(scaling="unit"))
    found = predict_logits(values, fit.weight, fit.bias, scaling="unit")
    assert fit.converged
    difference = (found - found.mean(1, keepdims=True)) - (expected - expected.mean(1, keepdims=True))
    assert np.abs(difference).max() < 0.02
    # the length of a row says nothing then
    longer = predict_logits(3 * values, fit.weight, fit.bias, scaling="unit")
    np.testing.assert_allclose(longer, found, atol=1e-4)


def test_fits_come_in_the_order_of_the_l2_values():
    values, labels = made_up(200, 10)
    fits = fit_path(values, labels, num_classes=10, l2_values=[0.1, 10.0, 0.1, 1.0])
    assert [fit.l2 for fit in fits] == [0.1, 10.0, 0.1, 1.0]
    assert fits[1].loss > fits[3].loss > fits[0].loss == fits[2].loss


def test_the_gap_bounds_what_a_loose_fit_leaves():
    values, labels = made_up(600, 30)
    for fit in fit_path(
        values, labels, num_classes=10, l2_values=PATH, options=SolverOptions(tolerance=0.05)
    ):
        optimum, _, _ = objective(values, labels, *sklearn_optimum(values, labels, fit.l2), fit.l2)
        assert -1e-9 < fit.loss - optimum <= fit.gap <= 0.05 * fit.loss


def test_a_warm_start_leads_where_a_cold_one_does():
    values, labels = made_up(900, 50)
    path = fit_path(values, labels, num_classes=10, l2_values=[1e-4, 1e-3, 1e-2, 0.1, 1.0])
    (cold,) = fit_path(values, labels, num_classes=10, l2_values=[1e-4])
    assert path[0].loss == pytest.approx(cold.loss, rel=2e-6)
    assert path[0].passes < cold.passes


@pytest.mark.parametrize("mode", ["r", "c"])
def test_memory_mapped_features_give_the_same_bits(tmp_path, mode):
    values, labels = made_up(600, 16)
    np.save(tmp_path / "features.npy", values)
    mapped = np.load(tmp_path / "features.npy", mmap_mode=mode)
    assert isinstance(mapped, np.memmap)
    (fit,) = fit_path(values, labels, num_classes=10, l2_values=[0.01])
    (other,) = fit_path(mapped, labels, num_classes=10, l2_values=[0.01])
    assert fit.weight.tobytes() == other.weight.tobytes()
    assert (
        predict_logits(mapped, fit.weight, fit.bias).tobytes()
        == predict_logits(values, fit.weight, fit.bias).tobytes()
    )


def test_changes_to_a_private_mapping_survive_being_read(tmp_path):
    values, _ = made_up(50, 6)
    np.save(tmp_path / "features.npy", values)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="c")
    mapped[3, 2] = 17
    standardisation(mapped)
    assert mapped[3, 2] == 17


def test_reading_from_disk_each_pass_gives_the_same_bits_as_keeping_the_features(monkeypatch):
    values, labels = made_up(1500, 20)
    (kept,) = fit_path(values, labels, num_classes=10, l2_values=[0.01])
    monkeypatch.setattr(logistic_problem, "CACHE_BYTES", 0)
    (read,) = fit_path(values, labels, num_classes=10, l2_values=[0.01])
    assert kept.weight.tobytes() == read.weight.tobytes()
    assert kept.history == read.history


def test_ids_in_any_order_are_a_sliced_copy():
    values, labels = made_up(800, 16)
    ids = np.random.default_rng(1).permutation(800)[:333]
    (chosen,) = fit_path(values, labels, num_classes=10, l2_values=[0.01], ids=ids)
    ids = np.sort(ids)
    (sliced,) = fit_path(values[ids], labels[ids], num_classes=10, l2_values=[0.01])
    assert chosen.weight.tobytes() == sliced.weight.tobytes()
    assert chosen.bias.tobytes() == sliced.bias.tobytes()


def test_the_same_call_gives_the_same_bits_whatever_precision_others_allow():
    values, labels = made_up(1000, 32)
    (first,) = fit_path(values, labels, num_classes=10, l2_values=[0.001])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        (second,) = fit_path(values, labels, num_classes=10, l2_values=[0.001])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert first.weight.tobytes() == second.weight.tobytes()
    assert first.history == second.history


def test_one_label_a_class_is_enough():
    values, _ = made_up(10, 64)
    labels = np.arange(10)
    for fit in fit_path(values, labels, num_classes=10, l2_values=PATH):
        theirs, _, _ = objective(values, labels, *sklearn_optimum(values, labels, fit.l2), fit.l2)
        assert fit.loss == pytest.approx(theirs, rel=1e-6)
        assert (predict_logits(values, fit.weight, fit.bias).argmax(1) == labels).all()


def test_a_class_without_rows_is_never_predicted_and_leaves_the_others_optimal():
    values, labels = made_up(400, 20, classes=4)
    labels = np.array([0, 2, 3, 5])[labels]
    (fit,) = fit_path(values, labels, num_classes=6, l2_values=[0.01])
    logits = predict_logits(values, fit.weight, fit.bias).astype(np.float64)
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert 1e-9 < chance[:, [1, 4]].max() <= 1.01e-7
    assert (fit.weight[[1, 4]] == 0).all()
    present = np.searchsorted([0, 2, 3, 5], labels)
    theirs, _, _ = objective(values, present, *sklearn_optimum(values, present, 0.01), 0.01)
    assert fit.loss == pytest.approx(theirs, rel=1e-6)


def test_a_single_row_predicts_its_class():
    values, _ = made_up(1, 8)
    (fit,) = fit_path(values, np.array([2]), num_classes=3, l2_values=[0.1])
    assert fit.loss == 0
    assert (fit.weight == 0).all()
    assert fit.bias.argmax() == 2


def test_a_constant_column_gets_no_weight():
    values, labels = made_up(300, 12)
    values[:, 5] = 3.25
    mean, std = standardisation(values)
    assert mean[5] == 3.25
    assert std[5] == 1
    (fit,) = fit_path(values, labels, num_classes=10, l2_values=[0.01])
    assert abs(fit.weight[:, 5]).max() == 0


def test_standardisation_is_exact_far_from_zero():
    values = np.array([[1000.0, 1, 7], [1001.0, 1, 9], [1003.0, 1, 7], [9.0, 9, 9]], dtype=np.float32)
    mean, std = standardisation(values, ids=[2, 0, 1])
    np.testing.assert_allclose(mean, [1001.3333, 1, 7.6666667], rtol=1e-7)
    np.testing.assert_allclose(
        std, [1.2472191, 1, 0.9428090], rtol=1e-6
    )  # sqrt(14/9), 1 instead of 0, sqrt(8/9)


def test_sample_weights_are_scikit_learns():
    values, labels = made_up(300, 12)
    weights = np.random.default_rng(2).integers(0, 4, 300).astype(float)
    options = SolverOptions(sample_weight=weights)
    (fit,) = fit_path(values, labels, num_classes=10, l2_values=[0.01], options=options)
    theirs, _, _ = objective(
        values,
        labels,
        *sklearn_optimum(values, labels, 0.01, sample_weight=weights),
        0.01,
        sample_weight=weights,
    )
    assert fit.loss == pytest.approx(theirs, rel=1e-6)


def test_history_falls_and_on_pass_can_read_the_weights_of_each_pass():
    values, labels = made_up(700, 20)
    seen = []
    (fit,) = fit_path(
        values,
        labels,
        num_classes=10,
        l2_values=[0.001],
        options=SolverOptions(on_pass=lambda l2, i, loss, raw: seen.append((l2, i, loss, raw()))),
    )
    losses = [loss for _, loss in fit.history]
    assert len(losses) > 3
    assert all(later < earlier for earlier, later in pairwise(losses))
    assert [(i, loss) for _, i, loss, _ in seen] == fit.history
    for _, _, loss, (weight, bias) in (seen[1], seen[-1]):
        assert objective(values, labels, weight, bias, 0.001)[0] == pytest.approx(loss, rel=1e-5)
    assert seen[-1][3][0].tobytes() == fit.weight.tobytes()


def test_a_fit_cut_short_says_so():
    values, labels = made_up(700, 20)
    (fit,) = fit_path(values, labels, num_classes=10, l2_values=[1e-4], options=SolverOptions(max_passes=4))
    assert not fit.converged
    assert fit.passes == 4
    assert fit.gap > 1e-6 * fit.loss


def test_logits_are_the_product_in_the_order_of_the_ids():
    values, weight = np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float16), np.array([[1, 0], [1, 1], [0, -1]])
    logits = predict_logits(values, weight, np.array([0, 10, 0.5]), ids=[2, 0])
    assert logits.dtype == np.float32
    assert logits.tolist() == [[5, 21, -5.5], [1, 13, -1.5]]
    assert predict_logits(values, weight, np.zeros(3), ids=[]).shape == (0, 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad):
    values, labels = made_up(1200, 6)
    values[[1100, 900], 3] = bad
    with pytest.raises(
        DataError,
        match=r"^the features of row 900 are not finite \(NaN or infinite\); leave that image",
    ):
        fit_path(values, labels, num_classes=10, l2_values=[1.0], ids=np.arange(400, 1200))
    fit_path(values, labels, num_classes=10, l2_values=[1.0], ids=np.arange(800))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"l2_values": [0.0]}, ConfigError, "l2 must be positive and finite, not 0.0"),
        ({"labels": np.zeros(9, int)}, DataError, r"10 rows of features but labels of shape \(9,\)"),
        ({"labels": np.arange(10)}, DataError, r"labels must be in \[0, 3\); found 0 to 9"),
        ({"ids": []}, DataError, "there are no rows to train on"),
        ({"ids": [3, 10]}, DataError, r"row ids must be in \[0, 10\); found 3 to 10"),
        ({"values": np.zeros(10)}, DataError, "features must be a matrix .* not 1-dimensional"),
        (
            {"options": SolverOptions(sample_weight=-np.ones(10))},
            DataError,
            "sample weights must be finite, not negative and not all 0",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(change, error, message):
    arguments = {
        "values": np.eye(10),
        "labels": np.zeros(10, int),
        "num_classes": 3,
        "l2_values": [1.0],
        **change,
    }
    with pytest.raises(error, match=f"^{message}$"):
        fit_path(arguments.pop("values"), arguments.pop("labels"), **arguments)


MEMORY = """
import sys
import numpy as np, torch
from headstart.training import logistic, logistic_problem
torch.set_num_threads(1)
cache, columns = int(sys.argv[1]), int(sys.argv[2])
if cache >= 0:
    logistic_problem.CACHE_BYTES = cache
for path in sys.argv[3:]:
    values = np.load(path, mmap_mode="r")
    labels = np.arange(len(values)) % 10
    options = logistic.SolverOptions(max_passes=6)
    (fit,) = logistic.fit_path(values, labels, num_classes=10, l2_values=[1.0], options=options)
    logistic.predict_logits(values, fit.weight, fit.bias)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(peak.split()[1]) // 1024)
"""


def peaks_mebibytes(folder: Path, row_counts, columns, cache_bytes):
    rng = np.random.default_rng(0)
    paths = []
    for rows in row_counts:
        paths.append(str(folder / f"{rows}.npy"))
        out = np.lib.format.open_memmap(paths[-1], mode="w+", dtype=np.float16, shape=(rows, columns))
        block = rng.random((1000, columns), dtype=np.float32).astype(np.float16)
        for start in range(0, rows, 1000):
            out[start : start + 1000] = block
        out.flush()
    command = [sys.executable, "-c", MEMORY, str(cache_bytes), str(columns), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path):
    few, many = peaks_mebibytes(tmp_path, [2_000, 80_000], 512, cache_bytes=0)
    assert (
        many - few < 50
    )  # the file alone is 78 MiB, its rows as float32 156; a row's logits and labels 0.3 KiB


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_at_full_size_stays_within_100_mebibytes(tmp_path):
    few, many = (peaks_mebibytes(tmp_path, [rows], 2048, cache_bytes=-1)[0] for rows in (10_000, 100_000))
    assert many - few < 100
