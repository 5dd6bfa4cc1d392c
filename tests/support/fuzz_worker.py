"""A function of a number, called many times in one forked process with limits of memory and time; where the
process dies, another one goes on with the next number."""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence


def in_worker(
    run: Callable[[int], str], numbers: Sequence[int], extra_bytes: int = 1_500_000_000, seconds: int = 20
) -> Iterator[tuple[int, str]]:
    """(number, what run gave) for each; of one in which the process died, the signal's name.

    extra_bytes: of address space beyond what this process has. seconds: of one call."""
    left = list(numbers)
    while left:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            _work(run, left, write, extra_bytes, seconds)
        os.close(write)
        with os.fdopen(read, "rb") as file:
            while left:
                # Twice the limit: the alarm ends what runs in Python or in C alike.
                ready, _, _ = select.select([file], [], [], 2 * seconds)
                line = file.readline() if ready else b""
                if not line:
                    break
                yield left.pop(0), json.loads(line)
            if left and not line:
                os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if left:
            name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
            yield left.pop(0), f"the process died: {name}"


def _work(
    run: Callable[[int], str], numbers: Sequence[int], write: int, extra_bytes: int, seconds: int
) -> None:
    try:
        faulthandler.disable()  # a death is an answer here
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)  # the threads that the parent computed with are not in its fork
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + extra_bytes,) * 2)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number in numbers:
            signal.alarm(seconds)
            answer = run(number)
            signal.alarm(0)
            os.write(write, json.dumps(answer[:4000]).encode() + b"\n")
    finally:
        os._exit(0)
