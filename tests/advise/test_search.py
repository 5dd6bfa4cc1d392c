"""Cross-validated candidates: every image is judged by a model that has not seen it, and the final model has
seen all of them."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.advise import folds, images
from headstart.advise.command import Wishes, advise, backbones_of
from headstart.advise.folds import FoldReader
from headstart.advise.rung import Rung
from headstart.advise.search import Search
from headstart.advise.timekeeper import Timekeeper
from headstart.data import load_dataset, load_images
from headstart.data.arrays import dataset as make_dataset
from headstart.data.arrays import image_set
from headstart.data.folders import DEFAULT_OPTIONS, SourceOptions
from headstart.errors import ConfigError
from headstart.recipes import ProbeRecipe


@pytest.mark.slow
def test_the_expected_accuracy_holds_on_5000_other_images(tmp_path: Path) -> None:
    """10 x 300 CIFAR-10 training images as PNG; 10 x 500 other training images lie within the interval that
    advise states, and the minutes are kept."""
    import headstart
    from headstart.data.as_folder import write_image_folder

    minutes = float(os.environ.get("HEADSTART_ADVISE_MINUTES", "10"))
    train = load_dataset("cifar10").train
    photos = write_image_folder(train, tmp_path / "photos", per_class=300)
    others = np.concatenate([np.flatnonzero(train.labels == label)[300:800] for label in range(10)])
    found = advise(photos, minutes=minutes, out=tmp_path / "out")
    predictor = headstart.load_predictor(found.model)
    order = {name: label for label, name in enumerate(predictor.class_names)}
    labels = np.array([order[train.class_names[label]] for label in train.labels[others]])
    right = float((predictor.probabilities(np.array(train.images[others])).argmax(axis=1) == labels).mean())
    print(f"{found.sentence()}\non {len(others):,} others: {right:.4f}; {found.spent_seconds:.0f} s")
    assert found.interval[0] <= right <= found.interval[1]
    assert found.spent_seconds <= 60 * minutes + 30


def test_every_image_is_judged_once_by_a_model_that_has_not_learned_from_it(
    advised: Path, photos: Path
) -> None:
    dataset = load_dataset(advised / "all-images.toml")
    reader = FoldReader(dataset, str(advised / "all-images.toml"), advised)
    assert len(dataset.train) == 120 and len(dataset.test) == 0
    judged = np.concatenate([reader.ids(fold)[1] for fold in range(5)])
    assert sorted(judged) == list(range(120))
    for fold in range(5):
        learned, held = reader.ids(fold)
        assert not set(learned) & set(held)
        assert np.bincount(dataset.train.labels[held]).tolist() == [8, 8, 8]


def test_images_that_belong_together_are_in_one_fold() -> None:
    train = image_set(np.zeros((60, 8, 8, 3), np.uint8), np.repeat([0, 1], 30), ("a", "b"))
    grouped = dataclasses.replace(train, groups=np.arange(60) // 3)
    empty = image_set(train.images[:0], train.labels[:0], train.class_names)
    reader = FoldReader(make_dataset("x", "x", "x", grouped, empty), "x", Path("unused"))
    for group in range(20):
        assert len(set(reader.fold_of[grouped.groups == group])) == 1


def test_the_accuracy_is_that_of_held_out_images_and_the_model_has_learned_from_all(advised: Path) -> None:
    written = json.loads((advised / "advice.json").read_text())
    assert written["how"] == "folds" and written["refitted"] is True
    assert written["test_images"] == 120 and written["train_images"] == 120
    assert [row["images"] for row in written["classes"]] == [40, 40, 40]
    low, high = written["interval"]
    assert low < written["accuracy"] < high
    assert "an estimate from held-out images" in (advised / "advice.md").read_text()


def test_the_first_answer_comes_after_one_fold(advised: Path) -> None:
    events = [json.loads(line) for line in (advised / "events.jsonl").read_text().splitlines()]
    said = [each for each in events if each["kind"] == "accuracy_so_far"]
    assert [each["images"] for each in said if each["candidate"] == "probe"][:2] == [24, 120]


def test_the_probe_and_the_cnn_are_always_tried(advised: Path) -> None:
    """0.1 minutes are over before the first answer; both ways are compared all the same."""
    names = [each["name"] for each in json.loads((advised / "advice.json").read_text())["tries"]]
    assert names[:3] == ["knn", "probe", "cnn"]


def test_the_head_of_a_fold_is_that_of_a_model_fitted_without_its_images(advised: Path) -> None:
    """By an independent implementation: scikit-learn, with the L2 that the folds inside have chosen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    from headstart.methods.frozen import backbone_layers
    from headstart.models.features import FeatureRequest
    from headstart.studies.fit import fit, make_fold_context

    dataset = load_dataset(advised / "all-images.toml")
    reader = FoldReader(dataset, str(advised / "all-images.toml"), advised)
    plan = json.loads((advised / "plan.json").read_text())
    rung = next(Rung(**each) for each in plan["rungs"] if each["name"] == "probe")
    rung = dataclasses.replace(rung, hurried=False)
    learned, held = reader.ids(2)
    trial = reader.trial(rung, learned)
    fitted = fit(trial, reader.dataset, advised, reader.device, ids=(learned, held))
    context = make_fold_context(trial, reader.dataset, (learned, held), advised, reader.device)
    values = FeatureRequest(layers=backbone_layers(context), images=dataset.train).extract().features.values
    points, labels = np.asarray(values, np.float64), dataset.train.labels
    l2 = fitted.selected["l2"]
    peer = make_pipeline(
        Normalizer(), LogisticRegression(C=1 / (l2 * len(learned)), tol=1e-8, max_iter=5000)
    ).fit(points[learned], labels[learned])
    said = reader.read(rung, 2).logits.argmax(axis=1)
    assert (said == peer.predict(points[held])).mean() > 0.95
    stored = reader.read(rung, 2).logits  # of a process that had other threads
    np.testing.assert_allclose(fitted.outcome.predictions["val"].logits, stored, rtol=1e-3, atol=1e-3)


def test_the_same_command_reads_what_it_has_and_fits_no_candidate_twice(
    advised: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads((advised / "advice.json").read_text())
    fit = folds.fit

    def fit_on_all(*arguments, ids, **options):
        assert len(ids[1]) == 0, "a fold was fitted again"
        return fit(*arguments, ids=ids, **options)

    monkeypatch.setattr(folds, "fit", fit_on_all)
    again = advise(photos, minutes=0.1, out=advised)
    assert [each.name for each in again.tries] == [each["name"] for each in before["tries"]]
    assert again.accuracy == before["accuracy"]


def test_the_pages_show_candidates_with_intervals_and_mistakes(advised: Path) -> None:
    page = (advised / "advice.html").read_text()
    written = json.loads((advised / "advice.json").read_text())
    assert page.count("<svg") >= 1 and "95 % interval" in page.replace("\u00a0", " ")
    wrong = round(120 * (1 - written["accuracy"]))
    assert wrong > 0 and page.count("<img") >= wrong
    assert not (advised / "report.html").exists()
    assert "| candidate | input px | accuracy |" in (advised / "advice.md").read_text()


def test_a_users_own_test_split_is_never_fitted_on(photos: Path, tmp_path: Path) -> None:
    import shutil

    import headstart

    for part, places in (("train", range(30)), ("test", range(30, 40))):
        for home in photos.iterdir():
            target = tmp_path / "split" / part / home.name
            target.mkdir(parents=True)
            for place in places:
                shutil.copy(home / f"{place:03d}.png", target)
    wishes = Wishes(began=time.monotonic() - 100)  # of starting the program, say
    found = advise(tmp_path / "split", minutes=0.02, out=tmp_path / "out", wishes=wishes)
    assert found.spent_seconds > 100 and "more than the 1 s asked for" in found.cost()
    assert found.how == "own test" and found.test_images == 30 and found.train_images == 90
    dataset = load_dataset(tmp_path / "out" / "images.toml")
    predictor = headstart.load_predictor(found.model)
    right = predictor.probabilities(np.array(dataset.test.images)).argmax(axis=1) == dataset.test.labels
    assert found.accuracy == right.mean()


def test_of_many_images_a_fifth_is_judged_and_the_model_learns_from_all(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "FOLDS_UP_TO", 100)
    found = advise(photos, minutes=0.02, out=tmp_path / "out")
    assert found.how == "fifth" and found.test_images == 24
    assert found.refitted and found.train_images == 120
    assert {each.folds for each in found.tries} == {1}
    assert "fitted anew on all 120 images" in found.learned() and "a fifth, judged by" in found.learned()
    pages = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"all-images.toml", "model", "advice.html"} <= pages and "report.html" not in pages


def test_in_a_hurry_a_head_takes_the_usual_l2() -> None:
    rung = Rung(name="probe", label="", method="linear_probe", pixels=64, hurried=True)
    recipe = rung.arm("x").recipe
    assert isinstance(recipe, ProbeRecipe) and recipe.l2_values == (recipe.default_l2,)


def test_a_hurried_head_is_fitted_properly_where_there_are_more_minutes(photos: Path, tmp_path: Path) -> None:
    mine = images.prepare_images(photos, tmp_path, DEFAULT_OPTIONS, "few", hold_out=False)
    search = Search(mine, tmp_path, time=Timekeeper(minutes=600), balance=False)
    planned = Rung(name="probe", label="", method="linear_probe", pixels=64, hurried=True)
    search.plan["probe"] = planned
    search._first_answer()
    assert not search.plan["probe"].hurried


def test_backbones_are_named_with_or_without_their_weights() -> None:
    assert backbones_of(["resnet50=imagenet-keras", "efficientnet-lite0"]) == (
        ("resnet50", "imagenet-keras"),
        ("efficientnet-lite0", "default"),
    )
    assert backbones_of(None) == Wishes().backbones
    with pytest.raises(ConfigError, match="resnet5"):
        backbones_of(["resnet5"])


def test_nothing_is_held_out_where_that_is_asked_for(photos: Path) -> None:
    whole = load_images(photos, options=SourceOptions(hold_out=False))
    parts = load_images(photos)
    assert len(whole.train) == 120 and len(whole.test) == 0
    assert len(parts.train) == 96 and len(parts.test) == 24
