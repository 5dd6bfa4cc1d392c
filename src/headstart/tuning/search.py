"""Choosing a recipe for an arm: a stated number of tries, the same for every arm, on validation images alone.

The test set is no part of it: a try is given the training images and an empty test set. Below 5 labels a
class nothing is tuned; from 5 up a try is read on folds inside the label budget; at all labels on the
validation split.

    <study folder>/tuning/<arm>-<labels>/tuning.json   every try, rewritten whole after each: an interrupted
                                         search goes on tuning.csv    the tries as a table recipe.toml   the
                                         best recipe with its provenance; an arm names it: recipe = "FILE"
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from headstart import store
from headstart.data import load_dataset
from headstart.data.splits import Ids, label_subset
from headstart.errors import ConfigError, unknown_name
from headstart.methods import method_spec
from headstart.methods.base import Context
from headstart.methods.selection import selection_splits
from headstart.models import load_model
from headstart.recipes import TrainingRecipe, recipe_toml, with_changes
from headstart.recipes.spaces import PIXELS, Knob, described, grid
from headstart.results import metrics
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device, resolve_feature_precision, resolve_precision
from headstart.runtime.processes import attempts
from headstart.studies.study_file import load_study
from headstart.studies.trial import environment, make_context, resolve
from headstart.studies.trials import cells_of
from headstart.training.loop import DivergedError, parse_duration
from headstart.tuning.sampler import propose
from headstart.types import (
    MINIMUM_FOR_SELECTION,
    Arm,
    Dataset,
    ImageSet,
    LabelBudget,
    Proxy,
    Recipe,
    Search,
    Study,
    Trial,
)

SCHEMA = 1  # raised when the same question would be answered by other tries


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A finished search: the tries as stored, the best one (None where all failed), and where the recipe
    lies."""

    arm: str
    tries: list[dict[str, Any]]
    best: dict[str, Any] | None
    recipe_file: Path
    seconds: float


def tune(
    study: str | Path | Study,
    arms: Sequence[str] = (),
    *,
    labels_per_class: int | None = None,
    tries: int | None = None,
    out: str | Path | None = None,
    proxy: Proxy | None = None,
    pixels: Sequence[int] = (),
    seed: int = 0,
    changes: Mapping[str, str] | None = None,
    jobs: int = 1,
) -> list[Tuned]:
    """Searches a recipe for each named arm of a study (all of them where none is named), `tries` tries for
    each.

    tries: None for the searches that the study's file asks for, of the named arms; labels_per_class and proxy
    are then theirs.
    out: the study's folder (default: runs/<study name>). pixels: input sizes to choose among. seed: of the
    label subset and of the search. jobs: searches at once, each in a process of its own with its share of the
    cores. The first try is the arm's own recipe (not one that was tuned before), so that the best one is
    never worse on validation.
    Raises: ConfigError for what makes no sense, before anything is computed; BusyError; StoreError; the
    errors of a trial."""
    value, _ = load_study(study, {**(changes or {}), "tuned": "false"})
    if tries is None:
        if proxy or labels_per_class is not None:
            raise ConfigError("say how many --tries too, or leave all of it to the study's file")
        searches = [
            dataclasses.replace(search, arms=named)
            for search in value.searches
            if (named := tuple(name for name in search.arms if not arms or name in arms))
        ]
        if not searches:
            raise ConfigError(
                f"study {value.name} says nothing of tuning {' or '.join(arms) or 'its arms'}; give --tries, "
                "or "
                "add a [[tuning]] table to its file"
            )
    else:
        searches = [
            Search(
                arms=tuple(arms),
                label_budget=LabelBudget.of(labels_per_class),
                tries=tries,
                proxy=proxy or Proxy(),
            )
        ]
    if jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, got {jobs}")
    due = [(arm, search) for search in searches for arm in _arms(value, search.arms, search.label_budget)]
    for search in searches:
        _check(search, pixels)
    keep_freed_memory()
    for model, weights in sorted({(arm.model, arm.weights) for arm, _ in due if arm.weights != "none"}):
        load_model(model, weights)  # fetched and checked before anything is computed
    load_dataset(value.dataset)
    folder = Path(out) if out is not None else Path("runs") / value.name
    run = partial(
        _tune_one,
        study=dataclasses.replace(value, searches=()),
        pixels=tuple(pixels),
        seed=seed,
        folder=folder,
    )
    found: dict[int, Tuned] = {}
    with closing(attempts(enumerate(due), run, jobs)) as attempted:
        for number, (arm, search), result_of in attempted:
            found[number] = result_of()
            if jobs > 1:
                progress.say(f"{arm.name}, {search.label_budget} labels a class: {_summary(found[number])}")
    return [found[number] for number in sorted(found)]


def _summary(tuned: Tuned) -> str:
    if tuned.best is None:
        return f"all {len(tuned.tries)} tries failed"
    return (
        f"best of {len(tuned.tries)} tries {tuned.best['accuracy']:.4f} (try {tuned.best['number']}), "
        f"{progress.clock(tuned.seconds)}"
    )


def _tune_one(
    due: tuple[Arm, Search], *, study: Study, pixels: tuple[int, ...], seed: int, folder: Path
) -> Tuned:
    arm, search = due
    return _tune_arm(
        _Search(
            study=study,
            arm=arm,
            dataset=without_test(load_dataset(study.dataset)),
            label_budget=search.label_budget,
            seed=seed,
            proxy=search.proxy,
            space=method_spec(arm.method).space(arm.recipe, pixels),
            folder=folder / "tuning" / f"{arm.name}-{search.label_budget}",
        ),
        search.tries,
    )


def without_test(dataset: Dataset) -> Dataset:
    """The same training images with an empty test set: nothing that is given this can read a test image."""
    train = dataset.train
    empty = ImageSet(
        images=train.images[:0], labels=train.labels[:0], class_names=train.class_names, fingerprint="none"
    )
    return dataclasses.replace(dataset, test=empty)


def _arms(study: Study, names: Sequence[str], budget: LabelBudget) -> list[Arm]:
    """The named arms, or all that the study has at that label budget, each with its recipe there."""
    there = {cell.arm.name: cell.arm for cell in cells_of(study) if cell.label_budget == budget}
    arms = {arm.name: there.get(arm.name, arm) for arm in study.arms}
    for name in names:
        if name not in arms:
            raise unknown_name(f"arm of study {study.name}", name, arms)
    return [arms[name] for name in dict.fromkeys(names or there or arms)]


def _check(search: Search, pixels: Sequence[int]) -> None:
    proxy, budget, tries = search.proxy, search.label_budget, search.tries
    if not budget.allows_selection:
        raise ConfigError(
            f"with {budget} labels a class nothing is tuned: recipes written beforehand are used; "
            "tune "
            f"at {MINIMUM_FOR_SELECTION} labels a class or more"
        )
    if tries < 1:
        raise ConfigError(f"--tries must be at least 1, got {tries}")
    if proxy.duration is not None:
        for part in proxy.duration.split(", at least "):
            parse_duration(part)
    if not budget.is_all and (proxy.images or proxy.validation_images):
        raise ConfigError(
            "--images and --validation-images are for all labels; at a label budget use --folds"
        )
    if budget.is_all and proxy.folds:
        raise ConfigError("--folds is for label budgets; at all labels use --images and --validation-images")
    if proxy.folds is not None and not 1 <= proxy.folds <= 5:
        raise ConfigError(f"--folds must lie between 1 and 5, got {proxy.folds}")
    for size in pixels:
        if not 16 <= size <= 1024:
            raise ConfigError(f"--pixels must lie between 16 and 1024, got {size}")


@dataclass(frozen=True, kw_only=True)
class _Search:
    """One question: which recipe of this space, for this arm, with these labels."""

    study: Study
    arm: Arm
    dataset: Dataset  # without test images
    label_budget: LabelBudget
    seed: int
    proxy: Proxy
    space: tuple[Knob, ...]
    folder: Path

    @property
    def start(self) -> dict[str, Any]:
        """The arm's own values of what is searched: the first try."""
        return {
            knob.name: self.arm.input_pixels if knob.name == PIXELS else getattr(self.arm.recipe, knob.name)
            for knob in self.space
        }

    def trial(self, arm: Arm) -> Trial:
        device = default_device()
        return Trial(
            arm=arm,
            label_budget=self.label_budget,
            seed=self.seed,
            precision=resolve_precision(self.study.precision, device),
            feature_precision=resolve_feature_precision(self.study.feature_precision, device),
        )

    def recipe(self, values: dict[str, Any]) -> Recipe:
        """The arm's recipe with a try's values."""
        fields = {name: value for name, value in values.items() if name != PIXELS}
        return with_changes(self.arm.recipe, fields, f"arm {self.arm.name!r}")

    def context(self, arm: Arm, folder: Path) -> Context:
        """The trial's images, no test among them, less what the proxy leaves out; no training sample is
        read."""
        trial = self.trial(arm)
        resolved = resolve(trial, self.dataset)
        context = make_context(trial, self.dataset, resolved["weights_hash"], folder, default_device())
        train, val = (
            self._some(ids, wanted)
            for ids, wanted in (
                (context.train_ids, self.proxy.images),
                (context.val_ids, self.proxy.validation_images),
            )
        )
        return dataclasses.replace(context, train_ids=train, val_ids=val, sample_ids=val[:0])

    def _some(self, ids: Ids, wanted: int | None) -> Ids:
        if wanted is None or not len(ids):
            return ids
        train = self.dataset.train
        per_class = wanted // len(train.class_names)
        if not 0 < wanted <= len(ids) or not per_class:
            raise ConfigError(
                f"{wanted:,} images asked of {len(ids):,}; choose {len(train.class_names)} to {len(ids):,}"
            )
        return label_subset(train.labels, ids, train.fingerprint, self.seed, per_class, train.class_names)

    def question(self) -> dict[str, Any]:
        """All that a try's outcome depends on, beside its own values."""
        resolved = resolve(self.trial(self.arm), self.dataset)
        return {
            "schema": SCHEMA,
            "trial": resolved,
            "proxy": self.proxy.told(),
            "space": described(self.space),
            "search_seed": self.seed,
        }


def _tune_arm(search: _Search, tries: int) -> Tuned:
    """Runs the tries that are missing; every one that ended is kept."""
    folder, arm = search.folder, search.arm
    path = folder / "tuning.json"
    with store.lock(folder / "lock", f"the tuning folder {folder}"):
        question = store.digest(search.question())
        done = _read_tries(path, question)
        every = grid(search.space)
        wanted = tries if every is None else min(tries, len(every) + (search.start not in every))
        if wanted < tries:
            progress.say(
                f"{arm.name}: {wanted} {'try is' if wanted == 1 else 'tries are'} all there is to compare"
                + ("" if search.space else ": what its method selects, it selects itself")
            )
        for stray in folder.glob(".try-*"):  # of a search that was killed
            shutil.rmtree(stray, ignore_errors=True)
        begun, before = time.perf_counter(), len(done)
        _write(search, path, question, tries, done)
        while len(done) < wanted:
            number = len(done) + 1
            values = _next(search, done, every)
            if (row := _repeated(values, done)) is None:
                row = _run_try(search, values)
            done.append({**row, "number": number})
            _write(search, path, question, tries, done)
            left = (time.perf_counter() - begun) / (len(done) - before) * (wanted - len(done))
            progress.say(_told(arm, done, wanted, left))
        best = best_try(done)
        recipe_file = folder / "recipe.toml"
        if best is not None:
            text = recipe_toml(folder.name, search.recipe(best["values"]), _provenance(search, done, best))
            store.write_bytes(recipe_file, text.encode())
    return Tuned(
        arm=arm.name,
        tries=done,
        best=best,
        recipe_file=recipe_file,
        seconds=math.fsum(row["seconds"] for row in done),
    )


def _next(search: _Search, done: list[dict[str, Any]], every: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The arm's own recipe first, then what is left of a small space in order, else what the sampler
    proposes."""
    if not done:
        return search.start
    if every is not None:
        left = [values for values in every if all(values != row["values"] for row in done)]
        return left[0]
    return propose(search.space, done, seed=search.seed)


def _repeated(values: dict[str, Any], done: list[dict[str, Any]]) -> dict[str, Any] | None:
    """A try of the same values, which would end the same; it counts as a try and costs nothing."""
    same = [row for row in done if row["values"] == values]
    return {**same[0], "seconds": 0.0} if same else None


def _run_try(search: _Search, values: dict[str, Any]) -> dict[str, Any]:
    """Trains and reads one try on its held-out images; a training that diverges is a failed try."""
    recipe = search.recipe(values)
    if search.proxy.duration is not None and isinstance(recipe, TrainingRecipe):
        recipe = recipe.replace(duration=search.proxy.duration)
    arm = dataclasses.replace(
        search.arm, recipe=recipe, input_pixels=values.get(PIXELS, search.arm.input_pixels)
    )
    row: dict[str, Any] = {"values": values, "accuracy": None, "nll": None, "seconds": 0.0, "failed": ""}
    begun = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(dir=search.folder, prefix=".try-") as scratch:
            row |= _read(search, arm, Path(scratch))
    except DivergedError as error:
        row["failed"] = str(error)
    return row | {"seconds": round(time.perf_counter() - begun, 3)}


def _read(search: _Search, arm: Arm, scratch: Path) -> dict[str, Any]:
    """Accuracy and loss on all held-out images together, every fold's network reading its own."""
    whole = search.context(arm, scratch)
    labels = whole.dataset.train.labels
    if search.label_budget.is_all:
        splits = [(whole.train_ids, whole.val_ids)]
    else:
        splits = selection_splits(whole)[: search.proxy.folds]
    logits, truth, trained = [], [], 0
    for place, (fit_ids, held_out) in enumerate(splits):
        trial = whole.trial
        if not search.label_budget.is_all:  # what the method selects inside must do with what this fold has
            fewest = int(np.bincount(labels[fit_ids], minlength=whole.num_classes).min())
            trial = dataclasses.replace(trial, label_budget=LabelBudget(fewest))
        folder = scratch / str(place)
        context = dataclasses.replace(whole, trial=trial, train_ids=fit_ids, val_ids=held_out, folder=folder)
        val = method_spec(arm.method).implementation.run(context).predictions["val"]
        logits.append(val.logits)
        truth.append(val.labels)
        trained = max(trained, len(fit_ids))
    every, answers = np.concatenate(logits), np.concatenate(truth)
    accuracy, nll = metrics.accuracy(every, answers), metrics.negative_log_likelihood(every, answers)
    return {
        "accuracy": round(accuracy, 6),
        "nll": round(nll, 6),
        "train_images": trained,
        "validation_images": len(answers),
    }


def best_try(tries: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The try with the best accuracy (ties: the smaller loss, then the earlier); None where all failed."""
    ended = [row for row in tries if row["accuracy"] is not None]
    return max(ended, key=lambda row: (row["accuracy"], -row["nll"], -row["number"])) if ended else None


def _told(arm: Arm, done: list[dict[str, Any]], wanted: int, left: float) -> str:
    row, best = done[-1], best_try(done)
    read = (
        f"validation accuracy {row['accuracy']:.4f}"
        if row["accuracy"] is not None
        else f"failed: {row['failed']}"
    )
    leader = f"best {best['accuracy']:.4f} (try {best['number']})" if best else "none has ended yet"
    rest = f", about {progress.clock(left)} left" if len(done) < wanted else ""
    return (
        f"{arm.name}: try {len(done)} of {wanted}, {read}, {progress.clock(row['seconds'])}; {leader}{rest}"
    )


def _read_tries(path: Path, question: str) -> list[dict[str, Any]]:
    """The tries that are there. Raises: ConfigError where they answer another question."""
    if not path.exists():
        return []
    stored = store.read_json(path)
    if stored.get("question") != question:
        raise ConfigError(
            f"{path.parent} holds tries of another recipe, search space or proxy; give another --out, or "
            "delete it"
        )
    return stored["tries"]


def _write(search: _Search, path: Path, question: str, tries: int, done: list[dict[str, Any]]) -> None:
    arm, best = search.arm, best_try(done)
    store.write_json(
        path,
        {
            "question": question,
            "study": search.study.name,
            "arm": arm.name,
            "label": arm.label,
            "method": arm.method,
            "model": arm.model,
            "weights": arm.weights,
            "labels_per_class": search.label_budget.per_class,
            "seed": search.seed,
            "tries_asked": tries,
            "proxy": search.proxy.told(),
            "space": described(search.space),
            "start": arm.recipe_name,
            "tries": done,
            "best": best["number"] if best else None,
        },
    )
    table = pd.DataFrame(
        [
            {
                "try": row["number"],
                **row["values"],
                "val_accuracy": row["accuracy"],
                "val_nll": row["nll"],
                "seconds": row["seconds"],
                "failed": row["failed"],
            }
            for row in done
        ]
    )
    store.write_bytes(path.with_name("tuning.csv"), table.to_csv(index=False, lineterminator="\n").encode())


def _provenance(search: _Search, done: list[dict[str, Any]], best: dict[str, Any]) -> dict[str, Any]:
    known = environment(default_device(), search.trial(search.arm).precision)
    return {
        "study": search.study.name,
        "arm": search.arm.name,
        "dataset": search.dataset.name,
        "dataset_fingerprint": search.dataset.fingerprint,
        "method": search.arm.method,
        "model": search.arm.model,
        "weights": search.arm.weights,
        "input_pixels": best["values"].get(PIXELS, search.arm.input_pixels),
        "labels_per_class": search.label_budget.toml,
        "seed": search.seed,
        "tries": len(done),
        "failed_tries": sum(row["accuracy"] is None for row in done),
        "best_try": best["number"],
        "validation_accuracy": best["accuracy"],
        "start": search.arm.recipe_name,
        "start_accuracy": done[0]["accuracy"],
        "seconds": round(math.fsum(row["seconds"] for row in done), 1),
        "proxy": search.proxy.told(),
        "space": described(search.space),
        "headstart": known["headstart"],
        "torch": torch.__version__,
        "processor": known["processor"],
        "threads": known["threads"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
