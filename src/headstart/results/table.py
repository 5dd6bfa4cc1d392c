"""results.csv and its table: a row a finished trial."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart import store
from headstart.errors import StoreError
from headstart.store import FinishedTrial

if TYPE_CHECKING:
    import pandas as pd

RESULT_COLUMNS = (
    "study",
    "arm",
    "dataset",
    "model",
    "weights",
    "method",
    "recipe",
    "labels_per_class",
    "seed",
    "phase",
    "precision",
    "train_images",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "test_flip_accuracy",
    "test_top5_accuracy",
    "test_nll",
    "test_ece",
    "generalization_gap",
    "seconds",
    "spent_seconds",
    "examples",
    "flops",
    "joules",
    "peak_memory_bytes",
    "key",
)


def results_row(trial: FinishedTrial) -> dict[str, Any]:
    """One row of results.csv."""
    arm, cost = trial.arm, trial.cost
    row: dict[str, Any] = {
        "study": trial.result.study,
        "arm": arm.name,
        "dataset": arm.dataset,
        "model": arm.model,
        "weights": arm.weights,
        "method": arm.method,
        "recipe": arm.recipe_name,
        "labels_per_class": trial.label_budget.toml,
        "seed": trial.seed,
        "phase": trial.phase,
        "precision": trial.precision,
        "train_images": trial.train_images,
        "seconds": round(cost.total_seconds, 3),
        "spent_seconds": round(cost.spent_seconds, 3),
        "examples": cost.examples,
        "flops": cost.flops,
        "joules": cost.joules,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "key": trial.key,
    }
    return {column: row.get(column, trial.metrics.get(column)) for column in RESULT_COLUMNS}


def results_table(study_folder: Path) -> pd.DataFrame:
    """A row a finished trial with the columns of results.csv; extra metrics stay in the run folders."""
    import pandas as pd  # a third of a second, of which few commands have any use

    rows = map(results_row, store.finished_trials(study_folder))
    return pd.DataFrame(list(rows), columns=list(RESULT_COLUMNS))


def results_csv(trials: Iterable[FinishedTrial]) -> bytes:
    """The content of results.csv."""
    return store.csv_bytes(map(results_row, trials), RESULT_COLUMNS)


def load_results(folder: str | Path) -> pd.DataFrame:
    """The finished trials of a study's folder, a row a trial, with the columns of results.csv.

    Examples:
        >>> headstart.load_results(folder)[["arm", "seed"]].to_dict("list")
        {'arm': ['cnn', 'cnn', 'probe'], 'seed': [0, 1, 0]}

    Raises: StoreError where the folder holds no finished trial."""
    table = results_table(Path(folder))
    if table.empty:
        raise StoreError(f"{folder} holds no finished trial; run `headstart study` with --out {folder} first")
    return table


class ResultsFile:
    """results.csv of a study's folder; each finished trial is read once, however often it is written."""

    def __init__(self, study_folder: Path) -> None:
        self._folder = study_folder
        self._trials: dict[Path, FinishedTrial] = {}

    def write(self) -> None:
        """Writes results.csv anew. Raises: StoreError as `finished_trials`."""
        folders = store.finished_folders(self._folder)
        self._trials = {folder: self._trials.get(folder) or store.read_trial(folder) for folder in folders}
        store.write_bytes(self._folder / "results.csv", results_csv(store.in_order(self._trials.values())))


def write_results_csv(study_folder: Path) -> None:
    """Writes results.csv anew from the run folders."""
    ResultsFile(study_folder).write()
