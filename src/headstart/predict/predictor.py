"""A trained model of any method as a predictor: uint8 images in, class probabilities out, by the code that
evaluated it.

At the same batch size, precision and threads the logits are, bit for bit, those that the trial stored of the
same images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError, HeadstartError, WeightsError
from headstart.methods import partial
from headstart.methods.frozen import RANDOM_START_SEED, backbone_hash
from headstart.methods.knn import Neighbours
from headstart.models import Network, features, load_model, rebuild_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.models.inference import batch_for, forward_logits, predict_logits
from headstart.models.network import Tail
from headstart.models.saved import SavedModel
from headstart.predict.saved import find_model, read_model
from headstart.recipes import KNNRecipe
from headstart.results import metrics
from headstart.runtime.precision import default_device
from headstart.training.logistic import predict_logits as head_logits
from headstart.types import ImageSet

Images = NDArray[np.uint8]
_Read = Callable[[Images, int], NDArray[np.float32]]  # (images, batch size) -> logits


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
        return features.BATCH if self.saved.method in _FROZEN else batch_for(self.saved.input_pixels)

    def logits(self, images: Images, batch_size: int | None = None) -> NDArray[np.float32]:
        """Logits float32 (N, C) of uint8 images (N, image_pixels, image_pixels, 3), RGB.

        batch_size: images at a time, None: as in evaluation.
        Raises: DataError for images of another shape or type; ConfigError for a batch size below 1."""
        if images.dtype != np.uint8 or images.shape[1:] != (self.image_pixels, self.image_pixels, 3):
            raise DataError(
                f"images are {images.dtype} {images.shape}; this model takes uint8 (N, {self.image_pixels}, "
                f"{self.image_pixels}, 3), the size of the images that it was trained on"
            )
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"the batch size must be at least 1, got {batch_size}")
        if not len(images):
            return np.zeros((0, len(self.class_names)), np.float32)
        return self._read(images, batch_size or self.batch_size)

    def probabilities(self, images: Images, batch_size: int | None = None) -> NDArray[np.float32]:
        """Class probabilities float32 (N, C), the softmax of `logits`; rows sum to 1. Arguments and errors:
        as `logits`."""
        return metrics.probabilities(self.logits(images, batch_size)).astype(np.float32)

    def network(self) -> Network:
        """The model as one differentiable float32 network on the CPU, in eval mode, that carries its
        preprocessing.

        Raises: ConfigError for kNN, which is no network; WeightsError."""
        if self.saved.method == "knn":
            raise ConfigError(
                "a kNN model answers by comparing with its training images and is no network to export or "
                'explain; use method "linear_probe" on the same backbone'
            )
        if self.saved.method == "partial":
            return _whole_partial(self)
        if self.saved.method != "linear_probe":
            return _trained_network(self)
        model = _backbone(self, num_classes=len(self.class_names))
        head = {name: self.state[f"head.{name}"] for name in ("weight", "bias")}
        model.classifier.load_state_dict(head)
        return model.eval()

    def save(self, folder: str | Path) -> Path:
        """Writes the model into a folder that `load_predictor` and the command line take. A kNN model's holds
        its features.

        The pretrained backbone of a frozen model is not copied: it is found in the cache again."""
        return self.saved.write(Path(folder), self.complete_state())

    def complete_state(self) -> dict[str, Tensor]:
        """Its tensors, with a kNN model's features among them: enough without the cache of features."""
        if self.saved.method != "knn" or "neighbours.values" in self.state:
            return dict(self.state)
        bank, ids = _bank(self)
        return self.state | {"neighbours.values": torch.from_numpy(np.array(bank[ids]))}

    @cached_property
    def _read(self) -> _Read:
        return _FROZEN.get(self.saved.method, _read_network)(self)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name != "_read"
        }  # built anew when needed


# --- one way to read each kind of model; each returns a function of images and batch size ---


def _trained_network(predictor: Predictor) -> Network:
    saved = predictor.saved
    return rebuild_model(
        saved.model,
        predictor.state,
        saved.preprocessing,
        image_pixels=saved.input_pixels,
        **saved.network_options,
    )


def _read_network(predictor: Predictor) -> _Read:
    model = _trained_network(predictor).to(predictor.device)
    return lambda images, batch: predict_logits(
        model, images, device=predictor.device, precision=predictor.precision, batch_size=batch
    )


def _backbone(predictor: Predictor, num_classes: int | None = None) -> Network:
    """The frozen network that the model was trained on, checked to be the same one."""
    saved = predictor.saved
    current_hash = backbone_hash(saved.weights, saved.model)
    if current_hash != saved.weights_hash:
        raise WeightsError(
            f"{saved.weights} holds other weights than those that this model was trained on (SHA-256 "
            f"{current_hash[:12]}, not {saved.weights_hash[:12]}); give back the file of then"
        )
    model = load_model(
        saved.model,
        saved.weights,
        seed=RANDOM_START_SEED,
        image_pixels=saved.input_pixels,
        num_classes=num_classes,
    )
    model.preprocessing = saved.preprocessing
    return model


def _frozen_rows(predictor: Predictor) -> Callable[[Images], NDArray[np.float16]]:
    int8 = predictor.feature_precision == "int8"
    layers = FrozenLayers(
        network=_backbone(predictor),
        precision=predictor.feature_precision,
        device=predictor.device,
        calibration=_training_images(predictor.saved) if int8 else None,
    )
    return layers.row_function()


def _batches(images: Images, size: int) -> Iterator[Images]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _read_probe(predictor: Predictor) -> _Read:
    rows = _frozen_rows(predictor)
    weight, bias = (predictor.state[f"head.{name}"].numpy() for name in ("weight", "bias"))
    return lambda images, batch: head_logits(
        np.concatenate([rows(part) for part in _batches(images, batch)]), weight, bias
    )


def _read_neighbours(predictor: Predictor) -> _Read:
    built, labels = predictor.saved.architecture, predictor.state["neighbours.labels"].cpu().numpy()
    values, ids = _bank(predictor)
    of_row = np.zeros(len(values), np.int64)
    of_row[ids] = labels
    bank = Neighbours(
        values, of_row, ids, k=built["k"], num_classes=len(predictor.class_names), device=predictor.device
    )
    recipe = KNNRecipe(k_values=(built["k"],), temperature=built["temperature"], smoothing=built["smoothing"])
    rows = _frozen_rows(predictor)

    def read(images: Images, batch: int) -> NDArray[np.float32]:
        similarities, nearest = bank.nearest(np.concatenate([rows(part) for part in _batches(images, batch)]))
        return bank.logits(similarities, nearest, built["k"], recipe)

    return read


def _bank(predictor: Predictor) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Features, and which of their rows are the neighbours: stored with the model, cached, or computed
    again."""
    if "neighbours.values" in predictor.state:
        stored = predictor.state["neighbours.values"].cpu().numpy()
        return stored, np.arange(len(stored))
    ids = predictor.state["neighbours.ids"].cpu().numpy()
    values = features.cached_values(predictor.saved.architecture["features"])
    if values is None:
        images = _training_images(predictor.saved)
        layers = FrozenLayers(
            network=_backbone(predictor),
            precision=predictor.saved.feature_precision,
            device=predictor.device,
            calibration=images,
        )
        request = FeatureRequest(layers=layers, images=images)
        values = request.extract("features of the training images, to be compared with").features.values
    return values, ids


def _training_images(saved: SavedModel) -> ImageSet:
    """The images that a model was trained on. Raises: DataError where they are not to be had, or are others
    by now."""
    what = "int8 features are calibrated on" if saved.method != "knn" else "a kNN model compares with"
    name = saved.dataset.name
    try:
        dataset = load_dataset(name, image_pixels=saved.image_pixels) if name else None
    except HeadstartError as error:
        raise DataError(f"{what} its training images, which are not to be had: {error}") from error
    if dataset is None or dataset.fingerprint != saved.dataset.fingerprint:
        raise DataError(
            f"{what} its training images, and {name or 'their dataset'} does not hold the same ones any "
            "more; run the study again"
        )
    return dataset.train


def _whole_partial(predictor: Predictor) -> Network:
    model = _backbone(predictor, num_classes=len(predictor.class_names))
    model.load_state_dict(model.state_dict() | predictor.state)  # the trained tail over the frozen rest
    return model.eval()


def _read_partial(predictor: Predictor) -> _Read:
    model, device = _whole_partial(predictor), predictor.device
    cut = model.cut_before(predictor.saved.architecture["trained"])
    assert cut is not None  # a partial trial has frozen layers
    layers = FrozenLayers(network=model, precision=predictor.precision, device=device, cut=cut)
    rows = layers.row_function()
    tail = Tail(copy.deepcopy(model), cut).to(device)

    def read(images: Images, batch: int) -> NDArray[np.float32]:
        tail_batch = partial.BATCH if batch == features.BATCH else batch
        activations = _regroup((rows(part) for part in _batches(images, batch)), tail_batch)
        inputs = (
            partial.network_input(torch.from_numpy(part), device, predictor.precision) for part in activations
        )
        return forward_logits(tail, inputs, device=device, precision=predictor.precision)

    return read


def _regroup(parts: Iterable[NDArray[np.float16]], size: int) -> Iterator[NDArray[np.float16]]:
    """The same rows in blocks of `size`: the tail was evaluated in other batches than the frozen part."""
    held: list[NDArray[np.float16]] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= size:
            block = np.concatenate(held)
            full = count - count % size
            yield from (block[start : start + size] for start in range(0, full, size))
            held, count = [block[full:]], count - full
    if count:
        yield np.concatenate(held)


_FROZEN: dict[str, Callable[[Predictor], _Read]] = {
    "linear_probe": _read_probe,
    "knn": _read_neighbours,
    "partial": _read_partial,
}
