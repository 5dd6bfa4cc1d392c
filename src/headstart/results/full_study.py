"""What the full study found, beside a quick one: its published sentence, and where the order is another.

full_studies.json holds the sentence and the accuracies; `python tools/update_readme.py` writes it from the
published trials.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from headstart.results.trials import Trials
from headstart.store import StudyRecord

FILE = Path(__file__).with_name("full_studies.json")
FULL = {"cifar10-quick": "cifar10"}  # quick studies, and the one whose question they ask


def published_answer(sentence: str, trials: Trials) -> dict[str, Any]:
    """What full_studies.json holds of a study: its sentence, and test accuracy by arm, means over seeds."""
    return {"sentence": sentence, "test_accuracy": _accuracies(trials)}


def beside_the_full_study(study: StudyRecord, trials: Trials) -> str:
    """What to say after a quick study's own answer; "" for a study that is none.

    trials: the quick study's, at the label budget that its answer is about. Arms are compared by name."""
    if study.name not in FULL:
        return ""
    full = json.loads(FILE.read_text(encoding="utf-8"))[FULL[study.name]]
    labels = {trial.arm.name: trial.arm.label for trial in trials}
    begins = "One seed proves nothing. " if len({trial.seed for trial in trials}) == 1 else ""
    sentences = [f"{begins}The full study, published: {full['sentence']}"]
    for first, second in _turned_round(_accuracies(trials), full["test_accuracy"]):
        sentences.append(
            f"Here {labels[first]} is ahead of {labels[second]}, there it is the other way round: believe "
            "the full study."
        )
    return " ".join(sentences)


def _accuracies(trials: Trials) -> dict[str, float]:
    by_arm: dict[str, list[float]] = {}
    for trial in trials:
        if (accuracy := trial.metrics.get("test_accuracy")) is not None:
            by_arm.setdefault(trial.arm.name, []).append(accuracy)
    return {name: round(float(np.mean(values)), 4) for name, values in by_arm.items()}


def _turned_round(here: Mapping[str, float], there: Mapping[str, float]) -> list[tuple[str, str]]:
    """Pairs of arms whose order is another there, the one that is ahead here first."""
    pairs = []
    for pair in combinations([name for name in here if name in there], 2):
        first, second = sorted(pair, key=lambda name: -here[name])
        if here[first] > here[second] and there[first] < there[second]:
            pairs.append((first, second))
    return pairs
