"""A sample of many images: alike of all classes, drawn by the names of the files with a fixed seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from headstart.data.folders.find import Source
from headstart.data.folders.layout import Note
from headstart.errors import ConfigError

_SEED = 0


def sampled(source: Source, count: int | None) -> Source:
    """The source with at most about `count` of its images; all of them where it has no more, or for None.

    Each split gives its share. In it every class gives as many images as any other, or all that it has. An
    image is in or out by its name and the seed alone: more images added later change little. source.part
    names the sample, and a note says what was drawn. Raises: ConfigError for a count that is not positive."""
    if count is not None and count < 1:
        raise ConfigError(f"sample must be at least 1 image, got {count}")
    total = len(source.entries)
    if count is None or total <= count:
        return source
    by_split: dict[str, dict[str, list[int]]] = {}
    for place, entry in enumerate(source.entries):
        by_split.setdefault(entry.split or "", {}).setdefault(entry.label, []).append(place)
    chosen: list[int] = []
    largest = 0
    for classes in by_split.values():
        share = round(count * sum(map(len, classes.values())) / total)
        most = _most_of_class([len(places) for places in classes.values()], share)
        largest = max(largest, min(most, max(map(len, classes.values()))))
        for places in classes.values():
            chosen += sorted(places, key=lambda place: _rank(source.entries[place].name))[:most]
    message = (
        f"this is a sample of {len(chosen):,} of {total:,} images, at most {largest:,} of a class, drawn "
        f"with seed {_SEED}"
    )
    return replace(
        source,
        entries=tuple(source.entries[place] for place in sorted(chosen)),
        notes=(*source.notes, Note(severity="note", code="sample", message=message)),
        part=f"sample {count} {_SEED}",
    )


def _most_of_class(sizes: Sequence[int], share: int) -> int:
    """The number that each class gives, or all of its images, so that together they are about `share`."""
    left, classes = share, sorted(sizes)
    for place, size in enumerate(classes):
        each = left // (len(classes) - place)
        if size > each:
            return max(each, 1)
        left -= size
    return max(classes, default=1)


def _rank(name: str) -> bytes:
    return hashlib.sha256(f"headstart sample {_SEED} {name}".encode()).digest()
