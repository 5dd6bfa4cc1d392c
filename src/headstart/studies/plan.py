"""What a study would run and about how long that takes on this machine, from short measurements: nothing is
trained.

Seconds of a trial that has finished on this machine stand for the others of its arm and label budget. Where
there is none, a few training steps, batches of frozen layers and passes of the head's solver are timed on the
arm's own network and multiplied up. Of what comes after the trials, corrupted images and data health are
timed in the same way, shift sets are not.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from headstart import store
from headstart.data import load_dataset
from headstart.data.splits import FOLDS
from headstart.data_quality import label_errors
from headstart.data_quality.dataset import backbone_of, checks_labels, stored_health
from headstart.data_quality.similarity import estimated_seconds
from headstart.errors import DownloadError, WeightsError
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from headstart.evaluation.robustness import has_reading, robustness_ids
from headstart.methods import method_spec
from headstart.methods.frozen import backbone_layers
from headstart.models.features import FeatureRequest
from headstart.recipes import provenance_of, recipe_named
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device
from headstart.studies.after import has_textures
from headstart.studies.feature_needs import FeatureNeeds, PlannedFeatures
from headstart.studies.study_file import load_study, study_folder
from headstart.studies.timings import Timings
from headstart.studies.trial import environment, resolve, trial_key
from headstart.studies.trials import as_finished, trials_of
from headstart.types import ALL_LABELS, Arm, LabelBudget, Robustness, Study, Trial


@dataclass(frozen=True, kw_only=True)
class Planned:
    """The trials of an arm at a label budget: how many, how many are finished, seconds of one that is not
    (features apart)."""

    arm: str
    label_budget: LabelBudget
    trials: int
    finished: int
    seconds: float
    measured: bool  # from a finished trial, not from short timings

    @property
    def seconds_left(self) -> float:
        return (self.trials - self.finished) * self.seconds


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """What a study does after its trials, and the seconds that are left of it, frozen features apart; None:
    not estimated."""

    what: str
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """What is left to do. Seconds are wall seconds on this machine. searches: seconds of each search that
    found one of the study's recipes, where it ran; nothing of it is left, for the recipes are stored."""

    study: str
    rows: tuple[Planned, ...]
    features: tuple[PlannedFeatures, ...]
    after: tuple[PlannedStep, ...] = ()
    searches: tuple[float, ...] = ()

    @property
    def seconds_left(self) -> float:
        return math.fsum(
            [
                *(row.seconds_left for row in self.rows),
                *(part.seconds for part in self.features),
                *(step.seconds or 0.0 for step in self.after),
            ]
        )


def plan_study(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, str] | None = None,
    seeds: int | None = None,
    published: str | Path | None = None,
    timings: Timings | None = None,
) -> StudyPlan:
    """The plan of a study; arguments as launch.run_study. Reads dataset and weights (fetched where missing),
    trains nothing. timings: what was measured before, of the same dataset."""
    value, _ = load_study(study, changes, seeds)
    folders = [
        study_folder(value, out),
        *([Path(published)] if published else []),
    ]
    keep_freed_memory()
    dataset, device = load_dataset(value.dataset), default_device()
    groups: dict[tuple[str, LabelBudget], list[Trial]] = {}
    for trial in trials_of(value):
        groups.setdefault((trial.arm.name, trial.label_budget), []).append(
            as_finished(trial, value, dataset, folders)
        )
    rows, needed = [], FeatureNeeds(dataset, device)
    with tempfile.TemporaryDirectory(prefix="headstart-plan-") as scratch:
        timings = timings or Timings(dataset, device)
        timings.scratch = Path(scratch)
        for number, ((_, budget), trials) in enumerate(groups.items(), 1):
            progress.say(f"planning {number} of {len(groups)}: {trials[0].arm.label}, {budget} labels")
            keys = [trial_key(resolve(trial, dataset)) for trial in trials]
            done = [folder / key for key in keys for folder in folders if store.is_finished(folder / key)][
                : len(keys)
            ]
            missing = [
                trial
                for trial, key in zip(trials, keys, strict=True)
                if not any(store.is_finished(folder / key) for folder in folders)
            ]
            spent = _seconds_here(done, device, every=not missing)
            seconds = float(np.mean(spent)) if spent else timings.trial(missing[0])
            rows.append(
                Planned(
                    arm=trials[0].arm.label,
                    label_budget=budget,
                    trials=len(trials),
                    seconds=seconds,
                    finished=len(trials) - len(missing),
                    measured=bool(spent),
                )
            )
            for trial in missing:
                needed.add(trial)
        after = tuple(_after(value, folders, timings, needed))  # which may need features too
        return StudyPlan(
            study=value.name,
            rows=tuple(rows),
            features=tuple(needed.planned(timings)),
            after=after,
            searches=_searches(trials[0].arm.recipe_name for trials in groups.values()),
        )


def _searches(recipes: Iterable[str]) -> tuple[float, ...]:
    """Seconds of the searches behind named recipes; one that was written by hand has none."""
    provenances = [provenance_of(name) for name in dict.fromkeys(recipes)]
    return tuple(float(provenance["seconds"]) for provenance in provenances if "seconds" in provenance)


def _seconds_here(done: Sequence[Path], device: torch.device, every: bool) -> list[float]:
    """Seconds of finished trials, features apart: of those that ran on this machine, one at a time; or of
    every one."""
    here = environment(device, "fp32")
    estimates = []
    for folder in done:
        trial = store.read_trial(folder)
        theirs = trial.environment
        if every or (
            theirs.get("jobs", 1) == 1
            and all(theirs.get(name) == here[name] for name in ("device", "processor"))
        ):
            estimates.append(
                math.fsum(seconds for phase, seconds in trial.cost.seconds.items() if phase != "features")
            )
    return estimates


def _after(
    study: Study, folders: Sequence[Path], timings: Timings, needed: FeatureNeeds
) -> Iterator[PlannedStep]:
    if study.robustness is not None and has_textures():
        yield PlannedStep(
            what="corrupted images", seconds=_corrupted_seconds(study, study.robustness, folders, timings)
        )
    if study.shift_sets:
        yield PlannedStep(what="shift sets", seconds=None)
    if study.looks:
        yield PlannedStep(what="where networks look", seconds=None)
    if study.data_health:
        yield PlannedStep(what="data health", seconds=_health_seconds(study, folders, timings, needed))


def _corrupted_seconds(study: Study, wanted: Robustness, folders: Sequence[Path], timings: Timings) -> float:
    """Of every wanted arm without a reading: its images corrupted, and passed through its network with the
    clean ones."""
    dataset, trials = timings.dataset, trials_of(study)
    most = max(trial.label_budget for trial in trials)
    chosen: dict[str, Trial] = {}
    for trial in trials:
        whole = (
            trial.label_budget.is_all and method_spec(trial.arm.method).deterministic
        )  # one seed stands for all
        asked = not wanted.arms or trial.arm.name in wanted.arms
        if asked and trial.label_budget == most and (whole or trial.seed == wanted.seed):
            chosen.setdefault(trial.arm.name, trial)
    images, seconds = len(robustness_ids(dataset, wanted)), 0.0
    for trial in chosen.values():
        key = trial_key(resolve(trial, dataset))
        if not any(has_reading(folder, key, dataset, wanted) for folder in folders):
            passes = len(CORRUPTIONS) * len(SEVERITIES) + 1
            seconds += images * (passes * timings.forward(trial) + timings.corrupting())
    return seconds


def _health_seconds(
    study: Study, folders: Sequence[Path], timings: Timings, needed: FeatureNeeds
) -> float | None:
    """Of comparing all images and of the cross-validated probe; None where the network's weights are not to
    be had."""
    dataset, backbone = timings.dataset, backbone_of(study.arms, study.feature_precision)
    if any(stored_health(folder, dataset, backbone) for folder in folders):
        return 0.0
    arm = Arm(
        name="data health",
        label="data health",
        dataset=study.dataset,
        model=backbone.model,
        weights=backbone.weights,
        method="linear_probe",
        recipe=recipe_named("probe"),
        input_pixels=backbone.input_pixels,
    )
    trial = Trial(
        arm=arm, label_budget=ALL_LABELS, seed=0, precision="fp32", feature_precision=backbone.precision
    )
    context = timings.context(trial)
    try:
        layers = backbone_layers(context)
    except (DownloadError, WeightsError):
        return None
    for images in (dataset.train, dataset.test):
        needed.note(arm, FeatureRequest(layers=layers, images=images))
    seconds = estimated_seconds(len(dataset.train) + len(dataset.test))
    if checks_labels(dataset):
        fits, rows = FOLDS * len(label_errors.L2_VALUES), len(dataset.train) * (1 - 1 / FOLDS)
        seconds += fits * rows * timings.head_row(trial)
    return seconds


def plan_tables(plan: StudyPlan) -> list[Table | str]:
    """The plan for a terminal."""
    table = Table(title=f"{plan.study}: what would run", title_justify="left", title_style="bold")
    for column, side in (
        ("arm", "left"),
        ("labels a class", "right"),
        ("trials", "right"),
        ("finished", "right"),
        ("each", "right"),
        ("left", "right"),
        ("known from", "left"),
    ):
        table.add_column(column, justify=side)  # type: ignore[arg-type]
    for row in plan.rows:
        table.add_row(
            row.arm,
            str(row.label_budget),
            str(row.trials),
            str(row.finished),
            progress.clock(row.seconds),
            progress.clock(row.seconds_left) if row.seconds_left else "-",
            "finished trials" if row.measured else "a few steps",
        )
    parts: list[Table | str] = [table]
    if plan.features:
        frozen = Table(title="frozen layers, computed once", title_justify="left", title_style="bold")
        for column, side in (("of", "left"), ("left", "right"), ("disk", "right")):
            frozen.add_column(column, justify=side)  # type: ignore[arg-type]
        for part in plan.features:
            frozen.add_row(
                part.what,
                progress.clock(part.seconds) if part.seconds else "-",
                f"{part.missing_bytes / 1e9:.2f} GB",
            )
        parts.append(frozen)
    left: Sequence[Planned] = [row for row in plan.rows if row.trials > row.finished]
    if plan.after:
        notes = [
            f"{step.what} {'not estimated' if step.seconds is None else progress.clock(step.seconds)}"
            for step in plan.after
        ]
        parts.append(f"after the trials: {', '.join(notes)}")
    if plan.searches:
        parts.append(
            f"recipes: {len(plan.searches)} searched before, in {progress.clock(math.fsum(plan.searches))} "
            "of tries; they are stored, so nothing of that is left"
        )
    return [
        *parts,
        f"about {progress.clock(plan.seconds_left)} left for {sum(r.trials - r.finished for r in left)} "
        "trials, "
        "on this machine as it is now",
    ]
