"""Frozen features of images in one call: the input of the probe, of kNN and of maps of the feature space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.methods.frozen import RANDOM_START_SEED
from headstart.models import load_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.runtime.precision import default_device, resolve_feature_precision
from headstart.types import Features, ImageSet


def load_features(
    images: ImageSet,
    *,
    model: str = "resnet50",
    weights: str = "default",
    input_pixels: int | None = None,
    ids: NDArray[np.int64] | None = None,
) -> Features:
    """Pooled features of the images by a frozen pretrained network, from the cache or computed now (then
    resumable).

    The same as a study's probe uses: same precision, same cache. input_pixels: the side that images are
    resized to, None: what the weights were trained at. ids: int64, sorted, the images wanted; None: all.

    Examples:
        >>> features = headstart.load_features(dataset.train, input_pixels=32, ids=np.arange(3))
        >>> features.values.shape, features.values.dtype.name, features.labels.tolist()
        ((3, 2048), 'float16', [6, 9, 9])

    Raises: ConfigError for an unknown model; WeightsError, DownloadError for weights that are not to be had;
    StoreError where the disk is full."""
    device = default_device()
    network = load_model(model, weights, image_pixels=input_pixels, seed=RANDOM_START_SEED)
    layers = FrozenLayers(network=network, precision=resolve_feature_precision("auto", device), device=device)
    return FeatureRequest(layers=layers, images=images, ids=ids).extract(f"{model} features").features
