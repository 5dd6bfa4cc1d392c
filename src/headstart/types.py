"""The words of the project as frozen values; imports nothing of ours.

Arrays are numpy here: reports and statistics read these types without torch.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Phase = Literal["select", "refit"]
MINIMUM_FOR_SELECTION = 5  # labels a class: below, nothing is chosen and recipes written beforehand are used


@functools.total_ordering
@dataclass(frozen=True)
class LabelBudget:
    """How many training labels an arm may use: so many of each class, or all.

    per_class: labels of each class; None: all labels. Budgets sort ascending, all labels last. Files say
    `labels_per_class`: null (JSON) or "all" (TOML, tables) for all labels. Every wording of a budget is here.
    """

    per_class: int | None = None

    @classmethod
    def of(cls, value: int | str | None) -> LabelBudget:
        """The budget that a file, a table or a caller writes as a number, None or "all"."""
        return cls(None if value is None or value == "all" else int(value))

    @property
    def is_all(self) -> bool:
        return self.per_class is None

    @property
    def allows_selection(self) -> bool:
        """Whether a hyperparameter may be chosen with so many labels."""
        return self.per_class is None or self.per_class >= MINIMUM_FOR_SELECTION

    @property
    def toml(self) -> int | Literal["all"]:
        """The budget as study files and tables write it."""
        return "all" if self.per_class is None else self.per_class

    def __lt__(self, other: LabelBudget) -> bool:
        if self.per_class is None:
            return False
        return other.per_class is None or self.per_class < other.per_class

    def __str__(self) -> str:
        """ "all" or "1000": in names of folders, recipes and figures."""
        return str(self.toml)

    @property
    def title(self) -> str:
        """ "all" or "1,000": the head of a table's row or column."""
        return "all" if self.per_class is None else f"{self.per_class:,}"

    @property
    def words(self) -> str:
        """ "all labels", "1 label a class" or "1,000 labels a class": in a report's sentences."""
        return (
            "all labels"
            if self.is_all
            else f"{self.title} {'label' if self.per_class == 1 else 'labels'} a class"
        )

    @property
    def plain_words(self) -> str:
        """ "all labels" or "1000 labels a class": in progress lines and in stored notes."""
        return "all labels" if self.is_all else f"{self} labels a class"

    def with_images(self, train_images: int) -> str:
        """ "all 45,000 training labels" or "10 labels a class (100 training labels)": in the headline."""
        if self.is_all:
            return f"all {train_images:,} training labels"
        return f"{self.title} labels a class ({train_images:,} training labels)"

    @property
    def selection_images(self) -> str:
        """On which images a hyperparameter is chosen."""
        return "the validation images" if self.is_all else "folds inside the label budget"

    def tick(self, per_class: float) -> str:
        """An axis's text: "10", or "all" over the labels of each class that these are on average."""
        return f"all\n({per_class:,.0f})" if self.is_all else self.title


ALL_LABELS = LabelBudget()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How image files become square pixels; stored with the models that were trained on them.

    fit: "crop" keeps the middle, "pad" all on a grey ground, "squash" all with equal sides. integer_range,
    float_range: values of more than 8 bits that become black and white; None: as the files suggest."""

    fit: Literal["crop", "pad", "squash"] = "crop"
    integer_range: tuple[float, float] | None = None
    float_range: tuple[float, float] | None = None


DEFAULT_READING = Reading()


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """Labelled images of one size.

    images: uint8 (N, H, W, 3), RGB; may be memory-mapped.
    labels: int64 (N,), each in [0, len(class_names)).
    fingerprint: SHA-256 (hex) of images, labels and class names: the identity of this set.
    groups: int64 (N,): images of one group (near duplicates, one object) never stand on both sides of a
        split; None: each image for itself. names: text (N,), of a user's own files; None: they have none.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    fingerprint: str
    groups: NDArray[np.int64] | None = None
    names: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A training and a test set of the same classes, and where they come from."""

    name: str
    title: str
    train: ImageSet
    test: ImageSet
    source: str  # in words: who published it, under which terms
    fingerprint: str  # of train and test together
    reading: Reading = DEFAULT_READING  # of the user's own files


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What turns uint8 RGB images into a network's input; belongs to the weights, stored with them.

    size_pixels: images are resized to (size, size); None keeps their size.
    interpolation: "bicubic" or "bilinear" (Pillow's, antialiased).
    channel_order: "rgb" or "bgr".
    scale: pixels are multiplied by this (1/255 or 1), then mean is subtracted and std divides;
        mean and std follow channel_order.
    """

    size_pixels: int | None
    interpolation: str = "bicubic"
    channel_order: str = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Recipe(BaseModel):
    """Every hyperparameter of a method, one frozen value; subclasses in recipes/types.py name them."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    def replace(self, **changes: Any) -> Self:
        """This recipe with some fields replaced.

        Raises: pydantic.ValidationError where a value is not of its field's type or outside its range."""
        return self.model_validate(dict(self) | changes)


DEFAULT_RECIPE = Recipe()  # of an arm that leaves its recipe out, until its study is read


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a comparison: dataset x model x weights x method x recipe.

    What is left out is filled in when the arm's study is read (studies.study_file.load_study): the label is
    the name, the dataset the study's, the recipe the one of `recipe_name` or the method's default, the
    weights "none" where the method begins at random ones.

    name: short and unique in its study, the key of colours and tables. label: for people. weights: "none" for
    a random start. recipe_name: the named recipe that `recipe` started from. input_pixels: None for what the
    model's preprocessing says.

    Examples:
        >>> arm = headstart.Arm(name="cnn", model="cnn", method="scratch", recipe_name="cnn-full")
    """

    name: str
    label: str = ""
    dataset: str = ""
    model: str
    weights: str = ""
    method: str
    recipe: Recipe = DEFAULT_RECIPE
    recipe_name: str = ""
    input_pixels: int | None = None

    @property
    def is_pretrained(self) -> bool:
        """Whether it starts from weights that somebody trained, not from random ones."""
        return self.weights != "none"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training and one test reading. phase: "select" trains on the training images less validation,
    "refit" on all, nothing selected."""

    arm: Arm
    label_budget: LabelBudget
    seed: int
    phase: Phase = "select"
    precision: str  # of the network's arithmetic: "bf16" or "fp32"
    feature_precision: str = "bf16"  # of frozen layers: "bf16", "fp32" or "int8"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence that a study supports or refutes: arm `a` beats arm `b` on `metric` by over `margin`."""

    sentence: str
    a: str
    b: str
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    margin: float = 0.0  # in the metric's own unit
    label_budget: LabelBudget = ALL_LABELS
    gap_at: LabelBudget | None = None  # another budget, whose difference a - b is beaten
    post_hoc: bool = False  # stated after trials
    original: str = ""  # the sentence as first written, where it was reworded


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The trials of a study that differ in the seed alone. `arm` has the recipe of this label budget."""

    arm: Arm
    label_budget: LabelBudget
    seeds: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """The robustness step of a study: these arms (none: all), this trial seed, so many test images."""

    arms: tuple[str, ...] = ()
    images: int = 1000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class ShiftSet:
    """Labelled images of the study's classes from elsewhere: a name for people, and their folder."""

    name: str
    path: str


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """What makes a candidate of a search cheaper than the trial it stands for; None: as the trial.

    duration: of the recipe. images, validation_images: how many of each, at all labels only. folds: how many
    of the five are read, at label budgets only."""

    duration: str | None = None
    images: int | None = None
    validation_images: int | None = None
    folds: int | None = None

    def settings(self) -> dict[str, Any]:
        """What is not as the trial."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search for these arms' recipes at one label budget: so many candidates for each."""

    arms: tuple[str, ...]
    label_budget: LabelBudget
    tries: int
    proxy: Proxy


@dataclass(frozen=True, kw_only=True)
class Study:
    """Arms x label budgets x seeds, read from a TOML file or built in Python.

    cells: which of them are run, where that is not every arm at every budget with every seed; empty: all.
    data_health, looks: after the trials, look for copies and wrong labels; read where the networks look.
    notes: what a reader must know of the study's history; the report tells them with the threats to validity.
    chosen: the arm that is recommended, where one was chosen on validation images: the headline is about it.
    searches: how `headstart tune` looks for its recipes. tuned: its cells have the recipes that were found
    so, where any were.

    Examples:
        >>> arms = (headstart.Arm(name="cnn", model="cnn", method="scratch"),)
        >>> study = headstart.Study(name="small", dataset="cifar10", arms=arms, seeds=(0, 1))
    """

    name: str
    title: str = ""
    question: str = ""
    dataset: str
    arms: tuple[Arm, ...]
    label_budgets: tuple[LabelBudget, ...] = (ALL_LABELS,)
    seeds: tuple[int, ...] = (0,)
    phase: Phase = "select"
    precision: str = "auto"
    feature_precision: str = "auto"
    claims: tuple[Claim, ...] = ()
    cells: tuple[Cell, ...] = ()
    data_health: bool = False
    looks: bool = False
    robustness: Robustness | None = None
    shift_sets: tuple[ShiftSet, ...] = ()
    notes: tuple[str, ...] = ()
    chosen: str = ""
    searches: tuple[Search, ...] = ()
    tuned: bool = False


@dataclass(frozen=True, kw_only=True)
class Features:
    """Frozen activations of a set of images.

    values: float16 (N, D), or (N, H, W, C) where cut inside a network; memory-mapped. labels: int64 (N,).
    key: SHA-256 of all that the values depend on."""

    values: NDArray[np.float16]
    labels: NDArray[np.int64]
    key: str


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a trained model says about a set of images.

    logits: float32 (N, C). flip_logits: the same, mean over the image and its mirror image, or None.
    labels: int64 (N,). example_ids: int64 (N,), positions in the dataset's train or test set.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    example_ids: NDArray[np.int64]
    flip_logits: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a trial cost.

    seconds: wall seconds by phase, cold: "features" is what computing them took, even where they were cached.
    spent_seconds: wall seconds that this trial itself took (cached parts excluded).
    examples: images passed through what learns, repeats counted. flops: floating-point operations, counted.
    peak_memory_bytes: highest resident memory of the process during the trial. joules: cold, of all that the
    machine's counters cover (environment "energy" names it) during the trial, other programs' work too; None
    where nothing measures it.
    """

    seconds: Mapping[str, float]
    spent_seconds: float
    examples: int
    flops: int
    peak_memory_bytes: int
    joules: float | None = None

    @property
    def total_seconds(self) -> float:
        """Cold wall seconds, all phases together."""
        return math.fsum(self.seconds.values())


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished trial. `history` has a row an epoch (or a solver's pass): epoch, step, seconds, examples,
    flops and whatever was measured (train_loss, train_accuracy, val_accuracy, val_nll, learning_rate)."""

    key: str
    study: str
    trial: Mapping[str, Any]  # the fully resolved trial, as stored in trial.json
    metrics: Mapping[str, float | None]  # val_accuracy, test_accuracy, ...; None where undefined
    train_images: int
    history: tuple[Mapping[str, float], ...]
    cost: Cost
    selected: Mapping[str, Any] = field(default_factory=dict)  # what validation chose: {"l2": 0.01, ...}
    environment: Mapping[str, Any] = field(default_factory=dict)
