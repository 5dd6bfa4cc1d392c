"""A search's folder.

tuning.json   every candidate, rewritten whole after each: an interrupted search is resumed
tuning.csv    the candidates as a table
recipe.toml   the best recipe with its provenance; an arm names it: recipe = "FILE"
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from typing import Any

import torch

from headstart import store
from headstart.errors import ConfigError, DamagedError
from headstart.recipes import recipe_toml
from headstart.recipes.spaces import PIXELS, described
from headstart.runtime import progress
from headstart.runtime.precision import default_device
from headstart.store import Candidate
from headstart.studies.trial import environment
from headstart.tuning.candidates import best_candidate
from headstart.tuning.question import Question


def read_candidates(question: Question) -> list[Candidate]:
    """The candidates that are there; a damaged tuning.json is announced and set aside as tuning.json.damaged.

    Raises: ConfigError where they answer another question."""
    path = question.folder / "tuning.json"
    if not path.exists():
        return []
    try:
        search = store.read_search(path)
    except DamagedError as error:
        aside = path.with_name(f"{path.name}.damaged")
        progress.say(f"{error}. It is set aside as {aside.name}, and this search begins anew")
        with store.disk_errors(path):
            path.replace(aside)
        return []
    if search.question != question.digest:
        raise ConfigError(
            f"{path.parent} holds tries of another recipe, search space or proxy; give another --out, or "
            "move that folder elsewhere"
        )
    return list(search.candidates)


def write_candidates(question: Question, asked: int, candidates: Sequence[Candidate]) -> None:
    """Writes tuning.json and tuning.csv whole. asked: how many candidates the search shall have."""
    arm, best = question.arm, best_candidate(candidates)
    store.write_sealed(
        question.folder / "tuning.json",
        {
            "question": question.digest,
            "study": question.study.name,
            "arm": arm.name,
            "label": arm.label,
            "method": arm.method,
            "model": arm.model,
            "weights": arm.weights,
            "labels_per_class": question.label_budget.per_class,
            "seed": question.seed,
            "tries_asked": asked,
            "proxy": question.proxy.settings(),
            "space": described(question.space),
            "start": arm.recipe_name,
            "tries": [candidate.stored() for candidate in candidates],
            "best": best.number if best else None,
        },
    )
    rows = [
        {
            "try": each.number,
            **each.values,
            "val_accuracy": each.accuracy,
            "val_nll": each.nll,
            "seconds": each.seconds,
            "failed": each.failed,
        }
        for each in candidates
    ]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    store.write_bytes(question.folder / "tuning.csv", store.csv_bytes(rows, columns))


def write_recipe(question: Question, candidates: Sequence[Candidate]) -> None:
    """Writes the best candidate's recipe, where there is one."""
    path, best = question.folder / "recipe.toml", best_candidate(candidates)
    if best is not None:
        provenance = _provenance(question, candidates, best)
        text = recipe_toml(question.folder.name, question.recipe(best.values), provenance)
        store.write_bytes(path, text.encode())


def _provenance(question: Question, candidates: Sequence[Candidate], best: Candidate) -> dict[str, Any]:
    arm = question.arm
    machine = environment(default_device(), question.trial(arm).precision)
    return {
        "study": question.study.name,
        "arm": arm.name,
        "dataset": question.dataset.name,
        "dataset_fingerprint": question.dataset.fingerprint,
        "method": arm.method,
        "model": arm.model,
        "weights": arm.weights,
        "input_pixels": best.values.get(PIXELS, arm.input_pixels),
        "labels_per_class": question.label_budget.toml,
        "seed": question.seed,
        "tries": len(candidates),
        "failed_tries": sum(each.accuracy is None for each in candidates),
        "best_try": best.number,
        "validation_accuracy": best.accuracy,
        "start": arm.recipe_name,
        "start_accuracy": candidates[0].accuracy,
        "seconds": round(math.fsum(each.seconds for each in candidates), 1),
        "proxy": question.proxy.settings(),
        "space": described(question.space),
        "headstart": machine["headstart"],
        "torch": torch.__version__,
        "processor": machine["processor"],
        "threads": machine["threads"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
