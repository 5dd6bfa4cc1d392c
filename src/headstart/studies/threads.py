"""How many threads a study's trials compute with: fixed, or measured once and kept in study.json."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from headstart import store
from headstart.errors import StoreError
from headstart.models.cnn import CNN
from headstart.runtime import progress
from headstart.runtime.cores import processor_name, sensible_counts, threads_are_said, usable_cores
from headstart.runtime.precision import autocast, resolve_precision
from headstart.runtime.threads import seconds_by_count
from headstart.store import ThreadsRecord

_WIDTHS = (64, 256, 256)
_IMAGES = 20  # of the timed step: a few tenths of a second, where the CNN's own batch takes two


def threads_of(folder: Path, fixed: int | None, precision: str) -> ThreadsRecord:
    """How many threads a study's trials compute with on this processor.

    folder: the study's; what it says for this processor is kept. fixed: what the user said. precision: the
    study's, as its file has it. Where nobody says a number, a few training steps of the CNN are timed."""
    if fixed is not None:
        return _record(fixed)
    if threads_are_said():
        return _record(torch.get_num_threads())
    kept = kept_threads(folder)
    here = processor_name(), usable_cores()
    if kept is not None and (kept.processor, kept.cores) == here:
        return kept
    return _measured(precision)


def kept_threads(folder: Path) -> ThreadsRecord | None:
    """What the study's folder says; None where it says nothing that can be read."""
    try:
        return store.read_study(folder).threads if store.has_study(folder) else None
    except StoreError:  # it is written anew
        return None


def _measured(precision: str) -> ThreadsRecord:
    """The fastest of the sensible numbers of threads."""
    counts = sensible_counts(usable_cores())
    if len(counts) == 1:
        return _record(counts[0])
    seconds = seconds_by_count(_step(precision), counts)
    record = _record(min(seconds, key=lambda count: seconds[count]), seconds)
    progress.say(f"threads: {record.in_words}; --threads fixes another number")
    store.write_last_measured(record)
    return record


def _record(count: int, seconds: dict[int, float] | None = None) -> ThreadsRecord:
    return ThreadsRecord(count=count, seconds=seconds or {}, processor=processor_name(), cores=usable_cores())


def _step(precision: str) -> Callable[[], None]:
    """Forward and backward pass of the CNN on a small batch."""
    device = torch.device("cpu")
    resolved = resolve_precision(precision, device)
    with torch.random.fork_rng(devices=[]):
        model = CNN(10, 32, _WIDTHS).train()
        x = torch.rand(_IMAGES, 3, 32, 32).to(memory_format=torch.channels_last)
    labels = torch.zeros(_IMAGES, dtype=torch.int64)

    def step() -> None:
        with autocast(resolved, device):
            logits = model(x)
        F.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]

    return step
