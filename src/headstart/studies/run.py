"""A study from start to finish: which trials it has, running those that are missing, writing its folder."""

from __future__ import annotations

import dataclasses
import math
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from headstart import store
from headstart.data import load_dataset
from headstart.data_quality.dataset import backbone_of, examine_into
from headstart.errors import (
    BusyError,
    ConfigError,
    DownloadError,
    HeadstartError,
    StoreError,
    TrialsFailedError,
    WeightsError,
)
from headstart.evaluation.corruptions.weather import frost_textures
from headstart.evaluation.gradcam import run_looks
from headstart.evaluation.robustness import run_robustness
from headstart.evaluation.shift import run_shift
from headstart.methods import method_spec
from headstart.models import describe_models, load_model
from headstart.recipes import provenance_of
from headstart.results import headline, table
from headstart.results.published import adopt_readings
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import (
    NATIVE_PRECISIONS,
    default_device,
    resolve_feature_precision,
    resolve_precision,
)
from headstart.runtime.processes import attempts
from headstart.studies.study_file import load_study
from headstart.studies.trial import resolve, run_trial, trial_key
from headstart.types import Cell, Dataset, LabelBudget, Study, Trial


def trials_of(study: Study) -> list[Trial]:
    """Every trial of a study: frozen backbones first, for they are cheap, then seed by seed, small label
    budgets first, so that each is a whole curve. An arm that every seed would repeat bit for bit is run
    once."""
    device = default_device()
    precision = resolve_precision(study.precision, device)
    feature_precision = resolve_feature_precision(study.feature_precision, device)
    trials = [
        Trial(
            arm=cell.arm,
            label_budget=cell.label_budget,
            seed=seed,
            phase=study.phase,
            precision=precision,
            feature_precision=feature_precision,
        )
        for cell in cells_of(study)
        for seed in (
            cell.seeds[:1]
            if cell.label_budget.is_all and method_spec(cell.arm.method).deterministic
            else cell.seeds
        )
    ]
    return sorted(
        trials,
        key=lambda trial: (not method_spec(trial.arm.method).deterministic, trial.seed, trial.label_budget),
    )


def as_finished(trial: Trial, study: Study, dataset: Dataset, folders: Sequence[Path]) -> Trial:
    """The trial in the precision in which one of the folders holds it finished; as given where none does, or
    where the study itself says the precision. So a study goes on where another machine computes natively in
    another precision."""
    precisions = [trial.precision, *(NATIVE_PRECISIONS if study.precision == "auto" else ())]
    of_features = [trial.feature_precision, *(NATIVE_PRECISIONS if study.feature_precision == "auto" else ())]
    for precision, feature_precision in product(dict.fromkeys(precisions), dict.fromkeys(of_features)):
        candidate = dataclasses.replace(trial, precision=precision, feature_precision=feature_precision)
        if _is_kept(candidate, dataset, folders):
            return candidate
    return trial


def _is_kept(trial: Trial, dataset: Dataset, folders: Sequence[Path]) -> bool:
    """Whether one of the folders holds the trial finished."""
    key = trial_key(resolve(trial, dataset))
    return any(store.is_finished(folder / key) for folder in folders)


def cells_of(study: Study) -> tuple[Cell, ...]:
    """The study's cells; where it names none, every arm at every label budget with every seed."""
    return study.cells or tuple(
        Cell(arm=arm, label_budget=budget, seeds=study.seeds)
        for budget in study.label_budgets
        for arm in study.arms
    )


def run_study(
    study: str | Study,
    out: str | Path | None = None,
    *,
    changes: dict[str, str] | None = None,
    seeds: int | None = None,
    command: str = "",
    published: str | Path | None = None,
    minutes: float | None = None,
    jobs: int = 1,
) -> Path:
    """Runs what is missing of a study and returns its folder (default: runs/<study name>).

    study: a built-in study's name, a TOML file's path, or a Study. Finished trials are kept; a failed one
    does not stop the others. published: a folder of published trials, which count as finished. Where the
    study leaves the precision to the machine, a trial that is finished in another one counts too. minutes: no
    trial is begun later than that; the study then stands as far as it is (its trials alone), and the same
    call goes on. jobs: trials at once, each in a process of its own with its share of the cores; a script
    then calls this under `if __name__ == "__main__":`. Their seconds are those of trials side by side and
    compare with no others; joules are not counted.

    Examples:
        >>> folder = headstart.run_study("mine.toml", out="runs/mine", seeds=2)
        >>> sorted(path.name for path in folder.iterdir() if path.suffix)
        ['gallery.npz', 'results.csv', 'study.json', 'study.toml']

    Raises: TrialsFailedError at the end where any failed; BusyError where another process runs this folder;
    DownloadError, WeightsError, DataError, StoreError before or as soon as they are met."""
    if minutes is not None and not minutes >= 0:
        raise ConfigError(f"minutes must be 0 or more, got {minutes:g}")
    if jobs < 1:
        raise ConfigError(f"jobs must be 1 or more, got {jobs}")
    value, text = load_study(study, changes, seeds) if isinstance(study, str) else (study, "")
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    folder = Path(out) if out is not None else Path("runs") / value.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror or error}; choose another folder with --out"
        ) from error
    if published is not None and not Path(published).is_dir():
        raise StoreError(
            f"{published} is not a folder; give the folder that `headstart publish` wrote, or leave it out"
        )
    keep_freed_memory()
    with store.lock(folder / "lock", f"the study folder {folder}"):
        dataset = load_dataset(value.dataset)
        store.write_bytes(folder / "study.toml", text.encode())
        store.write_json(folder / "study.json", describe(value, dataset, command))
        for model, weights in sorted(
            {(arm.model, arm.weights) for arm in value.arms if arm.weights != "none"}
        ):
            load_model(model, weights)  # fetched and checked before anything is computed
        corrupts = value.robustness is not None and has_textures()  # these too
        done_elsewhere = Path(published) if published is not None else None
        trials = [
            as_finished(trial, value, dataset, [folder, *([done_elsewhere] if done_elsewhere else [])])
            for trial in trials_of(value)
        ]
        failed, left = _run_missing(trials, value.name, dataset, folder, done_elsewhere, deadline, jobs)
        table.write_results_csv(folder)
        _write_gallery(folder, dataset, value.phase)
        if failed:
            raise TrialsFailedError(
                f"{len(failed)} of {len(trials)} trials failed ({'; '.join(failed)}); the others are kept in "
                f"{folder}. The same command runs the failed ones again"
            )
        if published is not None:
            adopt_readings(Path(published), folder)
        if left:
            progress.say(
                f"{minutes:g} minutes are over: {left} of {len(trials)} trials are left; the same command "
                "goes on"
            )
            return folder
        if corrupts and value.robustness is not None:
            run_robustness(folder, value.robustness)
        for shift_set in value.shift_sets:
            run_shift(folder, shift_set)
        if value.looks:
            run_looks(folder, value.seeds[0])
        if value.data_health:
            examine_into(folder, dataset, backbone_of(store.read_json(folder / "study.json")))
    return folder


def has_textures() -> bool:
    """Whether frost's textures are there or can be fetched; a study goes on without them."""
    try:
        frost_textures()
    except DownloadError as error:
        progress.say(f"corrupted images are left out: {error}")
        return False
    return True


def _run_missing(
    trials: list[Trial],
    study: str,
    dataset: Dataset,
    folder: Path,
    published: Path | None,
    deadline: float | None,
    jobs: int,
) -> tuple[list[str], int]:
    """Runs each trial that is not finished, and begins none after the deadline (time.monotonic). The failed
    ones, each in a few words; how many were left."""
    failed, left = [], 0
    kept = [folder, *([published] if published else [])]
    took: dict[tuple[str, LabelBudget], list[float]] = {}
    rest = Counter(map(_cell, trials))

    def due() -> Iterator[tuple[int, Trial]]:
        nonlocal left
        for number, trial in enumerate(trials, 1):
            if deadline is not None and time.monotonic() > deadline and not _is_kept(trial, dataset, kept):
                left += 1
            else:
                yield number, trial

    run = partial(run_trial, study=study, study_folder=folder, published=published, jobs=jobs)
    with closing(attempts(due(), run, jobs, partial(_is_kept, dataset=dataset, folders=kept))) as attempted:
        for number, trial, result_of in attempted:
            name = f"{trial.arm.name}, {trial.label_budget.plain_words}, seed {trial.seed}"
            rest -= Counter([_cell(trial)])
            try:
                result = result_of()
            except (StoreError, BusyError, DownloadError, WeightsError):
                raise  # the next trial would meet the same
            except HeadstartError as error:
                failed.append(f"{name}: {error}")
                progress.say(f"trial {number} of {len(trials)} ({name}) failed: {error}")
                continue
            except Exception as error:
                store.write_bytes(
                    folder / "failures" / f"{trial.arm.name}-{trial.seed}.txt",
                    traceback.format_exc().encode(),
                )
                failed.append(f"{name}: {type(error).__name__}: {error}")
                progress.say(
                    f"trial {number} of {len(trials)} ({name}) failed: {error}; details in "
                    f"{folder / 'failures'}"
                )
                continue
            table.write_results_csv(folder)
            if result.environment.get("jobs", 1) == jobs:  # else it was finished before, by other means
                took.setdefault(_cell(trial), []).append(result.cost.spent_seconds)
            progress.say(
                f"trial {number} of {len(trials)} ({name}): test accuracy "
                f"{result.metrics['test_accuracy']:.4f}" + (_time_left(took, rest, jobs) if jobs > 1 else "")
            )
    return failed, left


def _cell(trial: Trial) -> tuple[str, LabelBudget]:
    return trial.arm.name, trial.label_budget


def _time_left(
    took: Mapping[tuple[str, LabelBudget], list[float]], rest: Counter[tuple[str, LabelBudget]], jobs: int
) -> str:
    """What the trials still to end take by those of their arm and label budget; nothing where one of these
    has none yet."""
    if not rest or not rest.keys() <= took.keys():
        return ""
    seconds = math.fsum(count * float(np.mean(took[cell])) for cell, count in rest.items()) / jobs
    return f"; about {progress.clock(seconds)} left"


def describe(study: Study, dataset: Dataset, command: str) -> dict[str, Any]:
    """What study.json holds: all that a report needs to know about the study itself."""
    value = store.as_stored(study)
    value["cells"] = [
        {
            "arm": cell.arm.name,
            "labels_per_class": cell.label_budget.per_class,
            "seeds": cell.seeds,
            "recipe_name": cell.arm.recipe_name,
        }
        for cell in cells_of(study)
    ]
    value["dataset"] = {
        "name": dataset.name,
        "title": dataset.title,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "class_names": list(dataset.train.class_names),
        "train_images": len(dataset.train),
        "test_images": len(dataset.test),
        "image_pixels": int(dataset.train.images.shape[1]),
    }
    value["command"] = command or f"headstart study {study.name}"
    value["models"] = describe_models((arm.model, arm.weights) for arm in study.arms)
    names = {cell.arm.recipe_name for cell in cells_of(study)} | {arm.recipe_name for arm in study.arms}
    value["recipes"] = {name: told for name in sorted(names) if (told := dict(provenance_of(name)))}
    return value


def _write_gallery(folder: Path, dataset: Dataset, phase: str) -> None:
    """Keeps the pixels of the test images that a report shows, so that it renders from this folder alone."""
    ids = np.asarray(headline.gallery_ids(store.finished_trials(folder), phase=phase), dtype=np.int64)
    store.write_npz(folder / "gallery.npz", {"ids": ids, "images": np.asarray(dataset.test.images[ids])})
