"""Run trials side by side, each in a process of its own: on GPUs that small trials leave idle, on many
cores.
"""

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
Outcome = TypeVar("Outcome")


def attempts(
    due: Iterable[tuple[int, Work]],
    run: Callable[[Work], Outcome],
    jobs: int,
    is_kept: Callable[[Work], bool] = lambda _: False,
    threads: int | None = None,
) -> Generator[tuple[int, Work, Callable[[], Outcome]], None, None]:
    """Run numbered pieces of work (trials, searches); yield each with a call for its result.

    The call returns the result or raises the error. With one job the work runs in order, each inside its
    call; with several, it comes in the order in which it ends. due: asked for the next one when a process is
    free for it. run: picklable. is_kept: whether run has nothing to compute, so that it needs no other
    process. threads: of each of several processes, None: its share of the cores. Closing the generator early
    ends the processes; their checkpoints stay.
    Raises: TrialsFailedError where a process is gone."""
    if jobs == 1:
        yield from ((number, work, partial(run, work)) for number, work in due)
        return
    context = get_context("spawn")  # a forked process cannot use CUDA
    watched_end, held_end = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(
        jobs, context, _begin, (threads or max(1, usable_cores() // jobs), watched_end)
    )
    running: dict[Future[Outcome], tuple[int, Work]] = {}
    try:
        for number, work in due:
            if is_kept(work):
                yield number, work, partial(run, work)
                continue
            with _block_interrupts():
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
            held_end.close()
        pool.shutdown(cancel_futures=True)
        held_end.close()
        watched_end.close()


def _ended(
    running: dict[Future[Outcome], tuple[int, Work]],
) -> Iterator[tuple[int, Work, Callable[[], Outcome]]]:
    """Wait for at least one to end; remove those that have from `running` and yield them."""
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        number, work = running.pop(future)
        if isinstance(error := future.exception(), BrokenProcessPool):
            raise error
        yield number, work, future.result


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Block Ctrl-C for processes started in the block.

    It reaches every process of a terminal; a process that was started with it blocked is ended by this
    one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int, watched_end: Connection) -> None:
    """Set up a new process as one of several.

    It is silent, has its share of the cores, and ends with the first process."""
    threading.Thread(target=_end_with, args=(watched_end,), name="end", daemon=True).start()
    torch.set_num_threads(threads)
    keep_freed_memory()
    progress.be_quiet()
    energy.count_nothing()


def _end_with(watched_end: Connection) -> None:
    """End this process once nobody holds the other end: it was closed, or its holder was killed."""
    try:
        watched_end.recv()
    except (EOFError, OSError):
        os._exit(1)
