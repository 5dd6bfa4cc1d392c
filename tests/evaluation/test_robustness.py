"""The robustness step and shift sets on a small study that is really trained: logits, resuming, one line for
each mistake."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.support.small_cifar10 import small_cifar10

from headstart import store
from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError, StoreError
from headstart.evaluation import robustness
from headstart.evaluation.corruptions import CORRUPTIONS, corrupt
from headstart.evaluation.records import read_arrays, read_corrupted, read_shifted
from headstart.evaluation.robustness import corruption_generator, run_robustness, wanted_robustness
from headstart.evaluation.shift import run_shift
from headstart.predict.predictor import load_predictor
from headstart.results.metrics import accuracy
from headstart.studies.run import run_study
from headstart.types import Robustness, ShiftSet

STUDY = """name = "small"
dataset = "cifar10"
labels_per_class = [20]
seeds = [0, 1]
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "8 epochs", batch_size = 50, widths = [8, 16, 16] }}
[robustness]
images = 30
seed = 1
[[shift_sets]]
name = "elsewhere"
path = "{elsewhere}"
"""


@pytest.fixture(scope="module", autouse=True)
def few_images() -> Iterator[None]:
    with small_cifar10():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study with its robustness step and one shift set: 12 training images as files."""
    base = tmp_path_factory.mktemp("robustness")
    train = load_dataset("cifar10").train
    for label in (0, 3):
        (base / "elsewhere" / train.class_names[label]).mkdir(parents=True)
        for place in (train.labels == label).nonzero()[0][:6]:
            Image.fromarray(train.images[place]).save(
                base / "elsewhere" / train.class_names[label] / f"{place}.png"
            )
    (base / "small.toml").write_text(STUDY.format(elsewhere=base / "elsewhere"))
    return run_study(str(base / "small.toml"), base / "study")


@pytest.fixture
def study(done: Path, tmp_path: Path) -> Path:
    return shutil.copytree(done, tmp_path / "study")


def the_reading(study: Path) -> Path:
    [path] = (study / "robustness").glob("*.json")
    return path


def test_the_step_reads_the_seed_it_is_told_to_on_fixed_images(done: Path) -> None:
    [reading] = read_corrupted(done)
    result = store.read_trial(done / reading.key)
    assert result.seed == 1 and reading.arm == "cnn"
    test = store.read_test(done / reading.key)
    ids = reading.clean.example_ids
    assert len(ids) == len(set(ids.tolist())) == 30 and (np.diff(ids) > 0).all()
    assert (reading.clean.labels == load_dataset("cifar10").test.labels[ids]).all()
    assert reading.clean.logits == pytest.approx(test.logits[ids], abs=0.05)
    assert set(reading.logits) == set(CORRUPTIONS)
    assert all(part.shape == (5, 30, 10) for part in reading.logits.values())


def test_stored_logits_are_the_models_own_of_the_corrupted_images(done: Path) -> None:
    [reading] = read_corrupted(done)
    images = np.array(load_dataset("cifar10").test.images[reading.clean.example_ids])
    model = load_predictor(done / reading.key)
    for name, severity in (("shot_noise", 5), ("fog", 2)):
        spoiled = corrupt(images, name, severity, corruption_generator(1, name, severity))
        assert (model.logits(spoiled) == reading.logits[name][severity - 1]).all()


def test_fewer_images_are_the_first_of_the_same_draw() -> None:
    data = load_dataset("cifar10")
    many, few = (robustness.robustness_ids(data, Robustness(images=n)) for n in (1000, 100))
    assert len(many) == 1000 and set(few) < set(many)
    assert set(robustness.robustness_ids(data, Robustness(images=100, seed=1))) != set(few)


def test_a_finished_step_is_not_run_again(study: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns for path in study.rglob("*") if path.is_file() and path.name != "lock"
    }
    assert run_robustness(study) == 1
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_an_interrupted_step_goes_on_and_ends_with_the_same_logits(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_arrays(the_reading(study).with_suffix(".npz"))
    shutil.rmtree(study / "robustness")
    calls: list[str] = []

    def stopping(images: np.ndarray, name: str, *rest) -> np.ndarray:  # type: ignore[no-untyped-def]
        calls.append(name)
        if name == "impulse_noise":
            raise KeyboardInterrupt
        return corrupt(images, name, *rest)

    monkeypatch.setattr(robustness, "_write_sheet", lambda *given: None)
    monkeypatch.setattr(robustness, "corrupt", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_robustness(study)
    assert read_corrupted(study) == []  # nothing counts as done
    monkeypatch.setattr(
        robustness, "corrupt", lambda images, name, *rest: calls.append(name) or corrupt(images, name, *rest)
    )
    calls.clear()
    run_robustness(study)
    assert not {"gaussian_noise", "shot_noise"} & set(calls) and len(calls) == 5 * 13
    again = read_arrays(the_reading(study).with_suffix(".npz"))
    assert all((again[name] == whole[name]).all() for name in whole if name != "seconds")


def test_other_settings_are_read_anew(study: Path) -> None:
    run_robustness(study, wanted_robustness(study, images=12))
    [reading] = read_corrupted(study)
    assert reading.settings["images"] == len(reading.clean.labels) == 12
    with np.load(study / "robustness" / "sheet.npz") as sheet:
        assert sheet["corrupted"].shape == (15, 5, 2, 32, 32, 3)
        labels = load_dataset("cifar10").test.labels[sheet["ids"]]
    assert labels[0] != labels[1]


def test_what_is_given_replaces_what_the_study_says(study: Path) -> None:
    assert wanted_robustness(study) == Robustness(images=30, seed=1)
    assert wanted_robustness(study, ["cnn"], seed=0) == Robustness(arms=("cnn",), images=30, seed=0)


def test_mistakes_are_one_line(study: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown arm 'cmn' \(did you mean 'cnn'\?\)"):
        run_robustness(study, Robustness(arms=("cmn",)))
    with pytest.raises(StoreError, match="has no finished trial of seed 5 to read; finish the study first"):
        run_robustness(study, Robustness(seed=5))
    with pytest.raises(StoreError, match=r"cannot read .*study\.json"):
        run_robustness(study / "none")


def test_a_model_that_is_not_the_trials_is_refused(study: Path) -> None:
    reading = the_reading(study)
    other = next(
        path.parent for path in study.glob("*/model.safetensors") if path.parent.name != reading.stem
    )
    shutil.copy(other / "model.safetensors", study / reading.stem / "model.safetensors")
    shutil.rmtree(study / "robustness")
    with pytest.raises(
        StoreError, match=r"predicts otherwise than the trial's stored logits on \d+ of 30 clean images"
    ):
        run_robustness(study)


def test_other_images_than_the_studys_are_refused(study: Path) -> None:
    about = store.read_json(study / "study.json")
    about["dataset"]["fingerprint"] = "0" * 64
    store.write_json(study / "study.json", about)
    with pytest.raises(DataError, match="has other images now"):
        run_robustness(study)


def test_a_shift_set_is_read_by_the_lowest_seed(done: Path) -> None:
    [reading] = read_shifted(done)
    assert (reading.set_name, reading.arm, reading.images, reading.classes) == ("elsewhere", "cnn", 12, 2)
    folder = done / reading.key
    result = store.read_trial(folder)
    assert result.seed == 0
    assert reading.test_right / reading.test_images == pytest.approx(result.metrics["test_accuracy"])
    logits = read_arrays(done / "shift" / "elsewhere" / f"{reading.key}.npz")
    assert reading.accuracy.value == pytest.approx(accuracy(logits["logits"], logits["labels"]))


def test_shift_sets_are_added_to_a_finished_study_and_read_again_when_they_change(
    study: Path, tmp_path: Path
) -> None:
    train = load_dataset("cifar10").train
    home = tmp_path / "new"
    home.mkdir()
    np.save(home / "cifar10.1_v6_data.npy", train.images[:40])
    np.save(home / "cifar10.1_v6_labels.npy", train.labels[:40].astype(np.int32))
    assert run_shift(study, ShiftSet(name="new", path=str(home))) == 1
    assert [(each.set_name, each.images) for each in read_shifted(study)] == [("elsewhere", 12), ("new", 40)]
    np.save(home / "cifar10.1_v6_data.npy", train.images[:39])
    np.save(home / "cifar10.1_v6_labels.npy", train.labels[:39].astype(np.int32))
    run_shift(study, ShiftSet(name="new", path=str(home)))
    assert [each.images for each in read_shifted(study)] == [12, 39]
    with pytest.raises(ConfigError, match="give another with --name"):
        run_shift(study, ShiftSet(name="a b", path=str(home)))


def test_commands_read_a_finished_study_and_render_it(photos: Path, tmp_path: Path, headstart) -> None:  # type: ignore[no-untyped-def]
    text = STUDY.split("[robustness]")[0].format().replace('"cifar10"', f'"{photos}"')
    text = text.replace("seeds = [0, 1]", "seeds = [0]").replace("labels_per_class = [20]\n", "")
    (tmp_path / "small.toml").write_text(text.replace("8 epochs", "2 steps").replace("50", "20"))
    study = run_study(str(tmp_path / "small.toml"), tmp_path / "study")
    ran = headstart("robustness", str(study), "--images", "6", "--arms", "cnn")
    assert ran.returncode == 0, ran.stderr
    assert 'id="robustness"' in (study / "report.html").read_text()
    assert [each.settings["images"] for each in read_corrupted(study)] == [6]
    ran = headstart("shift", str(study), str(study))
    assert ran.returncode == 3 and ran.stderr.count("\n") == 1
    assert "none of the study's classes" in ran.stderr


def test_settings_that_a_study_lacks_are_all_arms_at_seed_zero(done: Path, tmp_path: Path) -> None:
    about = store.read_json(done / "study.json")
    del about["robustness"]
    store.write_json(tmp_path / "study.json", about)
    assert wanted_robustness(tmp_path) == replace(Robustness(), images=1000)
