"""study.json: what a study says of itself, so that its report needs nothing else.

Files of every version are read: what one lacks has a default: "", None or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.store.manifest import read_manifest
from headstart.store.names import inside
from headstart.store.reading import checked, read_table
from headstart.store.remedies import STUDY as REMEDY
from headstart.store.schema import StudyFields
from headstart.store.threads import ThreadsRecord
from headstart.store.trials import StoredArm
from headstart.types import Claim, LabelBudget, Robustness

FILE = "study.json"


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """The dataset that a study was run on."""

    name: str
    title: str
    source: str
    fingerprint: str
    class_names: tuple[str, ...]
    train_images: int
    test_images: int
    image_pixels: int | None

    @classmethod
    def from_stored(cls, value: Mapping[str, Any]) -> DatasetRecord:
        return cls(
            name=value.get("name", ""),
            title=value.get("title", ""),
            source=value.get("source", ""),
            fingerprint=value.get("fingerprint", ""),
            class_names=tuple(value.get("class_names", ())),
            train_images=value.get("train_images", 0),
            test_images=value.get("test_images", 0),
            image_pixels=value.get("image_pixels"),
        )


@dataclass(frozen=True, kw_only=True)
class CellRecord:
    """The trials of an arm at a label budget that a study asks for."""

    arm: str
    label_budget: LabelBudget
    seeds: tuple[int, ...]
    recipe_name: str


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """What the source of pretrained weights states of them."""

    pretraining: str
    origin: str
    licence: str

    @classmethod
    def from_stored(cls, value: Mapping[str, Any]) -> WeightsRecord:
        return cls(
            pretraining=value.get("pretraining") or "",
            origin=value.get("origin") or "",
            licence=value.get("licence") or "",
        )


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """An architecture that a study uses. default_weights: older files tell of these alone."""

    title: str
    parameters: int | None
    weights: Mapping[str, WeightsRecord]
    default_weights: WeightsRecord

    @classmethod
    def from_stored(cls, name: str, value: Mapping[str, Any]) -> ModelRecord:
        weights = value.get("weights") or {}
        return cls(
            title=value.get("title", name),
            parameters=value.get("parameters"),
            weights={each: WeightsRecord.from_stored(about) for each, about in weights.items()},
            default_weights=WeightsRecord.from_stored(value),
        )


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study as its folder describes it.

    phase: "select" or "refit"; None where the file does not say. cells: which trials it asks for. chosen: the
    arm that is recommended, "" for none. recipes: where a recipe that `headstart tune` chose comes from, by
    its name. command: what ran the study. threads: None where the file does not say."""

    name: str
    title: str
    question: str
    dataset: DatasetRecord
    arms: tuple[StoredArm, ...]
    phase: str | None
    feature_precision: str
    cells: tuple[CellRecord, ...]
    claims: tuple[Claim, ...]
    robustness: Robustness | None
    notes: tuple[str, ...]
    chosen: str
    models: Mapping[str, ModelRecord]
    recipes: Mapping[str, Mapping[str, Any]]
    command: str
    threads: ThreadsRecord | None

    @classmethod
    def from_stored(cls, value: Mapping[str, Any]) -> StudyRecord:
        arms = tuple(StoredArm.from_stored(arm) for arm in value.get("arms") or ())
        name = value.get("name", "")
        return cls(
            name=name,
            title=value.get("title", name),
            question=value.get("question", ""),
            dataset=DatasetRecord.from_stored(value.get("dataset") or {}),
            arms=arms,
            phase=value.get("phase"),
            feature_precision=value.get("feature_precision", "auto"),
            cells=_cells(value, arms),
            claims=tuple(claim_from_stored(claim) for claim in value.get("claims") or ()),
            robustness=_robustness(value.get("robustness")),
            notes=tuple(value.get("notes") or ()),
            chosen=value.get("chosen", ""),
            models={
                name: ModelRecord.from_stored(name, model)
                for name, model in (value.get("models") or {}).items()
            },
            recipes=value.get("recipes") or {},
            command=value.get("command", "headstart study"),
            threads=ThreadsRecord.from_stored(value.get("threads")),
        )

    @property
    def labels(self) -> dict[str, str]:
        """The arms' names for people, by name, in the study's order."""
        return {arm.name: arm.label for arm in self.arms}


def claim_from_stored(value: Mapping[str, Any]) -> Claim:
    """The claim that study.json or a study's TOML file states."""
    fields = dict(value)
    budget = LabelBudget.of(fields.pop("labels_per_class", None))
    gap_at = fields.pop("gap_at", None)
    return Claim(**fields, label_budget=budget, gap_at=None if gap_at is None else LabelBudget.of(gap_at))


def _cells(value: Mapping[str, Any], arms: tuple[StoredArm, ...]) -> tuple[CellRecord, ...]:
    """The stored cells; where there are none, every arm at every label budget with every seed."""
    own = {arm.name: arm.recipe_name for arm in arms}
    cells = value.get("cells") or [
        {"arm": arm.name, "labels_per_class": budget, "seeds": value.get("seeds", ())}
        for arm in arms
        for budget in value.get("labels_per_class", ())
    ]
    return tuple(
        CellRecord(
            arm=cell["arm"],
            label_budget=LabelBudget(cell["labels_per_class"]),
            seeds=tuple(cell["seeds"]),
            recipe_name=cell.get("recipe_name") or own.get(cell["arm"], ""),
        )
        for cell in cells
    )


def _robustness(value: Mapping[str, Any] | None) -> Robustness | None:
    return Robustness(**{**value, "arms": tuple(value.get("arms") or ())}) if value else None


def read_study(folder: Path) -> StudyRecord:
    """What a study's folder says of its study. Raises: StoreError where study.json is missing; DamagedError
    where it makes no sense, or is not what was published."""
    path = inside(folder, FILE)
    if (stored := read_manifest(folder, REMEDY)) is not None:
        stored.require(folder, FILE, REMEDY)
    value = read_table(path, REMEDY)
    checked(StudyFields, value, path, REMEDY)
    return StudyRecord.from_stored(value)


def has_study(folder: Path) -> bool:
    return (folder / FILE).is_file()
