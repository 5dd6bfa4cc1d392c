"""Data health: planted copies and wrong labels are found, kept, shown, and never looked for twice."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from tests.support import transfer_trials
from tests.support.narrow import narrow
from tests.support.synthetic_study import write_synthetic_study

from headstart import report, store
from headstart.data import load_dataset
from headstart.data.arrays import dataset, image_set
from headstart.data_quality import dataset as examination
from headstart.data_quality.dataset import Backbone, backbone_of, examine_into, require_same_data
from headstart.data_quality.record import (
    EXACT,
    FEATURES,
    PERCEPTUAL,
    Health,
    Pairs,
    Suspects,
    read_health,
    shown_pairs,
    shown_places,
    write_health,
)
from headstart.errors import DataError, StoreError
from headstart.store import StoredArm
from headstart.types import Dataset


def planted() -> Dataset:
    """90 training and 30 test images of three classes, all different but for what is planted:

    test 3 is train 10, byte for byte; test 7 is train 20, a little brighter; test 8 is train 21 mirrored;
    train 80 is train 30 under another label; test 12 and test 13 are one image."""
    whole = transfer_trials.tiny_dataset(train=90, test=30)
    train, test = whole.train.images.copy(), whole.test.images.copy()
    train_labels, test_labels = whole.train.labels.copy(), whole.test.labels.copy()
    for to, of in ((3, 10), (7, 20), (8, 21)):
        test[to], test_labels[to] = train[of], train_labels[of]
    test[7] = np.clip(test[7] * 0.9 + 20, 0, 255).astype(np.uint8)
    test[8] = test[8][:, ::-1]
    train[80], train_labels[80] = train[30], (train_labels[30] + 1) % 3
    test[13], test_labels[13] = test[12], test_labels[12]
    names = whole.train.class_names
    return dataset(
        "tiny", "Tiny", "CIFAR-10", image_set(train, train_labels, names), image_set(test, test_labels, names)
    )


RANDOM_NETWORK = ((-0.9, 0.97),)  # whose features say little: here the aligned images decide


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> tuple[Health, Path, Backbone, Dataset]:
    """An examination by a random, narrow ResNet-18 and the probe on it."""
    pytest.importorskip("cleanlab")
    data = planted()
    folder = tmp_path_factory.mktemp("health")
    with narrow(8), pytest.MonkeyPatch.context() as patch:
        weights = transfer_trials.random_weights(folder)
        backbone = Backbone(model="resnet18", weights=weights, input_pixels=32, precision="fp32")
        patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(examination, "ALIKE", RANDOM_NETWORK)
        return examine_into(folder / "found", data, backbone), folder / "found", backbone, data


def ways(health: Health) -> dict[tuple[int, int], int]:
    return {
        (int(a), int(b)): int(by) for (a, b), by in zip(health.pairs.places, health.pairs.by, strict=True)
    }


def test_planted_copies_are_found_and_by_which_way(examined: tuple) -> None:
    found = ways(examined[0])
    assert found[10, 93] == found[30, 80] == found[102, 103] == EXACT | PERCEPTUAL | FEATURES
    assert found[20, 97] & PERCEPTUAL and not found[20, 97] & EXACT
    assert found[21, 98] == FEATURES  # bytes and hashes do not know mirrors
    assert set(found) == {(10, 93), (20, 97), (21, 98), (30, 80), (102, 103)}


def test_counts_name_what_is_where(examined: tuple) -> None:
    counts = examined[0].counts()
    assert [counts[where]["exact"] for where in ("across", "test", "train")] == [1, 1, 1]
    assert [counts[where]["perceptual"] for where in ("across", "test", "train")] == [2, 1, 1]
    assert [counts[where]["two_labels"] for where in ("across", "test", "train")] == [0, 0, 1]
    assert examined[0].affected_test_ids().tolist() == [3, 7, 8]
    assert examined[0].affected_test_ids(EXACT).tolist() == [3]


def test_labels_are_judged_by_a_probe_that_saw_no_copy(examined: tuple) -> None:
    suspects, labels = examined[0].suspects, examined[3].train.labels
    assert suspects is not None and 0 < len(suspects) < 60
    np.testing.assert_array_equal(suspects.given, labels[suspects.ids])
    assert (suspects.given != suspects.suggested).all()
    assert (suspects.given_probability < suspects.suggested_probability).all()
    # One of the two labels of the one picture is wrong, and its copy was not there to defend it.
    assert {30, 80} & set(suspects.ids.tolist())


def test_the_same_data_is_examined_once(examined: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    health, folder, backbone, data = examined
    monkeypatch.setattr(examination, "ALIKE", RANDOM_NETWORK)
    before = (folder / "health.json").read_bytes()
    monkeypatch.setattr(examination, "examine", lambda *_: pytest.fail("examined again"))
    again = examine_into(folder, data, backbone)
    assert (folder / "health.json").read_bytes() == before
    np.testing.assert_array_equal(again.pairs.places, health.pairs.places)
    monkeypatch.setattr(examination, "ALIKE", ((0.98, 0.65),))
    with pytest.raises(pytest.fail.Exception, match="examined again"):
        examine_into(folder, data, backbone)


def test_what_is_shown_has_its_pixels(examined: tuple) -> None:
    health, folder, _, data = examined
    read = read_health(folder)
    assert read is not None and set(read.images) == set(shown_places(health).tolist())
    np.testing.assert_array_equal(read.images[93], data.test.images[3])
    page = report.write_health_page(folder, read).read_text()
    assert page.count("<img") >= 8 and "train 10" in page and "test 3" in page


def test_a_study_uses_the_backbone_of_its_own_probe() -> None:
    arm = {
        "name": "a",
        "model": "resnet50",
        "weights": "imagenet-keras",
        "input_pixels": 128,
        "method": "knn",
    }
    scratch = dict(arm, method="scratch", weights="none")
    stored = [scratch, arm, dict(arm, method="linear_probe", input_pixels=96)]
    arms = [StoredArm.from_stored(each) for each in stored]
    assert backbone_of(arms, "fp32") == Backbone(
        model="resnet50", weights="imagenet-keras", input_pixels=96, precision="fp32"
    )
    assert backbone_of(arms[:1]).input_pixels == 96


def test_without_weights_hashes_alone_speak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headstart.errors import DownloadError

    def offline(*_: object, **__: object) -> None:
        raise DownloadError("no network")

    data = planted()
    monkeypatch.setattr("headstart.models.load_model", offline)
    backbone = Backbone(model="resnet50", weights="imagenet-keras", input_pixels=96, precision="fp32")
    health = examine_into(tmp_path, data, backbone)
    assert set(ways(health)) == {(10, 93), (20, 97), (30, 80), (102, 103)}
    assert health.suspects is None and np.isnan(health.pairs.similarity).all()
    page = report.write_health_page(tmp_path, health).read_text()
    assert "the network&#39;s weights were not to be had" in page and "Labels were not checked" in page


# ---------------------------------------------------------------- the record and the report


def made_up(fingerprint: str = "9f" * 32) -> Health:
    """Of 100 training and 40 test images: tests 0, 5 and 6 are in train; train 1, 2 and 3 are one image."""
    places = np.array([[1, 2], [2, 3], [4, 100], [5, 105], [6, 105], [7, 106], [110, 111]])
    labels = np.array([[0, 0], [0, 1], [2, 2], [3, 3], [3, 3], [4, 5], [6, 6]])
    by = np.array(
        [EXACT | PERCEPTUAL, PERCEPTUAL, EXACT, FEATURES, FEATURES, PERCEPTUAL | FEATURES, FEATURES], np.uint8
    )
    similarity = np.array([1, 0.97, 1, 0.91, 0.95, 0.99, 0.93], np.float32)
    distance = np.array([0, 4, 0, 30, 20, 3, 25], np.uint8)
    pairs = Pairs(places=places, labels=labels, by=by, distance=distance, similarity=similarity)
    suspects = Suspects(
        ids=np.array([9, 3]),
        given=np.array([0, 1]),
        suggested=np.array([2, 0]),
        given_probability=np.array([0.01, 0.02], np.float32),
        suggested_probability=np.array([0.98, 0.9], np.float32),
    )
    settings = {
        "features": {"model": "resnet50", "weights": "imagenet-keras", "input_pixels": 96},
        "max_distance": 10,
        "min_correlation": 0.95,
        "alike": [[0.9, 0.65], [0.85, 0.85]],
        "labels": {"folds": 5},
    }
    described = {
        "name": "cifar10",
        "title": "CIFAR-10",
        "fingerprint": fingerprint,
        "train_images": 100,
        "test_images": 40,
        "class_names": [f"c{i}" for i in range(10)],
    }
    health = Health(dataset=described, settings=settings, pairs=pairs, suspects=suspects, seconds=1.0)
    rng = np.random.default_rng(0)
    return dataclasses.replace(
        health,
        images={
            int(place): rng.integers(0, 256, (32, 32, 3)).astype(np.uint8) for place in shown_places(health)
        },
    )


def test_pairs_are_counted_by_hand() -> None:
    health = made_up()
    assert health.counts() == {
        "across": {"exact": 1, "perceptual": 1, "features": 3, "pairs": 4, "two_labels": 1, "images": 3},
        "test": {"exact": 0, "perceptual": 0, "features": 1, "pairs": 1, "two_labels": 0, "images": 1},
        "train": {"exact": 1, "perceptual": 2, "features": 0, "pairs": 2, "two_labels": 1, "images": 2},
    }
    assert health.affected_test_ids().tolist() == [0, 5, 6]
    assert health.affected_test_ids(EXACT).tolist() == [0]
    shown = shown_pairs(health)
    assert shown["surest"].tolist() == [2, 5, 4, 3] and shown["edge"].tolist() == []
    assert shown["two_labels"].tolist() == [5, 1]


def test_the_edge_shows_the_least_alike_of_each_way() -> None:
    """20 pairs across, ever less alike; the even ones found by hashes too."""
    count = 20
    pairs = Pairs(
        places=np.stack([np.arange(count), 100 + np.arange(count)], axis=1),
        labels=np.zeros((count, 2), np.int64),
        by=np.where(np.arange(count) % 2 == 0, PERCEPTUAL | FEATURES, FEATURES).astype(np.uint8),
        distance=np.zeros(count, np.uint8),
        similarity=np.linspace(0.99, 0.86, count, dtype=np.float32),
    )
    shown = shown_pairs(dataclasses.replace(made_up(), pairs=pairs))
    assert shown["surest"].tolist() == list(range(12))
    assert shown["edge"].tolist() == [18, 16, 14, 12, 19, 17, 15, 13]


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    health = made_up()
    write_health(tmp_path, health)
    read = read_health(tmp_path)
    assert read is not None and read.counts() == health.counts() and read.settings == health.settings
    np.testing.assert_array_equal(read.pairs.similarity, health.pairs.similarity)
    assert read.suspects is not None and read.suspects.ids.tolist() == [9, 3]
    assert set(read.images) == set(health.images)
    assert json.loads((tmp_path / "health.json").read_text())["affected_test_ids"] == [0, 5, 6]
    assert read_health(tmp_path / "elsewhere") is None
    (tmp_path / "health.npz").write_bytes(b"PK damaged")
    with pytest.raises(StoreError, match=r"cannot read .*health\.npz.*examine the data again with"):
        read_health(tmp_path)


def test_a_record_without_labels_and_pairs_is_one_too(tmp_path: Path) -> None:
    empty = Pairs(
        places=np.zeros((0, 2), np.int64),
        labels=np.zeros((0, 2), np.int64),
        by=np.zeros(0, np.uint8),
        distance=np.zeros(0, np.uint8),
        similarity=np.zeros(0, np.float32),
    )
    write_health(tmp_path, dataclasses.replace(made_up(), pairs=empty, suspects=None, images={}))
    read = read_health(tmp_path)
    assert read is not None and read.suspects is None and len(read.pairs) == 0
    assert "None of the 40 test images was found" in report.write_health_page(tmp_path, read).read_text()


def test_the_report_reads_every_arm_again_without_the_copies(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", test_images=40, seeds=2, claims=False)
    without = report.write_report(folder).read_text()
    assert 'id="health"' not in without
    write_health(folder, made_up())
    html = report.write_report(folder).read_text()
    rows = []
    for arm in ("cnn", "probe"):
        trials = [trial.folder for trial in store.finished_trials(folder) if trial.arm.name == arm]
        trials = trials[:1] if arm == "probe" else trials  # at all labels every seed of a probe is the same
        shares = []
        for path in trials:
            with np.load(path / "predictions.npz") as stored:
                hits = stored["test_logits"].argmax(1) == stored["test_labels"]
            shares.append(np.delete(hits, [0, 5, 6]).mean())
        rows.append(f"{100 * np.mean(shares):.2f}\u202f%")
    section = html[html.index('id="health"') : html.index('id="health-labels"')]
    assert all(row in section for row in rows)
    assert "3 of 40 test images (7.50\u202f%) are in the training set too" in section.replace("\u00a0", " ")
    assert 'href="#health"' in html


def test_an_examination_of_other_data_is_not_shown(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", test_images=40, claims=False)
    write_health(folder, made_up("00" * 32))
    assert 'id="health"' not in report.write_report(folder).read_text()


def test_a_study_of_other_data_is_refused(tmp_path: Path) -> None:
    folder = write_synthetic_study(tmp_path / "study", test_images=40, claims=False)
    with pytest.raises(DataError, match=r"holds a study of CIFAR-10, not of Tiny; give another --out"):
        require_same_data(folder, planted())
    assert require_same_data(tmp_path, planted()) is None


def test_a_study_with_the_key_examines_its_data_and_extracts_nothing_twice(
    headstart, photos: Path, tmp_path: Path
) -> None:
    load_dataset("cifar10")
    cache = tmp_path / "cache"
    weights = transfer_trials.random_weights(tmp_path)
    (tmp_path / "mine.toml").write_text(f"""name = "mine"
dataset = "{photos}"
data_health = true
feature_precision = "fp32"
[[arms]]
name = "probe"
model = "resnet18"
weights = "{weights}"
method = "linear_probe"
input_pixels = 32
recipe_changes = {{ l2_values = [0.1] }}
""")
    done = headstart("study", "mine.toml", "--out", "out", HEADSTART_CACHE=str(cache))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "health.json").is_file()
    assert 'id="health"' in (tmp_path / "out" / "report.html").read_text()
    assert (
        len(list(cache.glob("features/*/meta.json"))) == 3
    )  # training, test, mirrored test: the probe's own
    again = headstart("data", "health", str(photos), "--out", "out", HEADSTART_CACHE=str(cache))
    assert again.returncode == 0, again.stderr
    assert "across train and test" in again.stdout and "report.html" in again.stdout
    assert len(list(cache.glob("features/*/meta.json"))) == 3
