"""Find and read models on disk: which folder holds one, and what it says of its model.

What older run folders do not store in model.safetensors is read from the trial.json and study.json around
them. The tensors are read by `predictor`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from headstart import store
from headstart.data.download import downloads_folder
from headstart.data.folders import reading_from
from headstart.errors import ConfigError, StoreError, WeightsError, unknown_name
from headstart.models import weights
from headstart.models.preprocessing import stored_preprocessing
from headstart.models.saved import FILE, SavedModel, TrainingImages
from headstart.models.weight_names import is_url
from headstart.results.trials import representative_trials
from headstart.store.names import Text
from headstart.store.reading import checked, first_fault, parse_json, read_table
from headstart.store.remedies import TRIAL as REMEDY
from headstart.store.remedies import retrain
from headstart.store.schema import Pixels, ResultFields, Stored, StoredPreprocessing, TrialFields
from headstart.types import DEFAULT_READING, Reading


def find_model(path: str | Path, arm: str | None = None) -> Path:
    """The model folder that a user means: `path` itself, or that of one arm of the study in it.

    path: a run folder, a saved model's folder, its model.safetensors, or a study's folder; of an arm's trials
    the one that the report shows is taken (all labels, lowest seed). arm: may be left out where a study has
    one arm.
    Raises: StoreError where there is no model, or it is not finished; ConfigError for an unknown or missing
    arm."""
    folder = Path(path)
    if folder.name == FILE and folder.is_file():
        folder = folder.parent
    if (folder / FILE).is_file():
        if (folder / "trial.json").exists() and not store.is_finished(folder):
            raise StoreError(
                f"{folder}: this trial has not finished; run its study again and use the model then"
            )
        if arm is not None:
            raise ConfigError(f"{folder} is one model, not a study; leave --arm out")
        return folder
    if store.is_finished(folder):
        raise StoreError(f"{folder / FILE} is not there: published trials have none; {retrain(folder)}")
    trials = representative_trials(store.finished_trials(folder)) if folder.is_dir() else {}
    if not trials:
        raise StoreError(
            f"{folder} holds no model; give a finished trial's folder (with its {FILE}), or a study's and "
            "--arm"
        )
    if arm is None and len(trials) > 1:
        choices = ", ".join(
            f"{name} (test accuracy {trial.test_accuracy:.3f})" for name, trial in trials.items()
        )
        raise ConfigError(f"{folder} holds {len(trials)} models: {choices}; choose one with --arm")
    if arm is not None and arm not in trials:
        raise unknown_name("arm", arm, trials)
    return trials[arm or next(iter(trials))].folder


def read_model(folder: Path) -> SavedModel:
    """What a model folder says of its model.

    Raises: WeightsError where model.safetensors is missing, damaged or of another program; StoreError where
    something that older versions stored beside it is missing, naming it."""
    path = folder / FILE
    if not path.is_file():
        raise WeightsError(f"{path} is not there; give the folder of a finished trial, or {retrain(folder)}")
    text = weights.read_metadata(path).get("headstart")
    if text is None:
        raise WeightsError(f"{path} was not written by headstart: its metadata do not say what it is")
    stored = _description(text, path)
    stored.pop("sha256", None)  # `SavedModel.read_state` checks it
    trial, result = (
        _read_beside(folder / name, model)
        for name, model in (("trial.json", TrialFields), ("result.json", ResultFields))
    )
    _add_what_older_versions_left_out(stored, trial, folder)
    for name in ("image_pixels", "precision", "feature_precision"):
        if stored[name] is None:
            raise StoreError(
                f"{path} does not say its {name}: an older headstart wrote that into the study's folder; "
                "use the model where its study is, or run the study again"
            )
    return SavedModel(
        class_names=tuple(stored.pop("class_names")),
        preprocessing=stored_preprocessing(stored.pop("preprocessing")),
        image_pixels=int(stored.pop("image_pixels")),
        method=stored.pop("method"),
        weights_hash=stored.pop("weights_hash"),
        precision=stored.pop("precision"),
        feature_precision=stored.pop("feature_precision"),
        dataset=TrainingImages(**stored.pop("dataset")),
        reading=reading_from(stored.pop("reading", {})),
        label=stored.pop("label", "") or trial.get("arm", {}).get("label", ""),
        architecture=stored,  # what is left
        metrics=result.get("metrics", {}),
        train_images=result.get("train_images"),
        folder=folder,
    )


class _Description(Stored):
    """What model.safetensors says of its model, as far as it decides how much memory and time the model
    takes."""

    model: Text
    weights: Text = "none"
    class_names: Annotated[list[str], Field(min_length=1, max_length=100_000)]
    preprocessing: StoredPreprocessing
    image_pixels: Pixels | None = None
    method: Text
    weights_hash: Text | None
    precision: Text | None = None
    feature_precision: Text | None = None
    dataset: dict[str, str | None] | None = None
    label: Text = ""
    reading: Annotated[Reading, BeforeValidator(reading_from)] = DEFAULT_READING
    activation: Literal["relu", "gelu"] = "relu"
    widths: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(max_length=16)] | None = None


def _description(text: str, path: Path) -> dict[str, Any]:
    """The description, checked. Raises: WeightsError where it makes no sense, or names an address that is
    not in the cache: none from a file is ever fetched."""
    try:
        stored = parse_json(text)
        fields = _Description.model_validate(stored)
    except (ValueError, RecursionError) as error:
        reason = first_fault(error) if isinstance(error, ValidationError | RecursionError) else str(error)
        raise WeightsError(f"{path} is damaged ({reason}); take another copy of the model") from error
    if is_url(fields.weights) and not weights.is_fetched(fields.weights):
        raise WeightsError(
            f"{path} needs the weights {fields.weights}, which are not in the cache, and no address from "
            f"a file is fetched; if you trust it, fetch it yourself into {downloads_folder()}"
        )
    return dict(stored)


def _read_beside(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """What lies beside a model; empty where nothing does."""
    if not path.exists():
        return {}
    value = read_table(path, REMEDY)
    checked(model, value, path, REMEDY)
    return value


def _add_what_older_versions_left_out(stored: dict[str, Any], trial: dict[str, Any], folder: Path) -> None:
    """Adds to `stored` the size of the images, the precision and the dataset, from trial.json and the study's
    study.json: older metadata lack them. Older models from random weights have no "weights"."""
    arm = trial.get("arm", {})
    stored.setdefault("weights", arm.get("weights", "none"))
    for name in ("precision", "feature_precision"):
        stored.setdefault(name, trial.get(name))
    if "image_pixels" in stored and "dataset" in stored:
        return
    dataset = store.read_study(folder.parent).dataset if store.has_study(folder.parent) else None
    stored.setdefault("image_pixels", dataset and dataset.image_pixels)
    stored.setdefault(
        "dataset",
        {
            "name": arm.get("dataset"),
            "fingerprint": trial.get("dataset_fingerprint"),
            "title": dataset and dataset.title,
            "source": dataset and dataset.source,
        },
    )
