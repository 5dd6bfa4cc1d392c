"""A function in a process of its own with a limit of memory and time: what fills the memory fails there,
not here."""

from __future__ import annotations

import os
import resource
import signal
import traceback
from collections.abc import Callable


def under_limit(run: Callable[[], object], extra_bytes: int = 1_000_000_000, seconds: int = 30) -> str:
    """What running gave: "" where it returned, else the exception's type and text, or the signal that ended
    it.

    extra_bytes: of address space beyond what this process has."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        text = ""
        try:
            os.close(read)
            with open("/proc/self/statm", encoding="ascii") as file:
                used = int(file.read().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + extra_bytes,) * 2)
            signal.alarm(seconds)
            run()
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
            if not text.strip():
                text = traceback.format_exc()
        os.write(write, text.encode(errors="replace")[:60_000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read().decode()
    _, status = os.waitpid(child, 0)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else text
