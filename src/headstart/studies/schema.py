"""Study files as they are written: the tables and keys that TOML may hold, their types and defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from headstart.types import Phase

Budget = int | Literal["all"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class AtTable(_Strict):
    """What an arm does otherwise at one label budget."""

    labels_per_class: Budget
    recipe: str | None = None
    recipe_changes: dict[str, Any] = {}


class ArmTable(_Strict):
    """One side of the comparison.

    label: left out, the name. weights: left out, "none" where the method begins at random weights.
    labels_per_class: left out, the study's. tuned: in a study whose recipes are, the label budgets at which
    the arm takes its tuned one; true: at all, false: at none. tuned_as: an arm whose tuned recipes it takes;
    left out, its own.
    """

    name: str
    label: str | None = None
    model: str
    weights: str | None = None
    method: str
    recipe: str | None = None
    recipe_changes: dict[str, Any] = {}
    input_pixels: int | None = None
    labels_per_class: list[Budget] | None = None
    at: list[AtTable] = []
    tuned: bool | list[Budget] = True
    tuned_as: str | None = None


class SeedsTable(_Strict):
    """Other seeds than the study's at one label budget."""

    labels_per_class: Budget
    seeds: list[int]


class ClaimTable(_Strict):
    """A claim that the study decides; see types.Claim."""

    sentence: str
    a: str
    b: str
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    margin: float = 0.0
    labels_per_class: Budget = "all"
    gap_at: Budget | None = None
    post_hoc: bool = False
    original: str = ""


class RobustnessTable(_Strict):
    """The robustness step; see types.Robustness."""

    arms: list[str] = []
    images: int = 1000
    seed: int = 0


class ShiftSetTable(_Strict):
    """Labelled images from elsewhere; see types.ShiftSet."""

    name: str
    path: str


class SearchTable(_Strict):
    """A search for these arms' recipes: so many candidates for each."""

    arms: list[str]
    labels_per_class: Budget = "all"
    tries: int
    duration: str | None = None
    images: int | None = None
    validation_images: int | None = None
    folds: int | None = None


class StudyFile(_Strict):
    """A whole study file."""

    name: str
    title: str = ""
    question: str = ""
    dataset: str
    seeds: list[int] = [0]
    seeds_at: list[SeedsTable] = []
    labels_per_class: list[Budget] = ["all"]
    phase: Phase = "select"
    precision: str = "auto"
    feature_precision: str = "auto"
    data_health: bool = False
    looks: bool = False
    notes: list[str] = []
    arms: list[ArmTable]
    claims: list[ClaimTable] = []
    robustness: RobustnessTable | None = None
    shift_sets: list[ShiftSetTable] = []
    tuning: list[SearchTable] = []
    tuned: bool = False
    chosen: str = ""


# The keys of each kind of table, for what is said of an unknown one.
TABLES: dict[str, type[BaseModel]] = {
    "arms": ArmTable,
    "claims": ClaimTable,
    "seeds_at": SeedsTable,
    "robustness": RobustnessTable,
    "shift_sets": ShiftSetTable,
    "tuning": SearchTable,
}
