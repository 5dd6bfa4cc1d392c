"""results.csv and its table: a row a finished trial."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
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
    """results.csv of a study's folder; each finished trial is read once, however often it is written, and its
    row alone is kept: histories of thousands of trials would fill the memory."""

    def __init__(self, study_folder: Path) -> None:
        self._folder = study_folder
        self._rows: dict[Path, tuple[Any, dict[str, Any]]] = {}  # with their places in the file

    def write(self) -> None:
        """Writes results.csv anew. Raises: StoreError as `finished_trials`."""
        folders = store.finished_folders(self._folder)
        self._rows = {folder: self._rows.get(folder) or _placed_row(folder) for folder in folders}
        rows = [row for _, row in sorted(self._rows.values(), key=itemgetter(0))]
        store.write_bytes(self._folder / "results.csv", store.csv_bytes(rows, RESULT_COLUMNS))


def _placed_row(folder: Path) -> tuple[Any, dict[str, Any]]:
    trial = store.read_trial(folder)
    return trial.place, results_row(trial)


def write_results_csv(study_folder: Path) -> None:
    """Writes results.csv anew from the run folders."""
    ResultsFile(study_folder).write()
