"""Candidates: the values that a search trained with, and how well they did on held-out images."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.methods import method_spec
from headstart.methods.selection import selection_splits
from headstart.recipes import TrainingRecipe
from headstart.recipes.spaces import PIXELS
from headstart.results import metrics
from headstart.store import Candidate
from headstart.training.loop import DivergedError
from headstart.tuning.question import Question
from headstart.types import Arm, LabelBudget


def best_candidate(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate with the best accuracy (ties: the smaller loss, then the earlier); None where all
    failed."""
    ended = [
        (each.accuracy, -each.nll, -each.number, each)
        for each in candidates
        if each.accuracy is not None and each.nll is not None
    ]
    return max(ended)[-1] if ended else None


def train_candidate(question: Question, values: Mapping[str, Any], number: int) -> Candidate:
    """Trains with these values and reads the held-out images; a training that diverges is a failed
    candidate."""
    recipe = question.recipe(values)
    if question.proxy.duration is not None and isinstance(recipe, TrainingRecipe):
        recipe = recipe.replace(duration=question.proxy.duration)
    arm = dataclasses.replace(
        question.arm, recipe=recipe, input_pixels=values.get(PIXELS, question.arm.input_pixels)
    )
    candidate = Candidate(number=number, values=dict(values))
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory(dir=question.folder, prefix=SCRATCH) as scratch:
            candidate = _read(question, arm, Path(scratch), candidate)
    except DivergedError as error:
        candidate = dataclasses.replace(candidate, failed=str(error))
    return dataclasses.replace(candidate, seconds=round(time.perf_counter() - start, 3))


SCRATCH = ".try-"  # how the folders begin in which candidates train


def _read(question: Question, arm: Arm, scratch: Path, candidate: Candidate) -> Candidate:
    """The candidate with its accuracy and loss on all held-out images together; every fold's network reads
    its own."""
    whole = question.context(arm, scratch)
    labels, is_budget = whole.dataset.train.labels, not question.label_budget.is_all
    splits = (
        selection_splits(whole)[: question.proxy.folds] if is_budget else [(whole.train_ids, whole.val_ids)]
    )
    parts, train_images = [], 0
    for place, (fit_ids, held_out) in enumerate(splits):
        trial = whole.trial
        if is_budget:  # what the method selects inside must do with what this fold has
            fewest = int(np.bincount(labels[fit_ids], minlength=whole.num_classes).min())
            trial = dataclasses.replace(trial, label_budget=LabelBudget(fewest))
        context = dataclasses.replace(
            whole, trial=trial, train_ids=fit_ids, val_ids=held_out, folder=scratch / str(place)
        )
        parts.append(method_spec(arm.method).implementation.run(context).predictions["val"])
        train_images = max(train_images, len(fit_ids))
    logits = np.concatenate([part.logits for part in parts])
    answers = np.concatenate([part.labels for part in parts])
    return dataclasses.replace(
        candidate,
        accuracy=round(metrics.accuracy(logits, answers), 6),
        nll=round(metrics.negative_log_likelihood(logits, answers), 6),
        train_images=train_images,
        validation_images=len(answers),
    )
