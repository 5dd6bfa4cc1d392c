"""Signals that ask for an end, and what is said then; imports nothing that takes time to load."""

from __future__ import annotations

import signal
from collections.abc import Callable

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
GOES_ON = "interrupted; finished trials are kept and the same command goes on where this one stopped"
CLOSED_PIPE = 141


def catch_endings(handler: Callable[[int, object], None]) -> None:
    """Have every signal that asks for an end call the handler.

    A shell starts background jobs with interrupts ignored; a study can always be interrupted and resumed. Who
    asks by `nohup` that a closed terminal does not end it is heard."""
    for number in ENDING:
        if not _is_shielded(number):
            signal.signal(number, handler)


def _is_shielded(number: int) -> bool:
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN
