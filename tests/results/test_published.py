"""Published trials: small, without weights, and they count as finished."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart import store
from headstart.errors import StoreError
from headstart.results.published import half_precision, publish
from headstart.studies.plan import plan_study
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.studies.trials import trials_of

STUDY = """name = "small"
dataset = "cifar10"
labels_per_class = [20]
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = { duration = "2 steps", batch_size = 50, widths = [8, 16, 16] }
"""


def test_a_published_trial_counts_as_finished_and_is_not_run_again(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    study = str(tmp_path / "small.toml")
    first = run_study(study, tmp_path / "first")
    done = publish(first, tmp_path / "trials")
    assert done.new == done.trials == 1 and 50_000 < done.size_bytes < 500_000
    again = publish(first, tmp_path / "trials")  # what is there stays
    assert (again.new, again.trials, again.size_bytes) == (0, 1, done.size_bytes)
    assert (
        tmp_path / "trials" / store.finished_trials(first)[0].key / "predictions.npz"
    ).stat().st_size < 250_000
    second = run_study(study, tmp_path / "second", published=tmp_path / "trials")
    ran, adopted = (store.finished_trials(folder)[0] for folder in (first, second))
    source, copy = ran.folder, adopted.folder
    assert adopted.result == ran.result  # its starting time included: nothing ran
    assert not (copy / "model.safetensors").exists()
    before, after = store.read_test(source), store.read_test(copy)
    np.testing.assert_allclose(after.logits, before.logits, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(after.logits.argmax(1), before.logits.argmax(1))
    np.testing.assert_array_equal(after.labels, before.labels)


def test_a_trial_finished_in_another_machines_precision_counts_unless_the_study_names_one(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(STUDY.replace("cifar10", str(photos)))
    study = str(tmp_path / "small.toml")
    native = load_study(study)[0]
    other = {"fp32": "bf16", "bf16": "fp32"}[trials_of(native)[0].precision]
    first = run_study(study, tmp_path / "first", changes={"precision": other, "feature_precision": other})
    publish(first, tmp_path / "trials")
    second = run_study(study, tmp_path / "second", published=tmp_path / "trials")
    (trial,) = store.finished_trials(second)
    assert trial.result == store.finished_trials(first)[0].result and trial.precision == other
    (row,) = plan_study(study, second).rows
    assert row.finished == row.trials == 1
    named = {"precision": trials_of(native)[0].precision}
    (row,) = plan_study(study, second, changes=named, published=tmp_path / "trials").rows
    assert (row.finished, row.trials) == (0, 1)


def test_after_its_minutes_a_study_begins_no_trial_and_goes_on_another_time(tmp_path: Path, capsys) -> None:
    (tmp_path / "small.toml").write_text(STUDY)
    study = str(tmp_path / "small.toml")
    publish(run_study(study, tmp_path / "first"), tmp_path / "trials")
    folder = run_study(study, tmp_path / "second", seeds=2, minutes=0, published=tmp_path / "trials")
    assert [result.seed for result in store.finished_trials(folder)] == [0]  # published: that costs no time
    assert "0 minutes are over: 1 of 2 trials are left; the same command goes on" in capsys.readouterr().err
    run_study(study, folder, seeds=2, minutes=10)
    assert [result.seed for result in store.finished_trials(folder)] == [0, 1]
    capsys.readouterr()
    run_study(study, folder, seeds=2)
    told = [line for line in capsys.readouterr().err.splitlines() if "trial" in line]
    assert told == ["2 of 2 trials have finished before"]


def test_half_precision_never_changes_an_answer() -> None:
    logits = np.array([[1.0001, 1.0002, 0.0], [3.0, -2.0, 2.9999999], [2048.4, 2048.6, 2048.9]], np.float32)
    halved = half_precision(logits)
    assert halved.dtype == np.float16
    assert halved.argmax(1).tolist() == [1, 0, 2]
    assert halved[0].tolist() == [1.0, 1.0009765625, 0.0]


@pytest.mark.parametrize("bad", [np.inf, np.nan, 70000.0])
def test_values_that_float16_cannot_hold_are_refused(bad: float) -> None:
    with pytest.raises(StoreError, match="cannot be published as float16"):
        half_precision(np.array([[bad, 0.0]], np.float32))


def test_a_folder_without_finished_trials_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds no finished trial to publish"):
        publish(tmp_path, tmp_path / "trials")


def test_a_missing_folder_of_published_trials_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="give the folder that `headstart publish` wrote"):
        run_study("cifar10-quick", tmp_path / "out", published=tmp_path / "nowhere")
