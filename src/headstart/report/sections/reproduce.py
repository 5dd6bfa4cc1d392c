"""What it takes to run a study again: commands, data, environments and trials."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from headstart.report import machines, words
from headstart.report.load import StudyView
from headstart.store import FinishedTrial


def rerun(command: str) -> str:
    """The command that runs every trial anew, where the one that was given takes published trials for done;
    else ""."""
    words_ = shlex.split(command)
    if words_[:2] != ["headstart", "study"] or "--published" not in words_:
        return ""
    dropped = {
        place + step
        for place, word in enumerate(words_)
        if word in ("--published", "--minutes")
        for step in (0, 1)
    }
    return shlex.join(word for place, word in enumerate(words_) if place not in dropped)


def searches(command: str) -> str:
    """The command that searches for a study's recipes, from the one that runs it; "" for another command."""
    words_ = shlex.split(command)
    return (
        shlex.join(["headstart", "tune", words_[2]])
        if words_[:2] == ["headstart", "study"] and len(words_) > 2
        else ""
    )


def label_plan(view: StudyView) -> list[dict[str, str]]:
    """A row a label budget: training images, most seeds, arms."""
    rows = []
    for budget in view.budgets:
        items = {arm.name: view.at(arm.name, budget) for arm in view.arms}
        sizes = sorted({trial.train_images for trials in items.values() for trial in trials})
        rows.append(
            {
                "title": budget.title,
                "images": " or ".join(f"{n:,}" for n in sizes),
                "seeds": str(max(len(trials) for trials in items.values())),
                "arms": str(sum(bool(trials) for trials in items.values())),
            }
        )
    return rows


def test_balance(view: StudyView) -> str:
    counts = np.bincount(view.arms[0].tests[0].labels, minlength=len(view.class_names))
    low, high = int(counts.min()), int(counts.max())
    return (
        f"Every class has {low:,} test images."
        if low == high
        else f"The classes have {low:,} to {high:,} test images."
    )


def environments(view: StudyView) -> list[tuple[str, list[str]]]:
    """Each fact of the environments with its different values; start times are left to the trials' table."""
    facts: dict[str, list[str]] = {}
    for trial in view.trials:
        for name, value in trial.environment.items():
            if name != "started" and str(value) not in facts.setdefault(name, []):
                facts[name].append(str(value))
    return list(facts.items())


def trial(view: StudyView, trial: FinishedTrial) -> dict[str, Any]:
    return {
        "label": view.styles[trial.arm.name].label,
        "budget": trial.label_budget.words,
        "seed": trial.seed,
        "phase": trial.phase,
        "folder": trial.folder.name,
        "key": trial.key,
        "weights_hash": trial.weights_hash or "none",
        "started": trial.environment.get("started", words.NONE),
        "accuracy": trial.metrics.get("test_accuracy"),
        "seconds": trial.cost.total_seconds,
        "spent": trial.cost.spent_seconds,
        "machine": machines.mark(view, [trial]),
    }
