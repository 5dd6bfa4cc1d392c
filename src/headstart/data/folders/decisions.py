"""Decisions about single images, in a file beside their description: leave out, another label, or keep.

decisions.csv has a row for each image that was decided on: digest (SHA-256 of its file), decision, label, and
the name that it had, for people. The files themselves are never touched. Beside it may lie the folder added/,
images that joined later, a sub-folder for each class.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from headstart import store
from headstart.data.folders.cache import DecodedSource
from headstart.data.folders.find import Entry, Source, canonical
from headstart.data.folders.walk import LeftOut, walk_images
from headstart.errors import DataError, StoreError
from headstart.runtime.show import printable, shown

FILE, ADDED = "decisions.csv", "added"
_MOST_BYTES = 500_000_000  # a million decisions take a fifth of it
Kind = Literal["exclude", "relabel", "keep"]
_COLUMNS = ("digest", "decision", "label", "name")
_LONE_RETURN = re.compile(r"\r(?!\n)")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided about the image of a digest. label: its class, where kind is "relabel"."""

    digest: str
    kind: Kind
    label: str = ""
    name: str = ""


def read_decisions(path: Path) -> dict[str, Decision]:
    """The decisions of a file by digest, later rows replacing earlier ones; none where there is no file.

    Raises: DataError for a file that is no such table."""
    if not path.exists():
        return {}
    try:
        text = store.read_bytes(path, _MOST_BYTES).decode("utf-8-sig")
    except (StoreError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); mend or remove it") from error
    try:
        try:
            return _parsed(path, text)
        except csv.Error:  # names with a carriage return were once written without quotes
            return _parsed(path, _LONE_RETURN.sub(" ", text))
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table ({error}); mend or remove it") from error


def _parsed(path: Path, text: str) -> dict[str, Decision]:
    """The rows of a file's text. Raises: DataError; csv.Error."""
    decisions: dict[str, Decision] = {}
    rows = csv.reader(io.StringIO(text), strict=True)
    if (header := next(rows, None)) is None or tuple(header[:3]) != _COLUMNS[:3]:
        raise DataError(f"{path} does not begin with the line {','.join(_COLUMNS)}")
    for number, row in enumerate(rows, 2):
        digest, kind, label, name = (*row, "", "", "", "")[:4]
        if kind not in get_args(Kind) or len(digest) != 64 or (kind == "relabel") != bool(label.strip()):
            raise DataError(
                f"{path}, line {number}: expected a SHA-256, one of {', '.join(get_args(Kind))}, and a "
                "label with relabel alone"
            )
        decisions[digest] = Decision(digest=digest, kind=kind, label=canonical(label), name=name)  # type: ignore[arg-type]
    return decisions


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Write decisions.csv, whole or not at all."""
    rows = ((each.digest, each.kind, each.label, printable(each.name)) for each in decisions)
    store.write_bytes(path, "".join(map(store.csv_line, [_COLUMNS, *rows])).encode())


def with_added(source: Source, decisions: Path) -> Source:
    """The source with the images of the folder added/ beside the file; where it has splits, they train."""
    folder = decisions.parent / ADDED
    if not folder.is_dir():
        return source
    split = "train" if source.has_splits else None
    added = [
        Entry(
            path=path,
            name=printable(f"{ADDED}/{path.relative_to(folder).as_posix()}"),
            label=canonical(printable(path.relative_to(folder).parts[0])),
            split=split,  # type: ignore[arg-type]
        )
        for path in walk_images(folder, folder, LeftOut())
        if path.parent != folder
    ]
    labels = {*source.class_names, *(entry.label for entry in added)}
    entries = sorted((*source.entries, *added), key=lambda entry: entry.name)
    return replace(source, entries=tuple(entries), class_names=tuple(sorted(labels)))


def decided(decoded: DecodedSource, decisions: Mapping[str, Decision]) -> DecodedSource:
    """The decoded source with its decisions carried out: labels replaced, images marked as excluded or kept.

    An image is known by the content of its file, wherever it lies."""
    if not decisions:
        return decoded
    of_places = {
        place: decisions[fact.content]
        for place, fact in enumerate(decoded.facts)
        if fact.content in decisions
    }
    entries = list(decoded.source.entries)
    for place, decision in of_places.items():
        if decision.kind == "relabel":
            entries[place] = replace(entries[place], label=decision.label)
    excluded = frozenset(place for place, each in of_places.items() if each.kind == "exclude")
    # A class that decisions have emptied is none any more; one that was empty before is reported as before.
    emptied = {entry.label for entry in decoded.source.entries} - {
        entry.label for place, entry in enumerate(entries) if place not in excluded
    }
    names = ({*decoded.source.class_names} - emptied) | {entry.label for entry in entries}
    names -= emptied
    return replace(
        decoded,
        source=replace(decoded.source, entries=tuple(entries), class_names=tuple(sorted(names))),
        excluded=excluded,
        kept=frozenset(place for place, each in of_places.items() if each.kind == "keep"),
        relabelled=frozenset(place for place, each in of_places.items() if each.kind == "relabel"),
    )


def decisions_in_words(decoded: DecodedSource) -> str:
    """How many images were decided on, in words; empty where there are none."""
    added = sum(entry.name.startswith(f"{ADDED}/") for entry in decoded.source.entries)
    counts = (
        (len(decoded.excluded), "left out"),
        (len(decoded.relabelled), "given another label"),
        (len(decoded.kept), "kept as they are"),
        (added, "added"),
    )
    return ", ".join(f"{count:,} {shown(words)}" for count, words in counts if count)
