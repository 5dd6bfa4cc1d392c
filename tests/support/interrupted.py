"""A function in a forked process that is killed, or meets an error of the disk, at a chosen write."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable

from headstart.errors import HeadstartError


def in_process(run: Callable[[], object]) -> tuple[int, str]:
    """(exit code, or minus the signal; a deliberate error's message) of a function in a forked process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code, text = 1, ""
        try:
            os.close(read)
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 2)
            run()
            code = 0
        except HeadstartError as error:
            code, text = error.exit_code, str(error)
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(write, text.encode()[:4000])
            os._exit(code)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        text = file.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text


def writes_of(run: Callable[[], object]) -> int:
    """How many writes a function makes: each call that must reach the disk."""
    read, write = os.pipe()

    def counted() -> None:
        count = 0

        def note() -> None:
            nonlocal count
            count += 1

        _hook(note)
        run()
        os.write(write, str(count).encode())

    code, text = in_process(counted)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert code == 0, text
        return int(file.read())


def killed_at(run: Callable[[], object], write: int) -> tuple[int, str]:
    """The function, killed with SIGKILL just before its n-th write (from 0)."""
    return in_process(lambda: (_hook(_at(write, lambda: os.kill(os.getpid(), signal.SIGKILL))), run()))


def failing_at(run: Callable[[], object], write: int, name: str) -> tuple[int, str]:
    """The function, whose n-th write and all later ones fail with this error, e.g. "ENOSPC"."""
    number = getattr(errno, name)

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return in_process(lambda: (_hook(_from(write, fail)), run()))


def _at(write: int, act: Callable[[], None]) -> Callable[[], None]:
    left = write

    def note() -> None:
        nonlocal left
        left -= 1
        if left == -1:
            act()

    return note


def _from(write: int, act: Callable[[], None]) -> Callable[[], None]:
    left = write

    def note() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            act()

    return note


def _hook(note: Callable[[], None]) -> None:
    """Calls `note` before every call that must reach the disk (a file that is replaced meets both, one that
    grows in place meets fsync); in this process, from now on."""

    def hooked(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object, **keywords: object) -> object:
            note()
            return real(*arguments, **keywords)

        setattr(os, name, call)

    for name in ("fsync", "replace"):
        hooked(name)
