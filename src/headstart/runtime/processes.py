"""Trials side by side, each in a process of its own: for a GPU that small trials leave idle, and for many
cores."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from headstart.errors import TrialsFailedError
from headstart.runtime import energy, progress
from headstart.runtime.cores import usable_cores
from headstart.runtime.memory import keep_freed_memory

Work = TypeVar("Work")
Found = TypeVar("Found")


def attempts(
    due: Iterable[tuple[int, Work]],
    run: Callable[[Work], Found],
    jobs: int,
    is_kept: Callable[[Work], bool] = lambda _: False,
) -> Generator[tuple[int, Work, Callable[[], Found]], None, None]:
    """Each numbered piece of work (a trial, a search) with a call that gives its result or raises its error:
    in order and run by that call for one job, as they end for several.

    due: asked for the next one when there is a process free for it. run: picklable. is_kept: whether run has
    nothing to compute, so that it needs no other process. Closed early, it ends the processes; their
    checkpoints stand.
    Raises: TrialsFailedError where a process is gone."""
    if jobs == 1:
        yield from ((number, work, partial(run, work)) for number, work in due)
        return
    context = get_context("spawn")  # a forked process cannot use CUDA
    watched, held = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(jobs, context, _begin, (jobs, watched))
    running: dict[Future[Found], tuple[int, Work]] = {}
    try:
        for number, work in due:
            if is_kept(work):
                yield number, work, partial(run, work)
                continue
            with _interrupts_wait():
                running[pool.submit(run, work)] = number, work
            if len(running) == jobs:
                yield from _ended(running)
        while running:
            yield from _ended(running)
    except BrokenProcessPool as error:
        raise TrialsFailedError(
            "a trial's process ended before its trial (no memory left?); finished trials are kept and the "
            "same command goes on, with fewer --jobs where memory is short"
        ) from error
    finally:
        if running:
            held.close()
        pool.shutdown(cancel_futures=True)
        held.close()
        watched.close()


def _ended(running: dict[Future[Found], tuple[int, Work]]) -> Iterator[tuple[int, Work, Callable[[], Found]]]:
    """Waits for at least one to end and takes those that have out of the running ones."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        number, work = running.pop(future)
        if isinstance(error := future.exception(), BrokenProcessPool):
            raise error
        yield number, work, future.result


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: one that is begun in here never sees it, and is ended by
    this one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(jobs: int, watched: Connection) -> None:
    """Makes a new process one of several: silent, with its share of the cores, gone when the first process
    is."""
    threading.Thread(target=_end_with, args=(watched,), name="end", daemon=True).start()
    torch.set_num_threads(max(1, usable_cores() // jobs))
    keep_freed_memory()
    progress.be_quiet()
    energy.count_nothing()


def _end_with(watched: Connection) -> None:
    """Ends this process once nobody holds the other end: closed, or its holder killed."""
    try:
        watched.recv()
    except (EOFError, OSError):
        os._exit(1)
