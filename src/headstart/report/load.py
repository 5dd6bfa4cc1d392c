"""A study folder as the report sees it: the study, its finished trials, their test predictions, the gallery's
pixels."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart import plots, store
from headstart.errors import DamagedError, DataError, StoreError
from headstart.registry.methods import stored_method
from headstart.report.sources import sources
from headstart.results import stats
from headstart.results.differences import TestOutcomes
from headstart.results.honest import honest_trials
from headstart.results.pairing import machine_of, one_machine
from headstart.results.trials import main_trials, metric_values, newest, relabelled, require_same_images
from headstart.store import FinishedTrial, SearchRecord, StoredArm, StudyRecord
from headstart.store.manifest import read_manifest
from headstart.store.remedies import PUBLISHED, STUDY
from headstart.store.remedies import TRIAL as REMEDY
from headstart.store.trials import RESULT, TRIAL
from headstart.types import LabelBudget, Predictions

Trials = list[FinishedTrial]
_SAME_IN_BOTH = ("model", "weights", "method", "input_pixels")  # of an arm in study.json and in result.json


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One arm of the study: what the study says of it, its finished trials at the main label budget, its
    style."""

    name: str
    label: str
    place: int  # position in the study: the key of its colour
    stored: StoredArm
    style: plots.ArmStyle
    trials: tuple[FinishedTrial, ...]  # ordered by seed
    tests: tuple[Predictions, ...]  # of these trials, in their order

    @property
    def first(self) -> FinishedTrial:
        return self.trials[0]

    def mean(self, metric: str) -> float | None:
        """Mean of a metric over the trials that have it; None where none has."""
        values = metric_values(self.trials, metric)
        return float(np.mean(values)) if values else None


@dataclass(frozen=True, kw_only=True)
class StudyView:
    """All that a report is made from. `arms` are those with finished trials at the main budget, in the
    study's order."""

    folder: Path
    study: StudyRecord
    trials: Trials  # the newest of every arm, budget, phase and seed
    arms: tuple[Arm, ...]
    styles: dict[str, plots.ArmStyle]
    budget: LabelBudget  # the main one
    planned: int  # trials that the study asks for
    finished: int  # of these
    missing: tuple[str, ...]  # those of them without a finished trial, in words, by arm
    superseded: int  # finished trials in the folder that no number rests on
    searches: tuple[SearchRecord, ...]  # for its arms, with candidates; by label budget and arm
    images: dict[int, NDArray[np.uint8]] = field(repr=False)  # example id -> pixels (H, W, 3)
    outcomes: TestOutcomes = field(default_factory=TestOutcomes, repr=False)

    @property
    def class_names(self) -> list[str]:
        return [plots.visible(name) for name in self.study.dataset.class_names]

    @property
    def test_images(self) -> int:
        return len(self.arms[0].tests[0].labels)

    @property
    def budgets(self) -> list[LabelBudget]:
        """Every label budget with a trial, ascending, all labels last."""
        return sorted({trial.label_budget for trial in self.trials})

    @cached_property
    def machines(self) -> list[tuple[str, str, str, str, str]]:
        """Every machine that a trial ran on, as pairing.machine_of says it, sorted."""
        return sorted({machine_of(trial) for trial in self.trials})

    @property
    def one_machine(self) -> bool:
        """Whether the arms' trials at the main budget ran on one machine, so that their seconds compare."""
        return one_machine(trial for arm in self.arms for trial in arm.trials)

    def recipe_names(self, arm: str) -> dict[LabelBudget, str]:
        """By label budget the name of the recipe that the study gives the arm."""
        return {cell.label_budget: cell.recipe_name for cell in self.study.cells if cell.arm == arm}

    def at(self, arm: str, budget: LabelBudget) -> Trials:
        """The arm's trials at a label budget, of the study's phase, by seed."""
        phase = self.arms[0].first.phase
        trials = [
            trial
            for trial in self.trials
            if trial.arm.name == arm and trial.label_budget == budget and trial.phase == phase
        ]
        return sorted(trials, key=lambda trial: trial.seed)


_KEPT: dict[Path, tuple[tuple[str, ...], StudyView]] = {}  # the last one that was read, with its sources


def load_study(folder: Path) -> StudyView:
    """Reads a study folder; the one that was read last is kept while its files stay as they are.

    Raises: StoreError where study.json or every finished trial is missing, or a file is damaged; DataError
    where the trials were not tested on the same images."""
    made_from = tuple(sources(folder))
    place = folder.absolute()
    if place in _KEPT and _KEPT[place][0] == made_from:
        return _KEPT[place][1]
    _KEPT.clear()
    view = _read(folder)
    _KEPT[place] = made_from, view
    return view


def _read(folder: Path) -> StudyView:
    _require_as_published(folder)
    study = store.read_study(folder)
    every = honest_trials(folder)
    labels = study.labels
    of_study = [trial for trial in every if trial.arm.name not in labels or _is_of(study, trial)]
    trials = [trial for trial in relabelled(newest(of_study), labels) if trial.arm.name in labels]
    if not trials:
        raise StoreError(f"no finished trial in {folder}; finish the study first: {study.command}")
    if len({trial.dataset_fingerprint for trial in trials}) > 1:
        raise DataError(
            f"the trials in {folder} were tested on different data sets; give each data set a folder of its "
            "own"
        )
    styles = plots.arm_styles(labels)
    main = main_trials(trials, study.phase)
    arms = tuple(
        _arm(stored, place, styles[stored.name], main[stored.name])
        for place, stored in enumerate(study.arms)
        if stored.name in main
    )
    for arm in arms:
        for test in arm.tests:
            require_same_images(arms[0].tests[0], test)
    planned, finished, missing = _missing(study, trials)
    return StudyView(
        folder=folder,
        study=study,
        trials=trials,
        arms=arms,
        styles=styles,
        budget=arms[0].first.label_budget,
        superseded=len(every) - len(trials),
        planned=planned,
        finished=finished,
        missing=missing,
        searches=_searches(folder, list(styles)),
        images=_gallery_images(folder),
    )


def _require_as_published(folder: Path) -> None:
    """Compares what lies beside published trials with their manifest; a study's own folder has none."""
    if (stored := read_manifest(folder, PUBLISHED)) is not None:
        for name in stored.files:
            stored.require(folder, name, PUBLISHED)


def _is_of(study: StudyRecord, trial: FinishedTrial) -> bool:
    """Whether a trial trained what study.json says of its arm: the arm's name is no part of a trial's key.

    False for one that an earlier setting of the study left in its run folder.
    Raises: DamagedError for a published one, which lies beside the study.json of its own study."""
    (arm,) = (arm for arm in study.arms if arm.name == trial.arm.name)
    pairs = ((name, getattr(arm, name), getattr(trial.arm, name)) for name in _SAME_IN_BOTH)
    different = [pair for pair in pairs if pair[1] != pair[2]]
    if different and not (trial.folder / TRIAL).is_file():
        name, wanted, own = different[0]
        raise DamagedError(
            f"{trial.folder / RESULT} says that arm {arm.name!r} has {name} {own!r}, study.json says "
            f"{wanted!r}; {REMEDY}"
        )
    return not different


def _missing(study: StudyRecord, trials: Trials) -> tuple[int, int, tuple[str, ...]]:
    """How many trials a study asks for, how many of these have finished, and by arm which label budgets lack
    how many."""
    done = {(trial.arm.name, trial.label_budget, trial.seed) for trial in trials}
    methods = {arm.name: arm.method for arm in study.arms}
    planned, finished, lacking = 0, 0, dict[str, list[str]]()
    for cell in study.cells:
        once = cell.label_budget.is_all and stored_method(methods[cell.arm]).deterministic
        seeds = cell.seeds[:1] if once else cell.seeds
        planned += len(seeds)
        left = sum((cell.arm, cell.label_budget, seed) not in done for seed in seeds)
        finished += len(seeds) - left
        if left:
            lacking.setdefault(cell.arm, []).append(f"{left} at {cell.label_budget.words}")
    return (
        planned,
        finished,
        tuple(f"{arm.label} ({', '.join(lacking[arm.name])})" for arm in study.arms if arm.name in lacking),
    )


def _arm(stored: StoredArm, place: int, style: plots.ArmStyle, trials: Trials) -> Arm:
    tests = tuple(store.read_test(trial.folder) for trial in trials)
    return Arm(
        name=stored.name,
        label=plots.visible(stored.label),
        place=place,
        stored=stored,
        style=style,
        trials=tuple(trials),
        tests=tests,
    )


def _searches(folder: Path, arms: list[str]) -> tuple[SearchRecord, ...]:
    searches = [each for each in store.study_searches(folder) if each.arm in arms and each.candidates]
    return tuple(sorted(searches, key=lambda each: (each.label_budget, arms.index(each.arm))))


def _gallery_images(folder: Path) -> dict[int, NDArray[np.uint8]]:
    path = folder / "gallery.npz"
    if not path.exists():
        return {}
    stored = store.read_npz(path, STUDY, ("images", "ids"))
    ids, images = stored["ids"], stored["images"]
    sound = (
        images.dtype == np.uint8 and images.ndim == 4 and images.shape[3] == 3 and 0 not in images.shape[1:]
    )
    if not sound or ids.dtype.kind != "i" or ids.shape != images.shape[:1]:
        raise DamagedError(f"{path} is damaged: it holds no images with an id each; {STUDY}")
    return dict(zip(ids.tolist(), images, strict=True))


def data_uri(image: NDArray[np.uint8]) -> str:
    """An image, uint8 (H, W, 3), as a PNG in a data: URI."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def estimate(values: list[float], images: int) -> plots.Estimate:
    """The mean of shares, one a seed, with a 95 % interval.

    Several different values: a t interval over seeds. One value, or a deterministic arm's equal ones: a
    Wilson interval over the `images` that one share was counted on, never a width of zero."""
    mean = float(np.mean(values))
    if len(values) > 1 and np.ptp(values) > 0:
        interval = stats.t_interval(values)
        return plots.Estimate(
            value=mean,
            interval=interval and (max(interval[0], 0.0), min(interval[1], 1.0)),
            points=tuple(values),
        )
    interval = stats.wilson_interval(round(mean * images), images) if images else None
    return plots.Estimate(value=mean, interval=interval, points=())
