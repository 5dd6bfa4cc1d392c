"""A trained model of any method as a predictor: uint8 images in, class probabilities out, by the code that
evaluated it.

At the same batch size, precision and threads the logits are, bit for bit, those that the trial stored of the
same images.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError, HeadstartError
from headstart.methods import method_spec
from headstart.methods.base import Method
from headstart.methods.frozen import FrozenMethod, Head
from headstart.methods.trained import Images, Reader, TrainedModel
from headstart.models import Network
from headstart.models.saved import SavedModel
from headstart.predict import familiar
from headstart.predict.saved import find_model, read_model
from headstart.results import metrics
from headstart.runtime.precision import default_device
from headstart.types import ImageSet


def load_predictor(
    model: str | Path,
    *,
    arm: str | None = None,
    precision: str | None = None,
    device: torch.device | None = None,
) -> Predictor:
    """A predictor from a run folder, a saved model's folder, or a study's folder and one of its arms.

    precision: "bf16" or "fp32" for all of the network; None: that of its evaluation.

    Examples:
        >>> predictor = headstart.load_predictor(folder, arm="cnn")
        >>> predictor.probabilities(dataset.test.images[:2]).shape[0]
        2

    Raises: StoreError, ConfigError: as find_model; WeightsError where its weights, or those that it builds
    on, are not to be had or are others; DataError where a kNN model's features are not to be had;
    DownloadError."""
    saved = read_model(find_model(model, arm))
    return Predictor(saved, saved.read_state(), precision=precision, device=device)


class Predictor:
    """A trained model that answers about images of `image_pixels` x `image_pixels`.

    saved: its description. state: its tensors. precision, device: as `load_predictor`."""

    def __init__(
        self,
        saved: SavedModel,
        state: dict[str, Tensor],
        *,
        precision: str | None = None,
        device: torch.device | None = None,
    ) -> None:
        if precision not in (None, "bf16", "fp32"):
            raise ConfigError(f"precision {precision!r} is not one of bf16, fp32")
        self.saved, self.state, self.device = saved, state, device or default_device()
        self.familiar = familiar.stored(saved.architecture, state)
        self.precision = precision or saved.precision
        self.feature_precision = precision or saved.feature_precision

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.saved.class_names

    @property
    def image_pixels(self) -> int:
        """Side of the images that it takes: that of its training images."""
        return self.saved.image_pixels

    @property
    def batch_size(self) -> int:
        """Images that its evaluation passed through the network at a time."""
        return self._method.batch_size(self._model)

    def logits(self, images: Images, batch_size: int | None = None) -> NDArray[np.float32]:
        """Logits float32 (N, C) of uint8 images (N, image_pixels, image_pixels, 3), RGB.

        batch_size: images at a time, None: as in evaluation.
        Raises: DataError for images of another shape or type; ConfigError for a batch size below 1."""
        self._require_fitting(images, batch_size)
        if not len(images):
            return np.zeros((0, len(self.class_names)), np.float32)
        return self._read(images, batch_size or self.batch_size)

    def answers(
        self, images: Images, batch_size: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
        """(`probabilities`, whether each image is unlike those that the model learned from: bool (N,); None
        where the model has no score for it). Arguments and errors: as `logits`."""
        if self.familiar is None or not len(images):
            return self.probabilities(images, batch_size), None if self.familiar is None else np.zeros(
                0, bool
            )
        self._require_fitting(images, batch_size)
        rows, head = self._frozen
        features = rows(images, batch_size or self.batch_size)
        shares = metrics.probabilities(head(features)).astype(np.float32)
        return shares, self.familiar.scores(features) > self.familiar.threshold

    def learn_familiar(self, features: NDArray[np.float16], fold_of: NDArray[np.int64]) -> None:
        """Keeps what its training images are like, so that others are told apart; `save` stores it.

        features: (N, D) of the training images, by the frozen network that it uses; fold_of: int64 (N,)."""
        self.familiar = familiar.learn(features, fold_of)

    @property
    def refused_fraction(self) -> float | None:
        """Share of held-out images of its own classes that it calls unfamiliar; None where it has no
        score."""
        return None if self.familiar is None else self.familiar.refused

    def probabilities(self, images: Images, batch_size: int | None = None) -> NDArray[np.float32]:
        """Class probabilities float32 (N, C), the softmax of `logits`; rows sum to 1. Arguments and errors:
        as `logits`."""
        return metrics.probabilities(self.logits(images, batch_size)).astype(np.float32)

    def network(self) -> Network:
        """The model as one differentiable float32 network on the CPU, in eval mode, that carries its
        preprocessing.

        Raises: ConfigError where the method gives no network (kNN); WeightsError."""
        if reason := method_spec(self.saved.method).why_no_network:
            raise ConfigError(
                f'{reason} and is no network to export or explain; use method "linear_probe" on the same '
                "backbone"
            )
        return self._method.network(self._model)

    def save(self, folder: str | Path, *, self_contained: bool = False) -> Path:
        """Writes the model into a folder that `load_predictor` and the command line take. A kNN model's holds
        its features.

        self_contained: with the pretrained backbone of a frozen model in it; else that is found in the cache
        again."""
        state, saved = self.complete_state(), self.saved
        if self_contained:
            state |= self._method.backbone_state(self._model)
        if self.familiar is not None:
            state |= self.familiar.tensors
            saved = dataclasses.replace(saved, architecture={**saved.architecture, **self.familiar.described})
        return saved.write(Path(folder), state)

    def complete_state(self) -> dict[str, Tensor]:
        """Its tensors, with a kNN model's features among them: enough without the cache of features."""
        return self._method.complete_state(self._model)

    def _require_fitting(self, images: Images, batch_size: int | None) -> None:
        if images.dtype != np.uint8 or images.shape[1:] != (self.image_pixels, self.image_pixels, 3):
            raise DataError(
                f"images are {images.dtype} {images.shape}; this model takes uint8 (N, {self.image_pixels}, "
                f"{self.image_pixels}, 3), the size of the images that it was trained on"
            )
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"the batch size must be at least 1, got {batch_size}")

    @property
    def _method(self) -> Method:
        return method_spec(self.saved.method).implementation

    @property
    def _model(self) -> TrainedModel:
        return TrainedModel(
            saved=self.saved,
            state={name: value for name, value in self.state.items() if name != familiar.VALUES},
            precision=self.precision,
            feature_precision=self.feature_precision,
            device=self.device,
            training_images=self._training_images,
        )

    @cached_property
    def _read(self) -> Reader:
        return self._method.reader(self._model)

    @cached_property
    def _frozen(self) -> tuple[Callable[[Images, int], NDArray[np.float16]], Head]:
        assert isinstance(self._method, FrozenMethod)  # other models have no score
        return self._method.rows(self._model), self._method.head(self._model)

    def _training_images(self, purpose: str) -> ImageSet:
        """The images that the model was trained on. purpose: what needs them, the start of a message.

        Raises: DataError where they are not to be had, or are others by now."""
        name = self.saved.dataset.name
        try:
            dataset = load_dataset(name, image_pixels=self.saved.image_pixels) if name else None
        except HeadstartError as error:
            raise DataError(f"{purpose} its training images, which are not to be had: {error}") from error
        if dataset is None or dataset.fingerprint != self.saved.dataset.fingerprint:
            raise DataError(
                f"{purpose} its training images, and {name or 'their dataset'} does not hold the same ones "
                "any more; run the study again"
            )
        return dataset.train

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_read", "_frozen")
        }  # built anew when needed
