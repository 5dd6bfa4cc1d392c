"""A child process that holds a saved model: `python -m headstart.app.model_child`, called through Children.

Predictions by predict's own code, Grad-CAM, and the training images that are most alike in the network's
features. Those of the training images are computed once for a model, a few at a call, and kept in the cache.
"""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart import store
from headstart.data.folders.decode import decode_image, quiet_pillow, square
from headstart.errors import HeadstartError, StoreError
from headstart.predict.predictor import Predictor, load_predictor
from headstart.serve.child import Values, answer_calls
from headstart.types import Dataset

_CHUNK = 32  # images whose features one call computes
_TRAIN, _TEST = 1000, 200  # images compared with, and images that say what is familiar
_FAMILIAR = 0.99  # of held-out images that count as familiar
_NEAREST = 6
_DRAWN_PIXELS = 320


class Loaded:
    """A model with what it has been asked for so far. state: tells it from another one in the same folder."""

    def __init__(self, folder: Path, state: int) -> None:
        self.state = state
        self.predictor: Predictor = load_predictor(folder)
        self._network: Any = None
        self._reference: Reference | None = None

    @property
    def network(self) -> Any:
        if self._network is None:
            self._network = self.predictor.network()
        return self._network

    @property
    def reference(self) -> Reference:
        if self._reference is None:
            self._reference = Reference(self)
        return self._reference

    def square(self, content: bytes) -> NDArray[np.uint8]:
        reading = self.predictor.saved.reading
        return square(decode_image(content, reading=reading), self.predictor.image_pixels, reading.fit)

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pooled features float32 (N, D), each of length 1."""
        import torch

        from headstart.models.preprocessing import preprocess

        with torch.no_grad():
            features = self.network.forward_features(preprocess(images, self.network.preprocessing))
        values = features.float().numpy().reshape(len(images), -1)
        lengths = np.linalg.norm(values, axis=1, keepdims=True)
        return np.asarray(values / np.maximum(lengths, 1e-12), np.float32)


class Reference:
    """Features of training images and of held-out ones, an even draw of each."""

    def __init__(self, loaded: Loaded) -> None:
        from headstart.data import is_dataset, load_dataset

        self._loaded = loaded
        name = loaded.predictor.saved.dataset.name
        if not name:
            raise HeadstartError("this model does not say which images it was trained on")
        if is_dataset(name):  # which would have to be fetched
            raise HeadstartError("similar training images are shown for models of your own images")
        self.dataset: Dataset = load_dataset(name)
        self.train = _drawn(len(self.dataset.train), _TRAIN)
        self.test = _drawn(len(self.dataset.test), _TEST)
        model = [str(loaded.predictor.saved.folder), loaded.state]
        key = store.digest([2, *model, self.dataset.fingerprint, _TRAIN, _TEST])
        self._path = store.cache_folder() / "familiar" / f"{key[:32]}.npz"
        self._parts: list[NDArray[np.float32]] = []
        self._done = 0
        self.values: NDArray[np.float32] | None = self._read()

    @property
    def total(self) -> int:
        return len(self.train) + len(self.test)

    @property
    def done(self) -> int:
        return self.total if self.values is not None else self._done

    def advance(self) -> None:
        """Compute the next few features; write them down when all are there."""
        images = self.dataset.train.images, self.dataset.test.images
        part, places = (0, self.train) if self._done < len(self.train) else (1, self.test)
        start = self._done if part == 0 else self._done - len(self.train)
        chosen = places[start : start + _CHUNK]
        self._parts.append(self._loaded.features(np.stack([images[part][place] for place in chosen])))
        self._done += len(chosen)
        if self._done == self.total:
            self.values = np.concatenate(self._parts)
            store.write_npz(self._path, {"features": self.values.astype(np.float16)})

    def _read(self) -> NDArray[np.float32] | None:
        try:
            stored = store.read_npz(self._path, "they are computed again", ["features"])
        except StoreError:
            return None
        values = np.asarray(stored["features"], np.float32)
        return values if len(values) == self.total else None

    def nearest(self, feature: NDArray[np.float32]) -> Values:
        """The most similar training images, and whether the image is further from them than held-out ones."""
        assert self.values is not None
        train, test = self.values[: len(self.train)], self.values[len(self.train) :]
        similar = train @ feature
        best = np.argsort(-similar, kind="stable")[:_NEAREST]
        familiar = (test @ train.T).max(axis=1)
        least = float(np.quantile(familiar, 1 - _FAMILIAR)) if len(familiar) else -1.0
        images = self.dataset.train
        return {
            "images": [
                {
                    "place": int(self.train[place]),
                    "name": None if images.names is None else str(images.names[self.train[place]]),
                    "label": images.class_names[int(images.labels[self.train[place]])],
                    "similarity": float(similar[place]),
                }
                for place in best
            ],
            "compared": len(self.train),
            "held_out": len(self.test),
            "least": least,
            "unfamiliar": bool(similar[best[0]] < least),
        }


def _drawn(count: int, most: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


@lru_cache(maxsize=2)
def _loaded(folder: str, state: int) -> Loaded:
    return Loaded(Path(folder), state)


def _model(values: Values) -> Loaded:
    folder = str(values["model"])
    return _loaded(folder, os.stat(Path(folder) / "model.safetensors").st_mtime_ns)


def predict(values: Values, content: bytes) -> tuple[Values, bytes]:
    """Class probabilities of one image, the likeliest first."""
    loaded = _model(values)
    probabilities = loaded.predictor.probabilities(loaded.square(content)[None])[0]
    names = loaded.predictor.class_names
    order = (-probabilities).argsort(kind="stable")
    return {"classes": [{"class": names[i], "probability": float(probabilities[i])} for i in order]}, b""


def explain(values: Values, content: bytes) -> tuple[Values, bytes]:
    """The Grad-CAM of one class over the image, a PNG."""
    import matplotlib as mpl
    from PIL import Image

    from headstart.predict.gradcam import explain_image, upsampled

    loaded = _model(values)
    reading = loaded.predictor.saved.reading
    explanation = explain_image(loaded.predictor, loaded.square(content), values.get("class"), loaded.network)
    drawn = square(decode_image(content, reading=reading), _DRAWN_PIXELS, reading.fit).astype(np.float64)
    heat = upsampled(explanation.heatmap, _DRAWN_PIXELS)
    alpha = (0.15 + 0.55 * heat)[..., None]
    colours = 255 * mpl.colormaps["inferno"](heat)[..., :3]
    out = io.BytesIO()
    Image.fromarray(np.round(drawn * (1 - alpha) + colours * alpha).astype(np.uint8)).save(out, "PNG")
    return {"class": loaded.predictor.class_names[explanation.target]}, out.getvalue()


def nearest(values: Values, content: bytes) -> tuple[Values, bytes]:
    """The most similar training images; or, while their features are computed, how many there are so far."""
    loaded = _model(values)
    reference = loaded.reference
    if reference.values is None:
        reference.advance()
    if reference.values is None:
        return {"done": reference.done, "total": reference.total}, b""
    image = loaded.square(content)[None]
    neighbours = reference.nearest(loaded.features(image)[0])
    _, unfamiliar = loaded.predictor.answers(image)
    if unfamiliar is not None:  # the model's own score goes before that of the held-out images here
        neighbours |= {"unfamiliar": bool(unfamiliar[0]), "refused": loaded.predictor.refused_fraction}
    return neighbours, b""


if __name__ == "__main__":
    with quiet_pillow():
        answer_calls({"predict": predict, "explain": explain, "nearest": nearest})
