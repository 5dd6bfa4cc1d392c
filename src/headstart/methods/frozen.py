"""A frozen backbone's features: of a trial's images, and of the images that a saved model is asked about."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.errors import WeightsError
from headstart.methods.base import Context, Method
from headstart.methods.reading import Part
from headstart.methods.trained import BACKBONE, Images, Reader, TrainedModel, batches
from headstart.models import Network, features, load_model, model_spec
from headstart.models.features import Extraction, FeatureRequest, FrozenLayers
from headstart.models.load import rebuild_model
from headstart.models.weights import start_hash
from headstart.types import Arm, Features

Head = Callable[[NDArray[np.float16]], NDArray[np.float32]]
RANDOM_START_SEED = 0  # of an untrained backbone: one for all trials, so that its features are computed once


def backbone_hash(weights: str, model: str) -> str:
    """The hash that identifies the weights of a frozen network; for "none" that of its random ones."""
    return start_hash(weights, model, RANDOM_START_SEED)


@dataclass(frozen=True, kw_only=True)
class FrozenOutputs:
    """Outputs of frozen layers for a trial: of the training images, and of both views of the test images
    (None where no test is read)."""

    train: Extraction
    test: Extraction | None
    mirrored_test: Extraction | None

    @property
    def all(self) -> list[Extraction]:
        """Every extraction that was made."""
        return [part for part in (self.train, self.test, self.mirrored_test) if part is not None]

    @property
    def seconds(self) -> float:
        """Wall seconds of computing them, cold."""
        return math.fsum(part.seconds for part in self.all)

    @property
    def cached_seconds(self) -> float:
        return math.fsum(part.seconds for part in self.all if part.was_cached)

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.all)

    def of(self, part: Part) -> Features:
        """The outputs for a part that is read."""
        extraction = {"train": self.train, "test": self.test, "mirrored test": self.mirrored_test}[part]
        assert extraction is not None
        return extraction.features

    def count_in(self, context: Context) -> None:
        """Counts their cold seconds as the trial's phase "features"."""
        context.watch.carry("features", self.seconds)
        context.watch.carry_joules(part.joules for part in self.all if part.was_cached)


_shared: dict[tuple[str, str, int | None], Network] | None = None


@contextmanager
def sharing_backbones() -> Iterator[None]:
    """Frozen networks that are loaded in the block are kept until it ends: several fits load each once."""
    global _shared
    before, _shared = _shared, {} if _shared is None else _shared
    try:
        yield
    finally:
        _shared = before


def _load_backbone(arm: Arm) -> Network:
    place = (arm.model, arm.weights, arm.input_pixels)
    if _shared is not None and place in _shared:
        return _shared[place]
    network = load_model(arm.model, arm.weights, seed=RANDOM_START_SEED, image_pixels=arm.input_pixels)
    if _shared is not None:
        _shared[place] = network
    return network


def backbone_layers(context: Context) -> FrozenLayers:
    """The arm's network up to its pooled features."""
    arm = context.trial.arm
    return FrozenLayers(
        network=_load_backbone(arm),
        precision=context.trial.feature_precision,
        device=context.device,
        calibration=context.dataset.train,
    )


def backbone_requests(context: Context, layers: FrozenLayers) -> list[FeatureRequest]:
    """The features of all training images, then of both views of the test images where they are read."""
    requests = [FeatureRequest(layers=layers, images=context.dataset.train)]
    if context.reads_test:
        test = context.dataset.test
        requests += [FeatureRequest(layers=layers, images=test, mirrored=turned) for turned in (False, True)]
    return requests


def training_features(context: Context) -> Extraction:
    """The features of all training images (labels are not looked at), from the cache where it has them."""
    return _extract(context, backbone_requests(context, backbone_layers(context))[0])


def frozen_features(context: Context) -> FrozenOutputs:
    """The features of all parts that are read; their cold seconds are the trial's phase "features"."""
    train, *of_test = (
        _extract(context, request) for request in backbone_requests(context, backbone_layers(context))
    )
    test, mirrored = of_test or (None, None)
    frozen = FrozenOutputs(train=train, test=test, mirrored_test=mirrored)
    frozen.count_in(context)
    return frozen


def _extract(context: Context, request: FeatureRequest) -> Extraction:
    part = "training" if request.images is context.dataset.train else "test"
    view = "mirrored " if request.mirrored else ""
    return request.extract(f"{context.trial.arm.model} features of the {view}{part} images")


class FrozenMethod(Method):
    """A method that learns on features of a frozen backbone: how its saved models pass images through it."""

    calibration_purpose = "int8 features are calibrated on"  # begins the message where images are missing

    def head(self, model: TrainedModel) -> Head:
        """The saved model behind its frozen network: features float16 (N, D) -> logits float32 (N, C). A
        method gives this, or `reader`: then its models have no score for unfamiliar images."""
        raise NotImplementedError(f"{type(self).__name__} gives no head")

    def reader(self, model: TrainedModel) -> Reader:
        rows, head = self.rows(model), self.head(model)
        return lambda images, batch_size: head(rows(images, batch_size))

    def batch_size(self, model: TrainedModel) -> int:
        return features.BATCH

    def frozen_layers(self, context: Context) -> FrozenLayers:
        return backbone_layers(context)

    def feature_requests(self, context: Context, layers: FrozenLayers) -> list[FeatureRequest]:
        return backbone_requests(context, layers)

    def backbone_state(self, model: TrainedModel) -> dict[str, Tensor]:
        return backbone_tensors(model)

    def rows(self, model: TrainedModel) -> Callable[[Images, int], NDArray[np.float16]]:
        """A function (images, batch size) -> features float16 (N, D).

        Single images have a copy of the weights of their own: oneDNN orders weights for the first batch that
        it sees, and one image takes 4 times as long with the order of 32, 8 images 1.6 times with that of 1
        (ResNet-50, 128 px, float32, two AVX2 cores)."""
        int8 = model.feature_precision == "int8"
        layers = FrozenLayers(
            network=saved_backbone(model),
            precision=model.feature_precision,
            device=model.device,
            calibration=model.training_images(self.calibration_purpose) if int8 else None,
        )
        row_functions: dict[bool, Callable[[NDArray[np.uint8]], NDArray[np.float16]]] = {}

        def rows(images: Images, size: int) -> NDArray[np.float16]:
            single = not int8 and min(size, len(images)) == 1
            if single not in row_functions:
                row_functions[single] = layers.row_function()
            return np.concatenate([row_functions[single](batch) for batch in batches(images, size)])

        return rows


def saved_backbone(model: TrainedModel, num_classes: int | None = None) -> Network:
    """The network with the pretrained weights that a model was trained on. num_classes: as load_model.

    Raises: WeightsError where the weights of that name are others by now; as load_model."""
    saved = model.saved
    if contained := model.backbone:
        return _contained_backbone(model, contained, num_classes)
    present_hash = backbone_hash(saved.weights, saved.model)
    if present_hash != saved.weights_hash:
        raise WeightsError(
            f"{saved.weights} holds other weights than those that this model was trained on (SHA-256 "
            f"{present_hash[:12]}, not {saved.weights_hash[:12]}); give back the file of then"
        )
    network = load_model(
        saved.model,
        saved.weights,
        seed=RANDOM_START_SEED,
        image_pixels=saved.input_pixels,
        num_classes=num_classes,
    )
    network.preprocessing = saved.preprocessing
    return network


def backbone_tensors(model: TrainedModel) -> dict[str, Tensor]:
    """The pretrained network of a model, head included, under the prefix BACKBONE."""
    return {BACKBONE + name: value for name, value in saved_backbone(model).state_dict().items()}


def _contained_backbone(model: TrainedModel, state: dict[str, Tensor], num_classes: int | None) -> Network:
    """The network from a self-contained model: no file but the model's own is read."""
    saved = model.saved
    if num_classes is not None:  # a head of that size, which the caller fills
        head = model_spec(saved.model).head
        for name in (f"{head}.weight", f"{head}.bias"):
            state[name] = torch.zeros(num_classes, *state[name].shape[1:])
    return rebuild_model(saved.model, state, saved.preprocessing, image_pixels=saved.input_pixels)
