"""headstart.TransferClassifier: the methods as a scikit-learn classifier of images."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Tags, assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from headstart.data.arrays import dataset, image_set
from headstart.methods import method_spec
from headstart.methods.arms import check_arm
from headstart.models import model_spec, preprocessing_of, resolve_weights
from headstart.models.weight_names import is_url
from headstart.predict.files import read_squares
from headstart.predict.predictor import Predictor
from headstart.recipes import recipe_named, with_changes
from headstart.runtime.mapped import IndexedRows
from headstart.runtime.precision import default_device, resolve_feature_precision, resolve_precision
from headstart.studies.fit import fit
from headstart.types import ALL_LABELS, Arm, LabelBudget, Trial

# images: fewer make too small a validation set, so folds choose (one solver run each, on cached features)
FOLDS_BELOW = 2000


class TransferClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier of images by one of Headstart's methods, with scikit-learn's interface.

    X is an array uint8 (N, S, S, 3), RGB, or a list of N paths of image files; y holds N labels of any kind.

    Examples:
        >>> images, labels = dataset.train.images[:60], dataset.train.labels[:60] % 2
        >>> probe = headstart.TransferClassifier(input_pixels=32).fit(images, labels)
        >>> probe.predict(images).shape
        (60,)

    Parameters
    ----------
    method: "linear_probe", "knn", "partial", "finetune", "lp_ft" or "scratch": see `headstart list`.
    model: a network's name; None: "cnn" for method "scratch", else "resnet50". weights: the name of published
        weights, a file or a URL; "default": the model's first ones, none for "scratch".
    image_pixels: side that images given as paths are resized to (their middle square); None: the network's
        input. Arrays keep their own size. input_pixels: side of the network's input; None: as its weights
        were trained (of the CNN: image_pixels).
    recipe: the name of a recipe; None: the method's default. recipe_changes: fields to replace, e.g.
        {"duration": "3 epochs"}.
    seed: of everything random. precision, feature_precision: "auto", "bf16" or "fp32" (features also "int8").

    Attributes
    ----------
    classes_: the labels, sorted, in the order of predict_proba's columns. predictor_: the
    headstart.predict.Predictor that answers; predictor_.save(FOLDER) writes a model for `headstart predict`,
    `explain` and `export`. selected_: what was chosen on held-out training images ({"l2": ...}). history_: a
    row an epoch.

    Nothing but X and y is learned from; all of X is trained on. Where a hyperparameter is chosen (L2,
    neighbours), folds of X choose it, of FOLDS_BELOW images or more a held-out tenth (at most 5,000).
    Features of X are kept in the cache, so a second fit on the same images takes seconds.

    scikit-learn's own checks feed tables of numbers, which are no images: `check_estimator` skips this class
    by its tags. With its tables painted as images (tests/test_estimator.py) they pass, but for
    check_methods_subset_invariance: a network's float32 probabilities depend by some 1e-6 on how many images
    it is given at once, which is more than that check allows.
    """

    def __init__(
        self,
        method: str = "linear_probe",
        *,
        model: str | None = None,
        weights: str = "default",
        image_pixels: int | None = None,
        input_pixels: int | None = None,
        recipe: str | None = None,
        recipe_changes: dict[str, Any] | None = None,
        seed: int = 0,
        precision: str = "auto",
        feature_precision: str = "auto",
    ) -> None:
        self.method = method
        self.model = model
        self.weights = weights
        self.image_pixels = image_pixels
        self.input_pixels = input_pixels
        self.recipe = recipe
        self.recipe_changes = recipe_changes
        self.seed = seed
        self.precision = precision
        self.feature_precision = feature_precision

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True  # paths
        return tags

    def fit(self, X: Any, y: ArrayLike) -> TransferClassifier:
        """Fit the classifier to images and their labels, and return it.

        Raises: ValueError for X or y of a wrong form, fewer than two classes, or a file that cannot be read;
        ConfigError for parameters that do not fit together; DownloadError, WeightsError, StoreError where
        weights are not to be had."""
        arm = self._arm()
        images = self._images(X, reset=True)
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None: "
                "labels, one an image"
            )
        labels: NDArray[Any] = column_or_1d(y, warn=True)
        _require_one_kind(labels)
        assert_all_finite(labels, input_name="y")
        check_classification_targets(labels)
        if len(images) != len(labels):
            raise ValueError(
                f"X has {len(images)} images and y {len(labels)} labels; give a label for each image"
            )
        encoder = LabelEncoder().fit(labels)
        self.classes_ = encoder.classes_
        if len(self.classes_) < 2:
            raise ValueError(f"y holds one class, {str(self.classes_[0])!r}; a classifier needs at least two")
        self._learn(arm, images, encoder.transform(labels).astype(np.int64))
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Class probabilities float32 (N, C), columns in the order of classes_; rows sum to 1.

        Raises: sklearn's NotFittedError; ValueError for X of another form or size than was learned from."""
        check_is_fitted(self)
        return self.predictor_.probabilities(self._images(X, reset=False))

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each image, from classes_. Raises: as `predict_proba`."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def _arm(self) -> Arm:
        method = method_spec(self.method)
        model = self.model or ("resnet50" if method.needs_weights else "cnn")
        model_spec(model)  # raises for an unknown one
        weights = "none" if self.weights == "default" and not method.needs_weights else self.weights
        resolved = resolve_weights(model, weights)
        if not is_url(weights):  # a URL means the same on every machine, the path of its copy does not
            weights = resolved
        own_recipe = model_spec(model).scratch_recipe
        fitting = own_recipe if method.takes(recipe_named(own_recipe)) else method.default_recipe
        where = type(self).__name__
        recipe = with_changes(recipe_named(self.recipe or fitting), dict(self.recipe_changes or {}), where)
        arm = Arm(
            name=self.method,
            label=f"{where} ({self.method})",
            dataset="images given to fit",
            model=model,
            weights=weights,
            method=self.method,
            recipe=recipe,
            recipe_name=self.recipe or fitting,
            input_pixels=self.input_pixels,
        )
        check_arm(arm, where)
        return arm

    def _images(self, X: Any, *, reset: bool) -> NDArray[np.uint8]:
        """X as uint8 (N, S, S, 3). reset: whether S may be any. Raises: ValueError."""
        if hasattr(X, "to_numpy"):  # a column of a table
            X = X.to_numpy()
        if isinstance(X, IndexedRows):  # a folder's dataset
            X = np.asarray(X)
        images = X if isinstance(X, np.ndarray) and X.dtype.kind not in "OUS" else self._read(X, reset=reset)
        if (
            images.dtype != np.uint8
            or images.ndim != 4
            or images.shape[3] != 3
            or images.shape[1] != images.shape[2]
        ):
            raise ValueError(
                f"X is an array {images.dtype} {images.shape}; expected images uint8 (N, S, S, 3), RGB and "
                f"square, or a list of paths{_how_to_mend(images)}"
            )
        if not len(images):
            raise ValueError("X holds no image; at least 1 is required (0 sample(s) given)")
        if not reset and images.shape[1] != self.predictor_.image_pixels:
            raise ValueError(
                f"X holds images of {images.shape[1]} x {images.shape[1]} pixels; this classifier learned "
                f"from {self.predictor_.image_pixels} x {self.predictor_.image_pixels}"
            )
        return images

    def _read(self, X: Any, *, reset: bool) -> NDArray[np.uint8]:
        if (
            isinstance(X, str | Path)
            or not isinstance(X, Sequence | np.ndarray)
            or not all(isinstance(x, str | Path) for x in X)
        ):
            raise ValueError(
                f"X is {type(X).__name__}; expected images uint8 (N, S, S, 3) or a list of paths of "
                f"image files{_how_to_list(X)}"
            )
        errors: list[str] = []
        side = self._pixels() if reset else self.predictor_.image_pixels
        _, images = read_squares([Path(x) for x in X], side, lambda path, error: errors.append(str(error)))
        if errors:
            raise ValueError(f"{len(errors)} of {len(X)} images cannot be read, the first: {errors[0]}")
        return images

    def _pixels(self) -> int:
        """The side that images given as paths are resized to."""
        arm = self._arm()
        own = preprocessing_of(arm.model, arm.weights, self.input_pixels).size_pixels
        return self.image_pixels or own or model_spec(arm.model).input_pixels

    def _learn(self, arm: Arm, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        train = image_set(np.ascontiguousarray(images), labels, [str(name) for name in self.classes_])
        no_test = image_set(train.images[:0], labels[:0], train.class_names)
        data = dataset(arm.dataset, arm.dataset, "images given to fit", train, no_test)
        device = default_device()
        smallest = int(np.bincount(labels).min())
        trial = Trial(
            arm=arm,
            label_budget=ALL_LABELS if len(train) >= FOLDS_BELOW else LabelBudget(smallest),
            seed=self.seed,
            phase="refit",
            precision=resolve_precision(self.precision, device),
            feature_precision=resolve_feature_precision(self.feature_precision, device),
        )
        with tempfile.TemporaryDirectory(prefix="headstart-") as folder:
            fitted = fit(trial, data, Path(folder), device)
        complete = Predictor(fitted.saved, fitted.state, device=device).complete_state()
        self.predictor_ = Predictor(fitted.saved, complete, device=device)
        self.selected_, self.history_ = dict(fitted.selected), fitted.history


def _require_one_kind(labels: NDArray[Any]) -> None:
    """Raises: ValueError for labels that have no order: text beside numbers, or beside None."""
    if labels.dtype.kind != "O":
        return
    kinds = {
        "str" if isinstance(label, str) else "number" if np.isscalar(label) else type(label).__name__
        for label in labels
    }
    if len(kinds) > 1:
        raise ValueError(
            f"y holds labels of several kinds ({', '.join(sorted(kinds))}); give text only, or numbers only"
        )


def _how_to_list(X: Any) -> str:
    """The line that makes something else an array of images or a list of paths; empty where none is known."""
    if isinstance(X, np.ndarray):
        return "; X = X.ravel()" if X.ndim == 2 and X.shape[1] == 1 else ""
    if hasattr(X, "__next__"):
        return "; X = list(X)"
    if (
        isinstance(X, Sequence)
        and not isinstance(X, str)
        and any(hasattr(x, "__array_interface__") for x in X)
    ):
        return "; X = np.stack([np.asarray(x) for x in X])"
    return "; X = np.asarray(X)" if hasattr(X, "__array__") else ""


def _how_to_mend(images: NDArray[Any]) -> str:
    """The line that makes an array of another form one of images; empty where none is known."""
    steps = [*_mended_shape(images.shape)]
    if images.ndim in (3, 4) and images.dtype != np.uint8 and images.size:
        steps.append(_mended_values(images))
    return f"; X = {'; X = '.join(steps)}" if steps else ""


def _mended_shape(shape: tuple[int, ...]) -> Iterator[str]:
    channels = shape[3] if len(shape) == 4 else 0
    if len(shape) == 2:
        for depth in (3, 1):
            side = math.isqrt(shape[1] // depth)
            if side * side * depth == shape[1] and side > 1:
                yield f"X.reshape(-1, {side}, {side}, {depth})"
                channels = depth
                break
    elif len(shape) == 3 and shape[2] in (3, 4):
        yield "X[None]"
        channels = shape[2]
    elif len(shape) == 3:
        yield "np.repeat(X[..., None], 3, axis=3)"
    elif len(shape) == 4 and shape[1] == 3 != channels:
        yield "X.transpose(0, 2, 3, 1)"
        return
    if channels in (1, 2):
        yield f"np.repeat({'X' if channels == 1 else 'X[..., :1]'}, 3, axis=3)"
    elif channels == 4:
        yield "X[..., :3]"
    if len(shape) in (3, 4) and shape[-1] in (1, 2, 3, 4):
        height, width = shape[-3:-1]
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        if height != width:
            yield f"X[:, {top} : {top + side}, {left} : {left + side}]"


def _mended_values(images: NDArray[Any]) -> str:
    if images.dtype == np.bool_:
        return "255 * X.astype(np.uint8)"
    low, high = float(np.nanmin(images)), float(np.nanmax(images))
    if images.dtype.kind == "f" and high <= 1 and low >= -1:
        return (
            "(255 * X).round().astype(np.uint8)" if low >= 0 else "(127.5 * (X + 1)).round().astype(np.uint8)"
        )
    if low >= 0 and high <= 255:
        return "X.astype(np.uint8)"
    return "((X - X.min()) * (255 / (X.max() - X.min()))).round().astype(np.uint8)"
