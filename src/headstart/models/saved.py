"""A trained model on disk: `model.safetensors`, its tensors with metadata that say how to rebuild the
network.

A run folder has one, and so has every folder that `SavedModel.write` makes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from headstart import store
from headstart.errors import WeightsError
from headstart.models import weights
from headstart.store.remedies import retrain
from headstart.types import DEFAULT_READING, Preprocessing, Reading

FILE = "model.safetensors"
# In the description, of the rest of it and the tensors; files of older versions have none. Not a second entry
# of the metadata: safetensors writes several in any order, and equal models are equal files.
_HASH = "sha256"
_NETWORK_OPTIONS = ("widths", "activation")  # what the constructor of the CNN takes


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """The dataset that a model was trained on; None for what is not stored.

    name: what `load_dataset` takes."""

    name: str | None = None
    title: str | None = None
    source: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """All that is stored of a trained model beside its tensors.

    architecture: what its method stored to rebuild it; the keys "model" and "weights" are always there.
    preprocessing: of the network; size_pixels is the side of the network's input (None: image_pixels).
    image_pixels: side of the training images, which images to predict must have too. reading: how the
    training images' files became square pixels, and how those of new images do.
    precision, feature_precision: those of its evaluation.
    metrics, train_images: from result.json, where there is one. folder: None for a model in memory.
    """

    architecture: Mapping[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    image_pixels: int
    method: str
    weights_hash: str
    precision: str
    feature_precision: str
    dataset: TrainingImages
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    train_images: int | None = None
    label: str = ""
    folder: Path | None = None
    reading: Reading = DEFAULT_READING

    @property
    def model(self) -> str:
        """Name of the network in MODELS."""
        return str(self.architecture["model"])

    @property
    def weights(self) -> str:
        """The pretrained weights that training started from, "none" for random ones."""
        return str(self.architecture["weights"])

    @property
    def network_options(self) -> dict[str, Any]:
        """What the network's constructor takes beyond its defaults."""
        return {name: self.architecture[name] for name in _NETWORK_OPTIONS if name in self.architecture}

    @property
    def input_pixels(self) -> int:
        """Side of the network's input."""
        return self.preprocessing.size_pixels or self.image_pixels

    def read_state(self) -> dict[str, Tensor]:
        """The stored tensors. Raises: WeightsError where the file is missing, is not what was written, or
        holds values that are not finite."""
        assert self.folder is not None
        path = self.folder / FILE
        state, description = weights.load_state_file(path), weights.read_description(path)
        if description.pop(_HASH, "") not in ("", weights.content_hash(json.dumps(description), state)):
            raise WeightsError(
                f"{path} is damaged: its SHA-256 is not that of what was written; {retrain(self.folder)}"
            )
        for name, tensor in state.items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise WeightsError(
                    f"{path} is damaged: {name} has values that are not finite; {retrain(self.folder)}"
                )
        return state

    def write(self, folder: Path, state: Mapping[str, Tensor]) -> Path:
        """Write the model and its tensors into a folder, and return the folder. Raises: StoreError."""
        from safetensors.torch import save

        description = dict(self.architecture) | {
            "class_names": list(self.class_names),
            "preprocessing": dataclasses.asdict(self.preprocessing),
            "method": self.method,
            "weights_hash": self.weights_hash,
            "image_pixels": self.image_pixels,
            "precision": self.precision,
            "feature_precision": self.feature_precision,
            "dataset": dataclasses.asdict(self.dataset),
        }
        if self.reading != DEFAULT_READING:
            description["reading"] = dataclasses.asdict(self.reading)
        if self.label:
            description["label"] = self.label
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        description[_HASH] = weights.content_hash(json.dumps(description), tensors)
        store.write_bytes(folder / FILE, save(tensors, {"headstart": json.dumps(description)}))
        return folder
