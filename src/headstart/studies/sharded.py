"""A study run by several processes at once, on one machine or many, in one folder that all of them see.

The lock of the study's folder is held by all of them together, so that an ordinary `headstart study` waits
outside. Each trial has a lock of its own: whoever holds it runs the trial. A process begins with its share of
the trials and then takes what the others have not begun. Who leaves last finds the folder free, takes its
lock alone, and ends the study: tables, readings on other images, and, by the command line, the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from headstart import store
from headstart.errors import BusyError
from headstart.results.published import adopt_readings
from headstart.runtime import progress
from headstart.runtime.memory import keep_freed_memory
from headstart.runtime.threads import use_threads
from headstart.store import ThreadsRecord
from headstart.studies.after import can_corrupt, run_after_trials
from headstart.studies.begin import Asked, RunOptions, Settings
from headstart.studies.missing import TrialRun, TrialsDone, run_missing
from headstart.studies.run import require_none_failed, write_tables
from headstart.studies.shard import Shard
from headstart.types import Study

_WAIT_SECONDS = 24 * 3600.0  # for a process that measures threads, or that ends the study


@dataclass(frozen=True, kw_only=True)
class ShardDone:
    """How a shard ended. left: trials of the study that are not finished anywhere. is_last: whether this
    process has ended the study, so that its report is to be written."""

    folder: Path
    left: int
    is_last: bool


def run_shard(
    study: str | Path | Study,
    out: str | Path | None = None,
    *,
    shard: Shard,
    changes: Mapping[str, str] | None = None,
    seeds: int | None = None,
    **options: Unpack[RunOptions],
) -> ShardDone:
    """Runs a study beside other processes with the same arguments and other shards; arguments as run_study.

    Raises: StoreError where the folder's locks do not reach other machines; TrialsFailedError at the end
    where a trial failed here; BusyError where `run_study` runs this folder for longer than a day; otherwise
    as run_study."""
    asked = Asked.of(study, out, changes, seeds, Settings(**options))
    folder, what = asked.folder, f"the study folder {asked.folder}"
    store.require_shared_locks(folder)
    keep_freed_memory()
    with store.shared_lock(folder / "lock", what, _WAIT_SECONDS):
        run, threads = _begin(asked, shard)
        with _computing_with(threads):
            done = run_missing(run)
    left = sum(not run.is_finished_now(trial) for trial in run.trials)
    is_last = _end(asked, run, threads) if not left else False
    progress.say(_summary(shard, run, done, left=left, is_last=is_last))
    require_none_failed(run, done)
    return ShardDone(folder=folder, left=left, is_last=is_last)


def _begin(asked: Asked, shard: Shard) -> tuple[TrialRun, ThreadsRecord | None]:
    """The trials and the number of threads. Only what is written is written by one process after the other:
    who is first measures the threads, the others read what it measured."""
    own = asked.folder / "shards"  # no other file of the study: taking the lock removes temporary files there
    store.set_aside_damaged(asked.folder, progress.say)
    run = asked.trials(shard)
    with store.lock(own / "lock", f"the beginning of {asked.folder}", _WAIT_SECONDS):
        threads = asked.write_head(run)
    asked.fetch_weights()
    return run, threads


def _end(asked: Asked, run: TrialRun, threads: ThreadsRecord | None) -> bool:
    """Does what follows the trials, unless others still hold the folder: then the last of them does."""
    try:
        held = store.lock(asked.folder / "lock", f"the study folder {asked.folder}")
    except BusyError:
        return False
    with held, _computing_with(threads):
        write_tables(run, asked)
        if run.published is not None:
            adopt_readings(run.published, run.folder)
        corrupts = can_corrupt(asked.study)
        run_after_trials(asked.study, run.dataset, run.folder, corrupts=corrupts)
    return True


def _computing_with(threads: ThreadsRecord | None) -> AbstractContextManager[None]:
    return use_threads(threads.count) if threads else nullcontext()


def _summary(shard: Shard, run: TrialRun, done: TrialsDone, *, left: int, is_last: bool) -> str:
    """What a shard did and what is left, in a line."""
    here = f"shard {shard}: ran {done.ended} of {len(run.trials)} trials"
    if left:
        others = f" ({done.elsewhere} were with other shards)" if done.elsewhere else ""
        return f"{here}; {left} are left{others}. The last shard writes the report; the same command goes on"
    return f"{here}; all are finished" + ("" if is_last else ". Another shard writes the report")
