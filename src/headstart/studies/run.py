"""A study from start to finish: its missing trials are run and its folder is written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Unpack

from headstart import store
from headstart.errors import DamagedError, TrialsFailedError
from headstart.results import table
from headstart.results.published import adopt_readings
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.threads import use_threads
from headstart.studies.after import can_corrupt, run_after_trials
from headstart.studies.begin import Asked, RunOptions, Settings
from headstart.studies.missing import TrialRun, TrialsDone, run_missing
from headstart.studies.record import write_gallery
from headstart.types import Study


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
    command: what the report says to type for the same study. engine: what runs the trials elsewhere, as
    `headstart study --cluster` does.

    Examples:
        >>> folder = headstart.run_study("mine.toml", out="runs/mine", seeds=2)
        >>> sorted(path.name for path in folder.iterdir() if path.suffix)
        ['gallery.npz', 'results.csv', 'study.json', 'study.toml']

    Raises: TrialsFailedError at the end where any failed; BusyError where another process runs this folder;
    DownloadError, WeightsError, DataError, StoreError before or as soon as they are met."""
    asked = Asked.of(study, out, changes, seeds, Settings(**options))
    keep_freed_memory()
    with store.lock(asked.folder / "lock", f"the study folder {asked.folder}"):
        store.set_aside_damaged(asked.folder, progress.say)
        run = asked.trials()
        threads = asked.write_head(run)
        if not all(map(run.is_finished, run.trials)):
            asked.fetch_weights()
        corrupts = can_corrupt(asked.study)
        with use_threads(threads.count) if threads else nullcontext():
            if _run_trials(run, asked):
                run_after_trials(asked.study, run.dataset, run.folder, corrupts=corrupts)
    return asked.folder


def _run_trials(run: TrialRun, asked: Asked) -> bool:
    """Runs what is missing and writes the tables of all trials; whether none is left.

    Raises: as require_none_failed."""
    done = run_missing(run)
    write_tables(run, asked)
    require_none_failed(run, done)
    if run.published is not None:
        adopt_readings(run.published, run.folder)
    if done.left:
        progress.say(
            f"{asked.settings.minutes:g} minutes are over: {done.left} of {len(run.trials)} trials are left; "
            "the same command goes on"
        )
    return not done.left


def write_tables(run: TrialRun, asked: Asked) -> None:
    """Writes results.csv and the gallery from the trials that are finished."""
    table.write_results_csv(run.folder)
    write_gallery(run.folder, run.dataset, asked.study.phase)


def require_none_failed(run: TrialRun, done: TrialsDone) -> None:
    """Raises: TrialsFailedError where any failed; DamagedError where all of these did on a damaged file."""
    if done.failed:
        kind = DamagedError if done.damaged == len(done.failed) else TrialsFailedError
        raise kind(
            f"{len(done.failed)} of {len(run.trials)} trials failed ({'; '.join(done.failed)}); the others "
            f"are kept in {run.folder}. The same command runs the failed ones again"
        )
