"""A trial end to end on real images: keys, repeatability, kill -9 and resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart import store
from headstart.data import load_dataset
from headstart.studies.run import run_study
from headstart.studies.study_file import load_study
from headstart.studies.trial import make_context, resolve, trial_key
from headstart.studies.trials import trials_of
from headstart.types import ALL_LABELS, Study, Trial

STUDY = """name = "small"
dataset = "cifar10"
labels_per_class = [20]
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = { duration = "8 epochs", batch_size = 50, widths = [8, 16, 16] }
"""


def _study(folder: Path, text: str = STUDY) -> Study:
    (folder / "small.toml").write_text(text)
    return load_study(str(folder / "small.toml"))[0]


def _trial(folder: Path, text: str = STUDY) -> Trial:
    return trials_of(_study(folder, text))[0]


def _key(trial: Trial) -> str:
    return trial_key(resolve(trial, load_dataset(trial.arm.dataset)))


def test_a_changed_hyperparameter_is_a_new_trial_and_a_changed_label_is_not(tmp_path: Path) -> None:
    key = _key(_trial(tmp_path))
    assert _key(_trial(tmp_path, STUDY.replace("8 epochs", "9 epochs"))) != key
    assert _key(replace(_trial(tmp_path), seed=1)) != key
    assert _key(replace(_trial(tmp_path), precision="other")) != key
    assert _key(_trial(tmp_path, STUDY.replace('name = "cnn"', 'name = "net"\nlabel = "Our CNN"'))) == key


def test_training_validation_and_test_images_never_overlap(tmp_path: Path) -> None:
    data = load_dataset("cifar10")
    trial = replace(_trial(tmp_path), label_budget=ALL_LABELS)
    import torch

    context = make_context(trial, data, tmp_path, torch.device("cpu"))
    assert len(context.train_ids) == 45_000 and len(context.val_ids) == 5_000
    assert len(np.union1d(context.train_ids, context.val_ids)) == 50_000
    assert np.bincount(data.train.labels[context.val_ids]).tolist() == [500] * 10
    assert np.isin(context.sample_ids, context.train_ids).all() and len(context.sample_ids) == 5_000
    refit = make_context(replace(trial, phase="refit"), data, tmp_path, torch.device("cpu"))
    assert len(refit.train_ids) == 50_000 and len(refit.val_ids) == 0


def test_a_checkpoint_that_a_kill_left_beside_a_result_is_removed(
    photos: Path, tmp_path: Path, one_thread: None
) -> None:
    (tmp_path / "small.toml").write_text(
        STUDY.replace("cifar10", str(photos)).replace("[20]", "[5]").replace("8 epochs", "1 epochs")
    )
    (done,) = store.finished_trials(run_study(tmp_path / "small.toml", tmp_path / "run", threads=1))
    (done.folder / "checkpoint.safetensors").write_bytes(b"left")
    before = (done.folder / "result.json").read_bytes()
    run_study(tmp_path / "small.toml", tmp_path / "run", threads=1)
    assert not (done.folder / "checkpoint.safetensors").exists()
    assert (done.folder / "result.json").read_bytes() == before


def test_a_killed_study_goes_on_to_the_same_bits(
    photos: Path, tmp_path: Path, one_thread: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real process is killed with SIGKILL after its first checkpoint; the same study then ends as if never
    stopped."""
    (tmp_path / "small.toml").write_text(
        STUDY.replace("cifar10", str(photos)).replace("8 epochs", "40 epochs")
    )
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_study(tmp_path / "small.toml", whole)

    script = "import sys, headstart; headstart.run_study(*sys.argv[1:])"  # the command without its report
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "small.toml"), str(cut)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list(cut.glob("*/checkpoint.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not list(cut.glob("*/result.json"))

    capfd.readouterr()
    run_study(tmp_path / "small.toml", cut)
    assert "resuming after epoch" in capfd.readouterr().err
    first, second = store.finished_trials(whole)[0], store.finished_trials(cut)[0]
    a, b = first.folder, second.folder
    assert first.key == second.key
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()
    ours, theirs = store.read_predictions(a), store.read_predictions(b)
    for part in ours:
        np.testing.assert_array_equal(ours[part].logits, theirs[part].logits)
    assert first.metrics == second.metrics
    assert (first.cost.examples, first.cost.flops) == (second.cost.examples, second.cost.flops)


PHOTOS = """name = "photos"
dataset = "{folder}"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "2 epochs", batch_size = 16, widths = [8, 8, 8] }}
[[arms]]
name = "probe"
model = "resnet50"
weights = "imagenet-keras"
method = "linear_probe"
input_pixels = 64
"""


@pytest.fixture(scope="module")
def photo_study(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sides run on the small folder, two seeds."""
    folder = tmp_path_factory.mktemp("photo_study")
    (folder / "photos.toml").write_text(PHOTOS.format(folder=photos))
    return run_study(str(folder / "photos.toml"), folder / "runs", seeds=2)


def test_results_have_a_row_a_trial_with_the_promised_columns(photo_study: Path) -> None:
    import headstart

    table = headstart.load_results(photo_study)
    promised = {
        "study",
        "arm",
        "dataset",
        "model",
        "weights",
        "method",
        "labels_per_class",
        "seed",
        "train_images",
        "train_accuracy",
        "val_accuracy",
        "test_accuracy",
        "test_nll",
        "test_ece",
        "seconds",
        "examples",
        "flops",
        "peak_memory_bytes",
        "key",
    }
    assert promised <= set(table.columns)
    # The probe on all labels is the same for every seed: it is run once.
    assert sorted(zip(table["arm"], table["seed"], strict=True)) == [("cnn", 0), ("cnn", 1), ("probe", 0)]
    assert (table["test_accuracy"].between(0, 1)).all()
    assert (photo_study / "results.csv").read_text().count("\n") == 4


def test_a_second_run_has_nothing_to_do_and_changes_nothing(photo_study: Path) -> None:
    before = {path: path.read_bytes() for path in photo_study.glob("*/result.json")}
    run_study(str(photo_study.parent / "photos.toml"), photo_study, seeds=2)
    assert {path: path.read_bytes() for path in photo_study.glob("*/result.json")} == before


def test_stored_accuracy_is_that_of_the_stored_logits(photo_study: Path) -> None:
    for result in store.finished_trials(photo_study):
        test = store.read_test(result.folder)
        assert result.metrics["test_accuracy"] == np.mean(test.logits.argmax(1) == test.labels)
        assert result.environment["threads"] >= 1 and result.environment["torch"]


def test_the_probe_says_which_l2_validation_chose(photo_study: Path) -> None:
    (probe,) = [result for result in store.finished_trials(photo_study) if result.arm.name == "probe"]
    scores = probe.selected["validation_accuracy_by_l2"]
    assert scores[f"{probe.selected['l2']:g}"] == max(scores.values())
    assert probe.cost.seconds["features"] > 0
    assert probe.history[-1]["val_accuracy"] == pytest.approx(probe.metrics["val_accuracy"])
