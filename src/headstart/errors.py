"""The errors that a user can meet: each is one line and carries its documented exit code.

A message says what was given, what was expected and what to do next. Our own mistakes stay
ordinary exceptions (and tracebacks); these are for everything that a user can mend.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HeadstartError(Exception):
    """Anything that a user can mend; `exit_code` is what the command line returns."""

    exit_code = 1


class ConfigError(HeadstartError):
    """A study, an option or a name that makes no sense."""

    exit_code = 2


class DataError(HeadstartError):
    """Images or labels that cannot be used."""

    exit_code = 3


class DownloadError(HeadstartError):
    """Something could not be fetched, or is not what its checksum says."""

    exit_code = 4


class WeightsError(HeadstartError):
    """A weights file that is missing, damaged or of another network."""

    exit_code = 5


class StoreError(HeadstartError):
    """A folder that cannot be written, a full disk, a damaged run folder."""

    exit_code = 6


class DamagedError(StoreError):
    """A file that is not what was written: cut, altered or of another trial. The message names it."""


class BusyError(HeadstartError):
    """Another process holds what this one needs."""

    exit_code = 7


class TakenError(BusyError):
    """Another process computes this trial or search."""


class TrialsFailedError(HeadstartError):
    """Some trials of a study failed; the others are kept."""

    exit_code = 8


class StoppedError(HeadstartError):
    """Interrupted by the user; the message says what is kept."""

    exit_code = 130


class StaleReportError(HeadstartError):
    """A published report that is not what its own trials give."""

    exit_code = 9


def unknown_name(kind: str, given: str, choices: Iterable[str]) -> ConfigError:
    """A ConfigError that names the choices and, where one of them is close, the likely meaning."""
    names = sorted(choices)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return ConfigError(f"unknown {kind} {given!r}{hint}; choose from: {', '.join(names)}")


def require_count(name: str, given: int, most: int = 4096) -> None:
    """Raises: ConfigError where a number of processes or threads is below 1, or more than any machine has."""
    if given < 1:
        raise ConfigError(f"{name} must be 1 or more, got {given}")
    if given > most:
        raise ConfigError(f"{name} must be {most:,} or less, got {given}")
