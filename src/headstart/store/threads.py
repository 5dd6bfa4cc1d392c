"""How many threads a study computes with, as study.json keeps it, and what was measured last here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.errors import StoreError
from headstart.store.files import as_stored
from headstart.store.places import cache_folder
from headstart.store.reading import checked, read_table
from headstart.store.schema import ThreadsFields
from headstart.store.sealed import write_sealed

_REMEDY = "delete it: the next study measures again"


@dataclass(frozen=True, kw_only=True)
class ThreadsRecord:
    """How many threads a study's trials compute with, and the processor that this holds for.

    seconds: of a training step by number of threads, where they were timed; else somebody said the number."""

    count: int
    seconds: Mapping[int, float]
    processor: str
    cores: int

    @classmethod
    def from_stored(cls, value: Mapping[str, Any] | None) -> ThreadsRecord | None:
        if not value:
            return None
        seconds = {int(count): float(second) for count, second in value["seconds"].items()}
        return cls(count=value["count"], seconds=seconds, processor=value["processor"], cores=value["cores"])

    @property
    def in_words(self) -> str:
        """The number, and what it was the fastest of."""
        timed = ", ".join(f"{count}: {second:.2f} s" for count, second in self.seconds.items())
        return f"{self.count}" + (f", the fastest a step of {timed}" if timed else "")


def last_measured() -> ThreadsRecord | None:
    """What was measured last on this machine, by any study; None where nothing was."""
    path = _last()
    try:
        if not path.exists():
            return None
        value = read_table(path, _REMEDY)
        checked(ThreadsFields, value, path, _REMEDY)
    except StoreError:
        return None
    return ThreadsRecord.from_stored(value)


def write_last_measured(record: ThreadsRecord) -> None:
    """Keep what was measured for `last_measured`."""
    write_sealed(_last(), as_stored(record))


def _last() -> Path:
    return cache_folder() / "threads.json"
