"""A study from start to finish: its missing trials are run and its folder is written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from headstart import store
from headstart.data import is_dataset, load_dataset
from headstart.errors import ConfigError, DamagedError, StoreError, TrialsFailedError
from headstart.models import load_model
from headstart.results import table
from headstart.results.published import adopt_readings
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.precision import default_device
from headstart.runtime.threads import use_threads
from headstart.store import ThreadsRecord
from headstart.studies.after import has_textures, run_after_trials
from headstart.studies.missing import TrialRun, run_missing
from headstart.studies.record import describe, write_gallery
from headstart.studies.study_file import load_study
from headstart.studies.threads import kept_threads, threads_of
from headstart.studies.trials import as_finished, trials_of
from headstart.types import Dataset, Study


class RunOptions(TypedDict, total=False):
    """The keywords of `run_study` that say how it runs, not what; see there."""

    published: str | Path | None
    minutes: float | None
    jobs: int
    threads: int | None
    command: str


@dataclass(frozen=True, kw_only=True)
class _Settings:
    """RunOptions with their defaults. Raises: ConfigError, StoreError for what makes no sense."""

    published: str | Path | None = None
    minutes: float | None = None
    jobs: int = 1
    threads: int | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes >= 0:
            raise ConfigError(f"minutes must be 0 or more, got {self.minutes:g}")
        if self.jobs < 1:
            raise ConfigError(f"jobs must be 1 or more, got {self.jobs}")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be 1 or more, got {self.threads}")


def run_study(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    changes: Mapping[str, str] | None = None,
    seeds: int | None = None,
    **options: Unpack[RunOptions],
) -> Path:
    """Runs what is missing of a study and returns its folder (default: runs/<study name>).

    study: a built-in study's name, a TOML file's path, or a Study built in Python, which leaves its
    study.toml in the folder. Finished trials are kept; a failed one does not stop the others.
    changes: dotted keys to values as the command line's --set, e.g. {"dataset": "cifar10"}.
    seeds: use seeds 0 .. seeds - 1 instead of the study's own.
    published: a folder of published trials, which count as finished. Where the study leaves the precision to
    the machine, a trial that is finished in another one counts too.
    minutes: no trial is begun later than that; the study then stands as far as it is (its trials alone), and
    the same call resumes it.
    jobs: trials at once, each in a process of its own with its share of the cores; a script then calls this
    under `if __name__ == "__main__":`. Their seconds are those of trials side by side and compare with no
    others; joules are not counted.
    threads: of each trial; None: those that the environment says (OMP_NUM_THREADS), else the fastest of a few
    numbers, timed once a study and kept in its study.json. A trial that is resumed keeps its own.
    command: what the report says to type for the same study.

    Examples:
        >>> folder = headstart.run_study("mine.toml", out="runs/mine", seeds=2)
        >>> sorted(path.name for path in folder.iterdir() if path.suffix)
        ['gallery.npz', 'results.csv', 'study.json', 'study.toml']

    Raises: TrialsFailedError at the end where any failed; BusyError where another process runs this folder;
    DownloadError, WeightsError, DataError, StoreError before or as soon as they are met."""
    settings = _Settings(**options)
    value, text = load_study(study, changes, seeds)
    folder = Path(out) if out is not None else Path("runs") / value.name
    published = _existing_folder(settings.published)
    deadline = None if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    _make_folder(folder)
    keep_freed_memory()
    with store.lock(folder / "lock", f"the study folder {folder}"):
        store.set_aside_damaged(folder, progress.say)
        dataset = load_dataset(value.dataset)
        _say_what_is_enlarged(value, dataset)
        store.write_bytes(folder / "study.toml", text.encode())
        folders = [folder, *([published] if published else [])]
        run = TrialRun(
            study=value.name,
            dataset=dataset,
            trials=[as_finished(trial, value, dataset, folders) for trial in trials_of(value)],
            folder=folder,
            published=published,
            deadline=deadline,
            jobs=settings.jobs,
            threads=settings.threads,
        )
        _run_in(run, value, settings)
    return folder


def _say_what_is_enlarged(study: Study, dataset: Dataset) -> None:
    """Arms that ask for more pixels than a user's own images are stored at get no more detail."""
    stored = int(dataset.train.images.shape[1])
    arms = [arm for arm in study.arms if arm.input_pixels and arm.input_pixels > stored]
    if arms and not is_dataset(study.dataset):
        names = ", ".join(f"{arm.name} ({arm.input_pixels} px)" for arm in arms)
        progress.say(
            f"{study.dataset}: images are stored at {stored} px and enlarged for {names}; a larger "
            "image_pixels in "
            "images.toml keeps more detail, where the files have it"
        )


def _run_in(run: TrialRun, study: Study, settings: _Settings) -> None:
    """Writes study.json, then runs what is missing, with the study's number of threads."""
    threads = _threads(run, study)
    about = {} if threads is None else {"threads": store.as_stored(threads)}
    store.write_json(run.folder / "study.json", describe(study, run.dataset, settings.command) | about)
    corrupts = _fetch(study)
    with use_threads(threads.count) if threads else nullcontext():
        if _run_trials(run, study, settings):
            run_after_trials(study, run.dataset, run.folder, corrupts=corrupts)


def _threads(run: TrialRun, study: Study) -> ThreadsRecord | None:
    """With how many threads this process computes; None leaves torch's own number.

    Processes side by side have their share of the cores; beside a GPU the number matters little. Neither
    those nor a study without anything left to run are timed."""
    if run.jobs > 1:
        return None
    if run.threads is None and default_device().type != "cpu":
        return None
    if all(map(run.is_finished, run.trials)):
        return kept_threads(run.folder)
    return threads_of(run.folder, run.threads, study.precision)


def _fetch(study: Study) -> bool:
    """Fetches and checks all that the study needs before anything is computed. Returns whether corrupted
    images are wanted and can be made."""
    for model, weights in sorted({(arm.model, arm.weights) for arm in study.arms if arm.weights != "none"}):
        load_model(model, weights)
    return study.robustness is not None and has_textures()


def _run_trials(run: TrialRun, study: Study, settings: _Settings) -> bool:
    """Runs what is missing and writes the tables of all trials; whether none is left.

    Raises: TrialsFailedError where any failed; DamagedError where all of these failed on a damaged file."""
    done, count = run_missing(run), len(run.trials)
    table.write_results_csv(run.folder)
    write_gallery(run.folder, run.dataset, study.phase)
    if done.failed:
        kind = DamagedError if done.damaged == len(done.failed) else TrialsFailedError
        raise kind(
            f"{len(done.failed)} of {count} trials failed ({'; '.join(done.failed)}); the others are kept in "
            f"{run.folder}. The same command runs the failed ones again"
        )
    if run.published is not None:
        adopt_readings(run.published, run.folder)
    if done.left:
        progress.say(
            f"{settings.minutes:g} minutes are over: {done.left} of {count} trials are left; the same "
            "command goes on"
        )
    return not done.left


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror or error}; choose another folder with --out"
        ) from error


def _existing_folder(published: str | Path | None) -> Path | None:
    if published is None:
        return None
    if not Path(published).is_dir():
        raise StoreError(
            f"{published} is not a folder; give the folder that `headstart publish` wrote, or leave it out"
        )
    return Path(published)
