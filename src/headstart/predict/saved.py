"""Models on disk: which folder holds one, and what it says of itself; the weights are read by `predict`.

A model is a folder with `model.safetensors`: a finished trial's run folder, or one that `SavedModel.write`
made. Its metadata say how to rebuild the network and how to prepare images; what older run folders lack there
is read from the trial.json and study.json around them.
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
from headstart.errors import ConfigError, StoreError, WeightsError, unknown_name
from headstart.models import weights
from headstart.models.preprocess import stored_preprocessing
from headstart.results.trials import representative_trials
from headstart.types import Preprocessing

FILE = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What is known of a trained model, beside its tensors.

    architecture: what its method stored to rebuild it (model, weights, input_pixels, widths, k, ...).
    preprocessing: the network's own; its size_pixels is the network's input (None: image_pixels).
    image_pixels: side of the images that it was trained on; what it is asked about must have it too.
    precision, feature_precision: in which it was evaluated. dataset: name, title, source and fingerprint of
    its images.
    result: result.json's metrics and train_images, where there is one. folder: None for a model in memory."""

    architecture: Mapping[str, Any]
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    image_pixels: int
    method: str
    weights_hash: str
    precision: str
    feature_precision: str
    dataset: Mapping[str, Any]
    result: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    folder: Path | None = None

    @property
    def input_pixels(self) -> int:
        """Side of the network's input."""
        return self.preprocessing.size_pixels or self.image_pixels

    def read_state(self) -> dict[str, Tensor]:
        """The stored tensors. Raises: WeightsError where the file is missing or damaged."""
        assert self.folder is not None
        return weights.load_state_file(self.folder / FILE)

    def write(self, folder: Path, state: Mapping[str, Tensor]) -> Path:
        """Writes a model folder that needs no study around it, and returns its path. Raises: StoreError."""
        from safetensors.torch import save

        description = dict(self.architecture) | {
            "class_names": list(self.class_names),
            "preprocessing": dataclasses.asdict(self.preprocessing),
            "method": self.method,
            "weights_hash": self.weights_hash,
            "image_pixels": self.image_pixels,
            "precision": self.precision,
            "feature_precision": self.feature_precision,
            "dataset": dict(self.dataset),
            "label": self.label,
        }
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        store.write_bytes(folder / FILE, save(tensors, {"headstart": json.dumps(description)}))
        return folder


def find_model(path: str | Path, arm: str | None = None) -> Path:
    """The model folder that a user means: `path` itself, or one arm of the study in it.

    path: a run folder, a saved model's folder, its model.safetensors, or a study's folder; of an arm's trials
    the one that the report shows is taken (all labels, lowest seed). arm: may be left out where a study has
    one arm.
    Raises: StoreError where there is no model, or it is not finished; ConfigError for an unknown or missing
    arm."""
    here = Path(path)
    if here.name == FILE and here.is_file():
        here = here.parent
    if (here / FILE).is_file():
        if (here / "trial.json").exists() and not store.is_finished(here):
            raise StoreError(
                f"{here}: this trial has not finished; run its study again and use the model then"
            )
        if arm is not None:
            raise ConfigError(f"{here} is one model, not a study; leave --arm out")
        return here
    found = representative_trials(store.finished_trials(here)) if here.is_dir() else {}
    if not found:
        raise StoreError(
            f"{here} holds no model; give a finished trial's folder (with its {FILE}), or a study's and --arm"
        )
    if arm is None and len(found) > 1:
        listed = ", ".join(
            f"{name} (test accuracy {trial.test_accuracy:.3f})" for name, trial in found.items()
        )
        raise ConfigError(f"{here} holds {len(found)} models: {listed}; choose one with --arm")
    if arm is not None and arm not in found:
        raise unknown_name("arm", arm, found)
    return found[arm or next(iter(found))].folder


def read_model(folder: Path) -> SavedModel:
    """What a model folder says of its model.

    Raises: WeightsError where model.safetensors is missing, damaged or not ours; StoreError where something
    about it cannot be found any more, naming it."""
    path = folder / FILE
    if not path.is_file():
        raise WeightsError(f"{path} is not there; give the folder of a finished trial")
    text = weights.read_metadata(path).get("headstart")
    if text is None:
        raise WeightsError(f"{path} was not written by headstart: its metadata do not say what it is")
    found: dict[str, Any] = json.loads(text)
    trial = store.read_json(folder / "trial.json") if (folder / "trial.json").exists() else {}
    result = store.read_json(folder / "result.json") if (folder / "result.json").exists() else {}
    found.setdefault("weights", trial.get("arm", {}).get("weights", "none"))
    for name in ("precision", "feature_precision"):
        found.setdefault(name, trial.get(name))
    if "image_pixels" not in found or "dataset" not in found:
        study = (
            store.read_json(folder.parent / "study.json") if (folder.parent / "study.json").exists() else {}
        )
        described = study.get("dataset", {})
        found.setdefault("image_pixels", described.get("image_pixels"))
        found.setdefault(
            "dataset",
            {
                "name": trial.get("arm", {}).get("dataset"),
                "fingerprint": trial.get("dataset_fingerprint"),
                "title": described.get("title"),
                "source": described.get("source"),
            },
        )
    for name in ("image_pixels", "precision", "feature_precision"):
        if found[name] is None:
            raise StoreError(
                f"{path} does not say its {name}: an older headstart wrote that into the study's folder; "
                "use the model where its study is, or run the study again"
            )
    preprocessing = stored_preprocessing(found.pop("preprocessing"))
    own = {
        name: found.pop(name)
        for name in ("method", "weights_hash", "precision", "feature_precision", "dataset")
    }
    return SavedModel(
        class_names=tuple(found.pop("class_names")),
        preprocessing=preprocessing,
        image_pixels=int(found.pop("image_pixels")),
        label=found.pop("label", "") or trial.get("arm", {}).get("label", ""),
        architecture=found,
        folder=folder,
        result={name: result[name] for name in ("metrics", "train_images") if name in result},
        **own,
    )
