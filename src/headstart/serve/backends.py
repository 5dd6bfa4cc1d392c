"""Other ways to compute a model's answers: ONNX in float32, or int8, each compared with predict's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from headstart.data import load_dataset
from headstart.errors import ConfigError, DataError
from headstart.models.int8 import load_int8
from headstart.models.preprocessing import preprocess
from headstart.models.resnet import ResNet
from headstart.predict.export import FORMATS, Exportable, example, images_to_compare, metadata
from headstart.predict.predictor import Predictor
from headstart.results import metrics

Backend = Literal["predict", "onnx", "int8"]
BACKENDS: tuple[Backend, ...] = ("predict", "onnx", "int8")
# Images uint8 (N, S, S, 3) and how many at a time -> probabilities float32 (N, C).
Answer = Callable[[NDArray[np.uint8], int], NDArray[np.float32]]
_COMPARED = 1000  # images


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far another backend's answers are from predict's own. difference: the largest of a probability."""

    backend: Backend
    images: int
    source: str
    same: int
    difference: float

    def words(self, name: str) -> str:
        """In a line. name: of the model."""
        return (
            f"{name} by {self.backend}: same likeliest class as predict on {self.same:,} of {self.images:,} "
            f"{self.source}; probabilities differ by at most {self.difference:.2g}"
        )


def answer_by(backend: Backend, predictor: Predictor) -> tuple[Answer, Agreement | None]:
    """What answers for a model, and how it agrees with predict's own backend on up to 1,000 of the model's
    images (None: it is that one).

    Raises: ConfigError where a package is missing, the model is no network, or no ResNet in int8; DataError
    where there are no images to compare on."""
    if backend == "predict":
        return predictor.probabilities, None
    answer = _onnx(predictor) if backend == "onnx" else _int8(predictor)
    images, source = images_to_compare(predictor.saved, count=_COMPARED)
    batch = predictor.batch_size
    own, other = predictor.probabilities(images, batch), answer(images, batch)
    return answer, Agreement(
        backend=backend,
        images=len(images),
        source=source,
        same=int((own.argmax(axis=1) == other.argmax(axis=1)).sum()),
        difference=float(np.abs(own - other).max()),
    )


def _onnx(predictor: Predictor) -> Answer:
    made = FORMATS["onnx"]
    content = made.build(Exportable(predictor.network()), example(predictor.saved), metadata(predictor.saved))
    run = made.open(content)
    return lambda images, batch: np.concatenate(
        [run(images[start : start + batch]) for start in range(0, len(images), batch)]
    )


def _int8(predictor: Predictor) -> Answer:
    network = predictor.network()
    if not isinstance(network, ResNet):
        raise ConfigError(
            f"--backend int8 is for this project's ResNets, not for {network.family}; take --backend onnx"
        )
    saved = predictor.saved
    if not saved.dataset.name:
        raise DataError("--backend int8 is calibrated on the model's training images, which it does not name")
    # Its own weights, not those that its training began with: the cache of int8 networks goes by them.
    state = hashlib.sha256(str(saved.weights_hash).encode())
    for name, value in sorted(predictor.state.items()):
        state.update(name.encode() + value.float().numpy().tobytes())
    network.weights_hash = state.hexdigest()
    int8 = load_int8(network, load_dataset(saved.dataset.name, image_pixels=saved.image_pixels).train)
    classifier = network.classifier

    @torch.no_grad()
    def answer(images: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
        logits = [
            classifier(int8.run(preprocess(images[start : start + batch], network.preprocessing))).numpy()
            for start in range(0, len(images), batch)
        ]
        return metrics.probabilities(np.concatenate(logits)).astype(np.float32)

    return answer
