"""Selecting a hyperparameter on held-out images, by the same rules for every method that has one to select.

All labels: the validation images. From 5 labels a class up: folds inside the label budget. Below that
nothing: the recipe's default, written beforehand, is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from headstart.data.splits import Ids, fold_numbers, stratified_folds, validation_count, validation_split
from headstart.methods.base import Context
from headstart.results import metrics

_FOLDS = 5


def selection_splits(context: Context) -> list[tuple[Ids, Ids]]:
    """(fit_ids, held_out_ids) pairs on which a choice is made; empty where nothing may be selected."""
    trial, train = context.trial, context.dataset.train
    if not trial.label_budget.allows_selection:
        return []
    if trial.label_budget.is_all:
        if len(context.val_ids):
            return [(np.setdiff1d(context.train_ids, context.val_ids), context.val_ids)]
        # a refit: the choice is the one that the select phase made, on the same split
        return [validation_split(train.labels, train.fingerprint, validation_count(len(train)), train.groups)]
    ids = context.train_ids  # folds are drawn from the budget's own labels: no other label can move one
    if train.groups is not None:  # images of one object stay on one side
        fold_of = fold_numbers(train.labels[ids], train.groups[ids], _FOLDS)
        return [(ids[fold_of != fold], ids[fold_of == fold]) for fold in np.unique(fold_of)]
    folds = stratified_folds(train.labels[ids], np.arange(len(ids)), _FOLDS, train.fingerprint, trial.seed)
    return [(ids[fit], ids[held_out]) for fit, held_out in folds]


def select(
    splits: list[tuple[Ids, Ids]],
    labels: NDArray[np.int64],
    candidates: int,
    logits_of: Callable[[Ids, Ids], Iterable[NDArray[np.float32]]],
) -> tuple[int, list[float]]:
    """The candidate with the best accuracy on held-out images (ties: the smaller loss), and every candidate's
    accuracy.

    splits: at least one. logits_of(fit_ids, held_out_ids): for each candidate in turn the logits
    (len(held_out_ids), C) of what was fitted on fit_ids."""
    scores = np.zeros((candidates, 2))
    held_out_count = sum(len(held_out) for _, held_out in splits)
    for fit_ids, held_out in splits:
        share = len(held_out) / held_out_count
        for place, logits in enumerate(logits_of(fit_ids, held_out)):
            scores[place] += (
                share * metrics.accuracy(logits, labels[held_out]),
                share * metrics.negative_log_likelihood(logits, labels[held_out]),
            )
    best = max(range(candidates), key=lambda place: (round(scores[place, 0], 9), -scores[place, 1]))
    return best, [round(float(score), 6) for score in scores[:, 0]]
