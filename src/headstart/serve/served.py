"""The models of a server: each loaded once, under a name of its own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from headstart.errors import ConfigError
from headstart.models.network import Network
from headstart.predict.predictor import Predictor, load_predictor
from headstart.runtime.show import printable
from headstart.serve.backends import Backend, answer_by

_WARM_BATCH = 16


class ServedModel:
    """A model under its name. Its predictor is used by one thread alone, that of the server's worker."""

    def __init__(self, name: str, predictor: Predictor, backend: Backend = "predict") -> None:
        self.name, self.predictor, self.backend = name, predictor, backend
        self.answer, self.agreement = answer_by(backend, predictor)

    @cached_property
    def network(self) -> Network:
        """The differentiable network, built when first explained. Raises: ConfigError where there is none."""
        return self.predictor.network()

    def description(self) -> dict[str, object]:
        """What GET /models says of it."""
        saved = self.predictor.saved
        return {
            "name": self.name,
            "classes": list(map(printable, self.predictor.class_names)),
            "image_pixels": self.predictor.image_pixels,
            "network": saved.model,
            "method": saved.method,
            "precision": {"predict": self.predictor.precision, "onnx": "fp32", "int8": "int8"}[self.backend],
            "backend": self.backend,
        }


def load_models(
    given: Sequence[str], arms: Sequence[str] = (), backend: Backend = "predict"
) -> dict[str, ServedModel]:
    """The models by name, in the order given; each has answered about one black image and about several, so
    that its weights are there, in the order that batches like, and its first request is no slower than
    others.

    given: MODEL or NAME=MODEL, MODEL being a folder as `load_predictor` takes it; without a name, the arm's
    or the folder's. arms: of a study's folder, several models at once. backend: what computes their answers.
    Raises: ConfigError where two models have one name; as `load_predictor` and `answer_by`."""
    models: dict[str, ServedModel] = {}
    for text in given:
        asked_name, path = _split(text)
        if asked_name is not None and len(arms) > 1:
            raise ConfigError(f"{asked_name!r} would name {len(arms)} arms; leave the name out")
        for arm in arms or (None,):
            name = printable(asked_name or arm or path.resolve().name)
            if name in models:
                raise ConfigError(f"two models are named {name!r}; name them apart, as in other={path}")
            predictor = load_predictor(path, arm=arm)
            pixels = predictor.image_pixels
            models[name] = ServedModel(name, predictor, backend)
            for count in (1, _WARM_BATCH):
                models[name].answer(np.zeros((count, pixels, pixels, 3), np.uint8), count)
    return models


def _split(text: str) -> tuple[str | None, Path]:
    """The name and the path of NAME=PATH; a path that is there is a path, whatever it holds."""
    name, sign, path = text.partition("=")
    if sign and name and path and not Path(text).exists():
        return name, Path(path)
    return None, Path(text)
