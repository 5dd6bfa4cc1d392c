"""TransferClassifier: scikit-learn's own checks, and that it is the methods themselves."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import validate_data
from tests.support.transfer_trials import random_weights

import headstart
from headstart import TransferClassifier, store
from headstart.data import load_dataset
from headstart.errors import ConfigError
from headstart.predict.predictor import load_predictor
from headstart.predict.saved import find_model
from headstart.studies.run import run_study

SMALL = {
    "model": "resnet18",
    "weights": "none",
    "input_pixels": 32,
    "precision": "fp32",
    "feature_precision": "fp32",
}


class RowsAsImages(TransferClassifier):
    """Paints each row of a table as an image, so that scikit-learn's checks, which know only tables, reach
    all else.

    A value becomes a grey level by one fixed increasing curve; the columns fill the picture in turn, in
    blocks."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = True, False
        return tags

    def _images(self, X: Any, *, reset: bool) -> np.ndarray:
        rows = validate_data(self, X, reset=reset, dtype=np.float64)
        grey = np.rint(255 / (1 + np.exp(-np.clip(rows / 2, -30, 30)))).astype(np.uint8)
        blocks = grey[:, np.arange(16) % grey.shape[1]].reshape(-1, 4, 4)
        return super()._images(np.repeat(blocks.repeat(4, 1).repeat(4, 2)[..., None], 3, axis=3), reset=reset)


def _not_for_images(estimator: Any) -> dict[str, str]:
    """Checks that may fail, and why: the whole list."""
    return {
        "check_methods_subset_invariance": "a network's float32 sums depend in their last bits on how many "
        "images it is "
        "given at once, and frozen features are then rounded to float16: probabilities differ by up to 2e-6, "
        "the check "
        "allows 1e-7 and 1e-4 of the value"
    }


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Features of these tests stay out of the user's cache; dataset and published weights are still found
    there."""
    folder, real = tmp_path_factory.mktemp("cache"), store.cache_folder()
    for part in ("datasets", "weights"):
        (real / part).mkdir(parents=True, exist_ok=True)  # on a fresh machine nothing was fetched yet
        (folder / part).symlink_to(real / part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(folder))
        yield


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """90 real images of 3 classes, and their names."""
    train = load_dataset("cifar10").train
    chosen = np.concatenate([np.flatnonzero(train.labels == label)[:30] for label in (0, 5, 9)])
    return np.asarray(train.images[chosen]), np.array(train.class_names)[train.labels[chosen]]


@parametrize_with_checks(
    [RowsAsImages("linear_probe", **SMALL, recipe_changes={"l2_values": (1.0, 0.01)})],  # type: ignore[arg-type]
    expected_failed_checks=_not_for_images,
    xfail_strict=False,
)
@pytest.mark.usefixtures("narrow_resnets")
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_scikit_learn_is_told_that_tables_are_not_taken() -> None:
    with pytest.warns(SkipTestWarning, match="Can't test estimator TransferClassifier which requires input"):
        check_estimator(TransferClassifier())


METHODS = {
    "linear_probe": {},
    "knn": {},
    "partial": {"duration": "2 steps"},
    "finetune": {"duration": "2 steps"},
    "lp_ft": {"duration": "2 steps"},
    "scratch": {"duration": "4 steps", "widths": (8, 8, 8), "batch_size": 32},
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.usefixtures("narrow_resnets")
def test_every_method_fits_predicts_clones_pickles_and_saves(
    method: str, images: Any, tmp_path: Path
) -> None:
    x, y = images
    given: dict[str, Any] = (
        {"model": "cnn"} if method == "scratch" else SMALL | {"weights": random_weights(tmp_path)}
    )
    model = TransferClassifier(method, recipe_changes=METHODS[method], **given)
    assert model.fit(x, y) is model
    assert model.classes_.tolist() == ["airplane", "dog", "truck"]
    found = model.predict_proba(x[:10])
    assert found.shape == (10, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert (model.predict(x[:10]) == model.classes_[found.argmax(1)]).all()
    assert model.score(x, y) == np.mean(model.predict(x) == y)
    again = clone(model)
    assert not hasattr(again, "predictor_") and again.get_params() == model.get_params()
    np.testing.assert_array_equal(
        again.fit(x, y).predict_proba(x[:10]), found
    )  # the same seed, the same bits
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(x[:10]), found)
    folder = model.predictor_.save(tmp_path / "saved")
    np.testing.assert_array_equal(load_predictor(folder).probabilities(x[:10]), found)


STUDY = """name = "same"
dataset = "{photos}"
phase = "refit"
[[arms]]
name = "cnn"
model = "cnn"
method = "scratch"
recipe_changes = {{ duration = "6 steps", batch_size = 16, widths = [8, 16, 16] }}
[[arms]]
name = "probe"
model = "resnet50"
weights = "imagenet-keras"
method = "linear_probe"
input_pixels = 64
recipe_changes = {{ l2_values = [0.1] }}
"""


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_evaluation_predict_and_the_estimator_agree_to_the_bit(
    photos: Path, tmp_path: Path, precision: str
) -> None:
    """The same images, labels, recipe, seed, precision and batch size, by three roads."""
    asked = f'precision = "{precision}"\nfeature_precision = "{precision}"\n'
    (tmp_path / "same.toml").write_text(asked + STUDY.format(photos=photos))
    study = run_study(str(tmp_path / "same.toml"), tmp_path / "runs")
    data = load_dataset(photos)
    names = np.array(data.train.class_names)
    options = {"precision": precision, "feature_precision": precision}
    short = {"duration": "6 steps", "batch_size": 16, "widths": (8, 16, 16)}
    estimators = {
        "cnn": TransferClassifier("scratch", recipe_changes=short, **options),
        "probe": TransferClassifier(input_pixels=64, recipe_changes={"l2_values": (0.1,)}, **options),
    }
    for arm, estimator in estimators.items():
        folder = find_model(study, arm)
        stored = store.read_test(folder).logits
        np.testing.assert_array_equal(load_predictor(folder).logits(data.test.images), stored)
        estimator.fit(data.train.images, names[data.train.labels])
        np.testing.assert_array_equal(estimator.predictor_.logits(data.test.images), stored)


@pytest.mark.usefixtures("narrow_resnets")
def test_paths_and_arrays_of_the_same_pictures_are_the_same(photos: Path) -> None:
    paths = sorted(photos.glob("*/*.png"))[::4]
    labels = [path.parent.name for path in paths]
    model = TransferClassifier(image_pixels=32, **SMALL).fit(paths, labels)
    from PIL import Image

    arrays = np.stack([np.asarray(Image.open(path)) for path in paths])
    other = TransferClassifier(**SMALL).fit(arrays, labels)
    np.testing.assert_array_equal(
        model.predict_proba([str(path) for path in paths]), other.predict_proba(arrays)
    )
    np.testing.assert_array_equal(model.predict(pd.Series(paths)), other.predict(arrays))


def test_no_image_but_those_given_is_read(
    images: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen layers run once over X: a test set, even a stand-in, would leave features of its own, and of its
    mirror images."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    TransferClassifier(**SMALL).fit(*images)
    (folder,) = (tmp_path / "features").iterdir()
    assert (folder / "values.f16").stat().st_size == 90 * 512 * 2  # images, a ResNet-18's features, bytes


@pytest.mark.usefixtures("narrow_resnets")
def test_it_can_be_cross_validated_and_searched(images: Any) -> None:
    x, y = images
    scores = cross_val_score(TransferClassifier(**SMALL), x, y, cv=3)
    assert (
        scores.shape == (3,) and scores.mean() > 0.34
    )  # random features of real images are better than chance
    search = GridSearchCV(TransferClassifier(**SMALL), {"method": ["knn", "linear_probe"]}, cv=2).fit(x, y)
    assert search.best_params_["method"] in ("knn", "linear_probe") and search.predict(x).shape == (90,)


def test_a_pretrained_probe_learns_real_classes_from_thirty_images_each(images: Any) -> None:
    x, y = images
    test = load_dataset("cifar10").train
    held = np.concatenate([np.flatnonzero(test.labels == label)[100:130] for label in (0, 5, 9)])
    model = headstart.TransferClassifier(input_pixels=64).fit(x, y)
    assert model.predictor_.saved.architecture["model"] == "resnet50"
    assert model.score(np.asarray(test.images[held]), np.array(test.class_names)[test.labels[held]]) > 0.8
    assert set(model.selected_) >= {"l2"} and len(model.selected_["validation_accuracy_by_l2"]) == 10


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.zeros((4, 8)),
            r"X is an array float64 \(4, 8\); expected images uint8 \(N, S, S, 3\), RGB and square",
        ),
        (np.zeros((4, 8, 9, 3), np.uint8), r"expected images uint8 \(N, S, S, 3\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), "X holds no image"),
        (np.zeros((4, 8, 8), np.uint8), r"; X = np.repeat\(X\[..., None\], 3, axis=3\)$"),
        (np.zeros((4, 8, 8, 1), np.uint8), r"; X = np.repeat\(X, 3, axis=3\)$"),
        (np.zeros((4, 3, 8, 8), np.uint8), r"; X = X.transpose\(0, 2, 3, 1\)$"),
        (np.zeros((4, 8, 8, 4), np.uint8), r"; X = X\[..., :3\]$"),
        (np.zeros((4, 8, 8, 3)), r"; X = \(255 \* X\).round\(\).astype\(np.uint8\)$"),
        (np.full((4, 8, 8, 3), 200), r"; X = X.astype\(np.uint8\)$"),
        (np.zeros((4, 3, 8, 8)), r"X = X.transpose\(0, 2, 3, 1\); X = \(255 \* X\)"),
        (["missing.png"] * 4, r"4 of 4 images cannot be read, the first: missing\.png cannot be read"),
        ([1, 2, 3, 4], "expected images uint8 .N, S, S, 3. or a list of paths"),
        ("folder", "X is str"),
    ],
)
def test_what_is_no_image_is_refused(x: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransferClassifier(**SMALL).fit(x, ["a", "b", "a", "b"])


@pytest.mark.usefixtures("narrow_resnets")
def test_other_mistakes_are_refused(images: Any) -> None:
    x, y = images
    with pytest.raises(ValueError, match="X has 90 images and y 80 labels"):
        TransferClassifier(**SMALL).fit(x, y[:80])
    with pytest.raises(ValueError, match="y holds one class, 'dog'"):
        TransferClassifier(**SMALL).fit(x, ["dog"] * 90)
    with pytest.raises(NotFittedError):
        TransferClassifier().predict(x)
    with pytest.raises(ConfigError, match="unknown method 'prob'"):
        TransferClassifier("prob").fit(x, y)
    with pytest.raises(ConfigError, match="method 'finetune' needs pretrained weights"):
        TransferClassifier("finetune", **SMALL).fit(x, y)
    fitted = TransferClassifier(**SMALL).fit(x, y)
    with pytest.raises(
        ValueError, match="X holds images of 16 x 16 pixels; this classifier learned from 32 x 32"
    ):
        fitted.predict(x[:, ::2, ::2])


_BATCH = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
_BATCH[0, 0, :2] = [[0, 0, 0], [255, 255, 255]]  # so that the extremes are those of the type


@pytest.mark.parametrize(
    ("x", "meant"),
    [
        (_BATCH.astype(np.uint16) * 257, _BATCH),
        ((_BATCH / 127.5 - 1).astype(np.float32), _BATCH),
        (_BATCH.astype(np.float64), _BATCH),
        (_BATCH > 100, np.uint8(255) * (_BATCH > 100)),
        (_BATCH[0], _BATCH[:1]),
        (_BATCH[..., :2], _BATCH[..., [0, 0, 0]]),
        (_BATCH.reshape(4, -1), _BATCH),
        (_BATCH[..., 0].reshape(4, -1), _BATCH[..., [0, 0, 0]]),
        (_BATCH[:, :5], _BATCH[:, :5, 1:6]),
        (_BATCH[0, :, 2:], _BATCH[:1, 1:7, 2:]),
        ((_BATCH / 255).transpose(0, 3, 1, 2), _BATCH),
        (list(_BATCH), _BATCH),
        ([PIL.Image.fromarray(image) for image in _BATCH], _BATCH),
        (torch.from_numpy(_BATCH), _BATCH),
    ],
)
def test_the_line_that_mends_x_gives_the_images_that_were_meant(x: Any, meant: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"; X = ") as error:
        TransferClassifier(**SMALL).fit(x, ["a", "b", "a", "b"])
    names = {"X": x, "np": np}
    for line in str(error.value).split("; X = ")[1:]:
        exec(f"X = {line}", names)
    assert names["X"].dtype == np.uint8 and np.array_equal(names["X"], meant)


@pytest.mark.parametrize("x", [(path for path in ("a.png", "b.png")), np.array([["a.png"], ["b.png"]])])
def test_the_line_that_mends_paths_gives_a_list_of_them(x: Any) -> None:
    with pytest.raises(ValueError, match=r"; X = ") as error:
        TransferClassifier(**SMALL).fit(x, ["a", "b"])
    names = {"X": x, "np": np}
    exec(str(error.value).rpartition("; ")[2], names)
    assert list(names["X"]) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("y", "kinds"), [(["a", None, "b", "a"], "NoneType, str"), ([1, "a", 1, "a"], "number, str")]
)
def test_labels_of_several_kinds_are_refused(y: list[Any], kinds: str) -> None:
    with pytest.raises(ValueError, match=rf"y holds labels of several kinds \({kinds}\); give text only"):
        TransferClassifier(**SMALL).fit(_BATCH, np.array(y, object))
