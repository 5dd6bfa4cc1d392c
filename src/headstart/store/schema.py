"""What stored files may hold: pydantic models of result.json and of what is in it.

Files of every version are read, so most fields may be absent and others may stand beside them; what is
there has its type and its bounds. Sizes that decide how much memory something takes are bounded here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, field_validator, model_validator

from headstart.store.hashes import Sha256
from headstart.store.names import Name, Text

LARGEST_PIXELS = 2048  # side of an image or of a network's input; a study takes at most 1024
Count = Annotated[int, Field(ge=0, le=10**30)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_PIXELS)]
Scalar = str | int | float | bool | None
Plain = Scalar | list[Scalar] | dict[str, Scalar | list[Scalar]]
LabelsPerClass = Annotated[int, Field(ge=1, le=10**9)] | None


class Stored(BaseModel):
    """What every stored object has in common: strict types, no NaN, fields of later versions let through."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False, populate_by_name=True)


class StoredPreprocessing(Stored):
    """See types.Preprocessing."""

    size_pixels: Pixels | None
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    channel_order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: Annotated[list[float], Field(min_length=3, max_length=3)]
    std: Annotated[list[float], Field(min_length=3, max_length=3)]


class ArmFields(Stored):
    """An arm in result.json, trial.json and study.json."""

    name: Name
    label: Text | None = None
    dataset: Text = ""
    model: Text = ""
    weights: Text = ""
    method: Text = ""
    recipe: dict[str, Plain] | None = None
    recipe_name: Text | None = None
    input_pixels: Pixels | None = None


class TrialFields(Stored):
    """A resolved trial in result.json and trial.json."""

    arm: ArmFields
    labels_per_class: LabelsPerClass
    seed: Annotated[int, Field(ge=0, le=2**63)]
    phase: Literal["select", "refit"]
    precision: Text = ""
    feature_precision: Text = ""
    dataset_fingerprint: Text = ""
    weights_hash: Text | None = None
    preprocessing: StoredPreprocessing | dict[str, Plain] | None = None


class CostFields(Stored):
    """See types.Cost."""

    model_config = ConfigDict(extra="forbid")

    seconds: dict[Text, Seconds]
    spent_seconds: float
    examples: Count
    flops: Count
    peak_memory_bytes: Count
    joules: Annotated[float, Field(ge=0)] | None = None


class ResultFields(Stored):
    """result.json. version: 0 is what was written before run folders had manifests."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[int, Field(alias="schema", ge=0, le=1)] = 0
    key: Sha256
    study: Text
    trial: TrialFields
    metrics: dict[Text, float | None]
    train_images: Count
    cost: CostFields
    selected: dict[Text, Plain] = {}
    environment: dict[Text, Plain] = {}


class HistoryRow(Stored):
    """A row of history.jsonl: numbers by name."""

    __pydantic_extra__: dict[str, float] = Field(init=False)


class History(RootModel[list[HistoryRow]]):
    """history.jsonl: a row a line."""


class DatasetFields(Stored):
    """The dataset in study.json."""

    name: Text = ""
    title: Text = ""
    source: Text = ""
    fingerprint: Text = ""
    class_names: Annotated[list[str], Field(max_length=100_000)] = []
    train_images: Count = 0
    test_images: Count = 0
    image_pixels: Pixels | None = None


class CellFields(Stored):
    """Trials of an arm at a label budget in study.json."""

    arm: Name
    labels_per_class: LabelsPerClass
    seeds: list[Count]
    recipe_name: Text | None = None


class ClaimFields(Stored):
    """A claim in study.json; see types.Claim."""

    model_config = ConfigDict(extra="forbid")

    sentence: Text
    a: Name
    b: Name
    metric: Text
    direction: Literal["higher", "lower"] = "higher"
    margin: float = 0.0
    labels_per_class: LabelsPerClass | Literal["all"] = None
    gap_at: LabelsPerClass | Literal["all"] = None
    original: str = ""
    post_hoc: bool = False


class RobustnessFields(Stored):
    """The robustness step in study.json; see types.Robustness."""

    model_config = ConfigDict(extra="forbid")

    arms: list[Name] = []
    images: Count = 1000
    seed: Count = 0


class ModelFields(Stored):
    """An architecture in study.json."""

    title: Text | None = None
    parameters: Count | None = None
    weights: dict[Text, dict[str, Plain]] | None = None
    pretraining: Text | None = None
    origin: Text | None = None
    licence: Text | None = None


class ThreadsFields(Stored):
    """See threads.ThreadsRecord."""

    count: Annotated[int, Field(ge=1, le=100_000)]
    seconds: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,5}$")], Seconds]
    processor: Text
    cores: Annotated[int, Field(ge=1, le=100_000)]


class CandidateFields(Stored):
    """A candidate of a search; see searches.Candidate."""

    model_config = ConfigDict(extra="forbid")

    number: Annotated[int, Field(ge=1, le=100_000)]
    values: dict[Text, Plain] = {}
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    nll: Annotated[float, Field(ge=0)] | None = None
    seconds: Seconds = 0.0
    failed: Annotated[str, Field(max_length=20_000)] = ""
    train_images: Count | None = None
    validation_images: Count | None = None


class ProxyFields(Stored):
    """See types.Proxy."""

    model_config = ConfigDict(extra="forbid")

    duration: Text | None = None
    images: Count | None = None
    validation_images: Count | None = None
    folds: Count | None = None


class KnobFields(Stored):
    """A searched hyperparameter; see searches.SearchedHyperparameter."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    low: float | None = None
    high: float | None = None
    log: bool = False
    values: Annotated[list[Scalar | list[Scalar]], Field(max_length=1000)] | None = None


class FullLengthFields(Stored):
    """See searches.FullLength."""

    own: Annotated[float, Field(ge=0, le=1)]
    found: Annotated[float, Field(ge=0, le=1)]
    seeds: Count


class SearchFields(Stored):
    """tuning.json."""

    question: Text = ""
    arm: Name
    labels_per_class: LabelsPerClass
    tries: Annotated[list[CandidateFields], Field(max_length=100_000)]
    tries_asked: Count | None = None
    best: Count | None = None
    proxy: ProxyFields = ProxyFields()
    space: Annotated[list[KnobFields], Field(max_length=1000)] = []
    full_length: FullLengthFields | None = None


class RobustnessReading(Stored):
    """robustness/KEY.json: how a trial's model was read on corrupted images."""

    key: Sha256
    arm: Name
    settings: dict[Text, Any]
    seconds: dict[Text, Seconds]

    @field_validator("settings")
    @classmethod
    def _settings_are_known(cls, value: dict[str, Any]) -> dict[str, Any]:
        CorruptedSettings.model_validate(value)
        return value


class CorruptedSettings(Stored):
    """What the settings in robustness/KEY.json must have."""

    images: Count
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)]


class ShiftReading(Stored):
    """shift/SET/KEY.json: how a trial's model was read on a shift set. seconds: older files have none."""

    set_name: Annotated[Name, Field(alias="set")]
    key: Sha256
    arm: Name
    fingerprint: Text
    test_right: Count
    test_images: Annotated[int, Field(ge=1, le=10**9)]
    seconds: Seconds | None = None


class ExaminedFields(Stored):
    """The dataset in health.json."""

    name: Text
    title: Text
    fingerprint: Text
    class_names: Annotated[list[Text], Field(max_length=100_000)]
    train_images: Count
    test_images: Count


class ComparedFields(Stored):
    """The features in health.json's settings."""

    model: Text
    weights: Text
    input_pixels: Pixels | None


class ProbedFields(Stored):
    """The labels in health.json's settings."""

    folds: Count


Cosine = Annotated[float, Field(ge=-1, le=1)]


class ExaminationFields(Stored):
    """The settings in health.json."""

    max_distance: Annotated[int, Field(ge=0, le=64)]
    min_correlation: Cosine
    features: ComparedFields | None
    labels: ProbedFields | None
    alike: Annotated[
        list[Annotated[list[Cosine], Field(min_length=2, max_length=2)]], Field(max_length=100)
    ] = []


class HealthFields(Stored):
    """health.json."""

    dataset: ExaminedFields
    settings: ExaminationFields
    seconds: Seconds
    suspects: Count | None

    @model_validator(mode="after")
    def _belong_together(self) -> HealthFields:
        if self.suspects is not None and self.settings.labels is None:
            raise ValueError("suspects of labels that were not checked")
        if self.settings.features is not None and not self.settings.alike:
            raise ValueError("features that were compared without a least similarity")
        return self


class StudyFields(Stored):
    """study.json."""

    name: Text = ""
    title: Text | None = None
    question: Text = ""
    dataset: DatasetFields | None = None
    arms: Annotated[list[ArmFields], Field(max_length=1000)] | None = None
    phase: Literal["select", "refit"] | None = None
    feature_precision: Text = ""
    cells: Annotated[list[CellFields], Field(max_length=100_000)] | None = None
    labels_per_class: list[LabelsPerClass] = []
    seeds: list[Count] = []
    claims: Annotated[list[ClaimFields], Field(max_length=10_000)] | None = None
    robustness: RobustnessFields | None = None
    notes: list[Text] | None = None
    chosen: Text = ""
    models: dict[Text, ModelFields] | None = None
    recipes: dict[Text, dict[str, Any]] | None = None  # provenance, shown as it is
    command: Text = "headstart study"
    threads: ThreadsFields | None = None
