"""What a study would run and about how long that takes on this machine, from short measurements: nothing is
trained.

Seconds of a trial that has finished on this machine stand for the others of its arm and label budget. Where
there is none, a few training steps, batches of frozen layers and passes of the head's solver are timed on the
arm's own network and multiplied up. Of what comes after the trials, corrupted images and data health are
timed in the same way, shift sets are not.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from headstart import store
from headstart.data import load_dataset
from headstart.data.batches import ActivationBatches, StoredViews
from headstart.data.splits import FOLDS
from headstart.data_quality import label_errors
from headstart.data_quality.dataset import backbone_of, checks_labels, stored_health
from headstart.data_quality.similarity import estimated_seconds
from headstart.errors import DownloadError, WeightsError
from headstart.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from headstart.evaluation.robustness import has_reading, robustness_ids
from headstart.methods import method_spec, network, partial
from headstart.methods.base import Context
from headstart.methods.selection import selection_splits
from headstart.models import load_model
from headstart.models.features import FeatureRequest, FrozenLayers
from headstart.models.inference import predict_logits
from headstart.models.network import Network, Tail
from headstart.recipes import LogisticRecipe, PartialRecipe, TrainingRecipe, provenance_of, recipe_named
from headstart.registry.methods import FeatureUse
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device
from headstart.studies.after import has_textures
from headstart.studies.study_file import load_study
from headstart.studies.trial import SAMPLE_IMAGES, environment, make_context, resolve, trial_key
from headstart.studies.trials import as_finished, trials_of
from headstart.training.durations import resolve_steps
from headstart.training.logistic import fit_path
from headstart.training.step import Batches
from headstart.types import ALL_LABELS, Arm, Dataset, ImageSet, LabelBudget, Robustness, Study, Trial

_TIMED_BATCHES = 3  # of features, after one to warm up
_TIMED_ROWS = 2000  # of the head's solver
_TIMED_IMAGES = 100  # corrupted, and passed through a whole network


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
class PlannedFeatures:
    """Frozen layers that some trial needs: what they are, seconds and bytes that are still missing of
    them."""

    what: str
    seconds: float
    missing_bytes: int


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
) -> StudyPlan:
    """The plan of a study; arguments as launch.run_study. Reads dataset and weights (fetched where missing),
    trains nothing."""
    value, _ = load_study(study, changes, seeds)
    folders = [
        Path(out) if out is not None else Path("runs") / value.name,
        *([Path(published)] if published else []),
    ]
    keep_freed_memory()
    dataset, device = load_dataset(value.dataset), default_device()
    groups: dict[tuple[str, LabelBudget], list[Trial]] = {}
    for trial in trials_of(value):
        groups.setdefault((trial.arm.name, trial.label_budget), []).append(
            as_finished(trial, value, dataset, folders)
        )
    rows, needed = [], _FeatureNeeds(dataset, device)
    with tempfile.TemporaryDirectory(prefix="headstart-plan-") as scratch:
        timings = _Timings(dataset, device, Path(scratch))
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
    found = [provenance_of(name) for name in dict.fromkeys(recipes)]
    return tuple(float(provenance["seconds"]) for provenance in found if "seconds" in provenance)


def _seconds_here(done: Sequence[Path], device: torch.device, every: bool) -> list[float]:
    """Seconds of finished trials, features apart: of those that ran on this machine, one at a time; or of
    every one."""
    here = environment(device, "fp32")
    found = []
    for folder in done:
        trial = store.read_trial(folder)
        theirs = trial.environment
        if every or (
            theirs.get("jobs", 1) == 1
            and all(theirs.get(name) == here[name] for name in ("device", "processor"))
        ):
            found.append(
                math.fsum(seconds for phase, seconds in trial.cost.seconds.items() if phase != "features")
            )
    return found


def _after(
    study: Study, folders: Sequence[Path], timings: _Timings, needed: _FeatureNeeds
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


def _corrupted_seconds(study: Study, wanted: Robustness, folders: Sequence[Path], timings: _Timings) -> float:
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
    study: Study, folders: Sequence[Path], timings: _Timings, needed: _FeatureNeeds
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
    try:
        for images in (dataset.train, dataset.test):
            needed.note_images(trial, images)
    except (DownloadError, WeightsError):
        return None
    seconds = estimated_seconds(len(dataset.train) + len(dataset.test))
    if checks_labels(dataset):
        fits, rows = FOLDS * len(label_errors.L2_VALUES), len(dataset.train) * (1 - 1 / FOLDS)
        seconds += fits * rows / _TIMED_ROWS * timings.head(trial)
    return seconds


class _Timings:
    """Short measurements, each made once."""

    def __init__(self, dataset: Dataset, device: torch.device, scratch: Path) -> None:
        self.dataset, self.device, self.scratch = dataset, device, scratch
        self._known: dict[Any, Any] = {}

    def trial(self, trial: Trial) -> float:
        """Seconds of a trial without its frozen features."""
        recipe = trial.arm.recipe
        context = make_context(trial, self.dataset, self.scratch, self.device)
        seconds = 0.0
        if isinstance(recipe, LogisticRecipe):
            fits = len(selection_splits(context)) * len(recipe.l2_values) + 1
            seconds += fits * len(context.train_ids) / _TIMED_ROWS * self.head(trial)
        if isinstance(recipe, TrainingRecipe):
            seconds += self._training(context, recipe)
        return seconds

    def _training(self, context: Context, recipe: TrainingRecipe) -> float:
        count = len(context.train_ids)
        batch = min(recipe.batch_size, count)
        arm = context.trial.arm
        key = (
            arm.model,
            arm.input_pixels,
            type(recipe),
            getattr(recipe, "trainable_from", ""),
            batch,
            context.trial.precision,
        )
        if key not in self._known:
            self._known[key] = _step(context, recipe)
        step, flops = self._known[key]
        steps_per_epoch = -(-count // batch)
        steps = resolve_steps(recipe.duration, steps_per_epoch, lambda: step, flops)
        # A forward pass is about a third of a step. Both views of the test images and the training sample are
        # read, validation after every epoch.
        read = (
            2 * len(self.dataset.test)
            + min(count, SAMPLE_IMAGES)
            + len(context.val_ids) * (steps / steps_per_epoch + 1)
        )
        return steps * step + read * step / batch / 3

    def head(self, trial: Trial) -> float:
        """Seconds of one fit of a head on _TIMED_ROWS images' features."""
        model = load_model(trial.arm.model, "none", image_pixels=trial.arm.input_pixels)
        width = model.feature_dim
        if ("head", width) not in self._known:
            classes = len(self.dataset.train.class_names)
            rng = np.random.default_rng(0)
            values = rng.standard_normal((_TIMED_ROWS, width)).astype(np.float16)
            labels = np.arange(_TIMED_ROWS, dtype=np.int64) % classes
            start = time.perf_counter()
            list(fit_path(values, labels, l2_values=[0.03, 0.01], num_classes=classes))
            self._known["head", width] = (time.perf_counter() - start) / 2
        return self._known["head", width]

    def forward(self, trial: Trial) -> float:
        """Seconds an image of a pass through a trial's whole network, as its saved model is read."""
        arm = trial.arm
        if method_spec(arm.method).frozen_backbone:
            return self.features(trial, "pool")
        key = ("forward", arm.model, arm.input_pixels, getattr(arm.recipe, "widths", None), trial.precision)
        if key not in self._known:
            model = network.build_network(make_context(trial, self.dataset, self.scratch, self.device))
            images = np.array(self.dataset.test.images[:_TIMED_IMAGES])
            for _ in range(2):  # once to warm up
                start = time.perf_counter()
                predict_logits(model.to(self.device), images, device=self.device, precision=trial.precision)
                self._known[key] = (time.perf_counter() - start) / len(images)
        return self._known[key]

    def corrupting(self) -> float:
        """Seconds of an image's 75 corrupted copies."""
        if "corrupting" not in self._known:
            images = np.array(self.dataset.test.images[:_TIMED_IMAGES])
            start = time.perf_counter()
            for name in CORRUPTIONS:
                corrupt(images, name, 3, np.random.default_rng(0))
            self._known["corrupting"] = len(SEVERITIES) * (time.perf_counter() - start) / len(images)
        return self._known["corrupting"]

    def features(self, trial: Trial, cut: str) -> float:
        """Seconds an image of an arm's frozen layers up to a cut."""
        arm = trial.arm
        precision = trial.feature_precision if cut == "pool" else trial.precision
        key = ("features", arm.model, arm.weights, arm.input_pixels, cut, precision)
        if key not in self._known:
            layers = FrozenLayers(
                network=load_model(arm.model, arm.weights, image_pixels=arm.input_pixels),
                precision=precision,
                device=self.device,
                cut=cut,
                calibration=self.dataset.train,
            )
            self._known[key] = layers.seconds_per_image(self.dataset.train, batches=_TIMED_BATCHES)
        return self._known[key]


def _step(context: Context, recipe: TrainingRecipe) -> tuple[float, float]:
    """Seconds and operations of a training step of the trial; a cached cut's activations are random
    numbers."""
    trial, device = context.trial, context.device
    ids = context.train_ids[: recipe.batch_size]
    if isinstance(recipe, PartialRecipe):
        network_, cut = partial.build(context)
        layers = FrozenLayers(network=network_, precision=trial.precision, device=device, cut=cut)
        shape, _ = layers.outline(context.dataset.train)
        values = np.random.default_rng(0).random((len(ids), *shape), dtype=np.float32).astype(np.float16)
        labels = torch.from_numpy(context.dataset.train.labels[ids]).to(device)
        views = StoredViews(plain=values, mirrored=values, rows=np.arange(len(ids)))
        batches: Batches = ActivationBatches(views, labels, batch_size=len(ids), seed=0)
        step = partial.tail_step(context, Tail(network_, cut), recipe)
    else:
        model = network.build_network(context)
        network.set_policy(model, recipe)
        batches = network.image_batches(dataclasses.replace(context, train_ids=ids), recipe)
        step = network.image_step(context, model, recipe)
    step.network.to(device).train()
    return step.seconds(batches), step.flops_per_example(batches) * len(ids)


class _FeatureNeeds:
    """Which sets of frozen features the missing trials need, each counted once."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.dataset, self.device = dataset, device
        self._parts: dict[str, tuple[Trial, str, int, int]] = {}
        self._models: dict[Arm, Network] = {}
        self._cut_models: dict[Arm, tuple[Network, str]] = {}

    def add(self, trial: Trial) -> None:
        """Notes what a trial needs."""
        uses = method_spec(trial.arm.method).features
        if uses is FeatureUse.OWN_IMAGES:
            context = make_context(trial, self.dataset, Path("."), self.device)
            if trial.arm not in self._cut_models:
                self._cut_models[trial.arm] = partial.build(context)
            model, cut = self._cut_models[trial.arm]
            for request in partial.activation_requests(context, model, cut):
                self._note(trial, request)
        elif uses in (FeatureUse.ALL_IMAGES, FeatureUse.TRAINING_IMAGES):
            self.note_images(trial, self.dataset.train)
            if uses is FeatureUse.ALL_IMAGES:
                self.note_images(trial, self.dataset.test)
                self.note_images(trial, self.dataset.test, mirrored=True)

    def note_images(self, trial: Trial, images: ImageSet, mirrored: bool = False) -> None:
        """Notes the pooled features of a whole set of images by the trial's backbone."""
        arm = trial.arm
        if arm not in self._models:
            self._models[arm] = load_model(arm.model, arm.weights, image_pixels=arm.input_pixels)
        layers = FrozenLayers(
            network=self._models[arm],
            precision=trial.feature_precision,
            device=self.device,
            calibration=self.dataset.train,
        )
        self._note(trial, FeatureRequest(layers=layers, images=images, mirrored=mirrored))

    def _note(self, trial: Trial, request: FeatureRequest) -> None:
        shape, _ = request.layers.outline(request.images)
        row_bytes = 2 * int(np.prod(shape))
        entry = (trial, request.layers.cut, request.missing_bytes(), row_bytes)
        self._parts.setdefault(request.key, entry)

    def planned(self, timings: _Timings) -> Iterator[PlannedFeatures]:
        """The sets that are not in the cache, whole or in part, by network and cut."""
        sums: dict[str, list[float]] = {}
        for trial, cut, missing, row_bytes in self._parts.values():
            arm = trial.arm
            what = f"{arm.model} ({arm.weights}) at {arm.input_pixels or 'its own'} px, {cut}"
            entry = sums.setdefault(what, [0.0, 0.0])
            entry[0] += missing / row_bytes * timings.features(trial, cut) if missing else 0.0
            entry[1] += missing
        for what, (seconds, missing_bytes) in sums.items():
            yield PlannedFeatures(what=what, seconds=seconds, missing_bytes=round(missing_bytes))


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
        told = [
            f"{step.what} {'not estimated' if step.seconds is None else progress.clock(step.seconds)}"
            for step in plan.after
        ]
        parts.append(f"after the trials: {', '.join(told)}")
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
