"""A folder that is sorted by a model: the rows of `headstart predict --csv`, least certain first."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, TypeAdapter

from headstart import store
from headstart.app.drops import class_named
from headstart.app.jobs import Job
from headstart.data.folders.find import canonical
from headstart.errors import DataError, StoreError
from headstart.runtime.show import printable, shown
from headstart.store.names import is_name
from headstart.store.reading import parse_json

CORRECTIONS, EARLIER = "corrections.jsonl", "earlier.json"
Decisions = Mapping[str, tuple[str, str]]  # path of an image -> its class, and the copy that was made
TOP = 3
_MOST_BYTES = 500_000_000  # of the rows: a million images take a fifth of it
_Number = Annotated[int, Field(ge=0)]
_Text = Annotated[str, Field(max_length=1000)]
_Line = tuple[int, str] | tuple[int, str, str] | tuple[int, str, str, str]
_CORRECTION: TypeAdapter[_Line] = TypeAdapter(
    tuple[_Number, _Text] | tuple[_Number, _Text, _Text] | tuple[_Number, _Text, _Text, _Text]
)
_ESCAPED = re.compile(rb"\\x([89a-f][0-9a-f])")
_NAME_BYTES = 240  # of a file's name, which with a number before it may have 255
_CONSIDERED = 20  # times as many images as are to be labelled


class _Earlier(BaseModel):
    """earlier.json: what was decided when the folder was sorted before."""

    decisions: dict[str, tuple[_Text, _Text]]


@dataclass(frozen=True)
class Sorted:
    """An image with what the model says: (class, probability), likeliest first. number: its row."""

    number: int
    path: str
    said: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        return self.said[0][0]

    @property
    def margin(self) -> float:
        """Between the two likeliest classes: 0 is least certain."""
        return self.said[0][1] - (self.said[1][1] if len(self.said) > 1 else 0.0)


class Sorting:
    """The rows that a job has written so far, and the corrections made to them. copies: of a row, the copy
    that its correction made, as CLASS/NAME. strays: of a row, a copy that was begun or is to go."""

    def __init__(self, job: Job) -> None:
        if len(job.command) < 3:
            raise DataError(f"{job.folder / 'job.json'} names no folder; sort the folder again")
        self.job = job
        self.source = Path(job.command[2])
        self.rows = _rows(job.folder / "out.txt")
        earlier = _earlier(job.folder / EARLIER)
        self._earlier = {
            row.number: earlier[key] for row in self.rows if (key := printable(row.path)) in earlier
        }
        self._read_corrections()

    def row(self, number: int) -> Sorted:
        """Raises: DataError where there is no such row."""
        if not 0 <= number < len(self.rows):
            raise DataError("there is no such image; reload the page")
        return self.rows[number]

    def least_certain(self, *, corrected: bool = True) -> list[Sorted]:
        """The rows, the smallest margin first. corrected: with those that somebody has looked at."""
        rows = self.rows if corrected else [row for row in self.rows if row.number not in self.corrections]
        return sorted(rows, key=lambda row: (row.margin, row.number))

    def label_next(self, count: int) -> list[Sorted]:
        """The images whose labels would say most: least certain, spread over the pairs of classes that are
        confused, so that they are not all of one kind."""
        pools: dict[tuple[str, ...], list[Sorted]] = defaultdict(list)
        for row in self.least_certain(corrected=False)[: _CONSIDERED * count]:
            pools[tuple(sorted(name for name, _ in row.said[:2]))].append(row)
        chosen: list[Sorted] = []
        while len(chosen) < count and any(pools.values()):
            for pool in pools.values():
                if pool and len(chosen) < count:
                    chosen.append(pool.pop(0))
        return chosen

    def label(self, row: Sorted) -> str:
        """What was decided, else what the model says."""
        return self.corrections.get(row.number, row.label)

    def correct(self, number: int, label: str, copy: str = "", stray: str = "") -> None:
        """Note what an image shows; empty: as before. copy: the file that was made for it, as CLASS/NAME.
        stray: another one, which may be there while the decision is carried out.

        Raises: ConfigError, DataError; StoreError where the disk takes nothing."""
        label = decided_class(label)
        self.row(number)
        line = [number, label, copy, stray] if stray else [number, label, copy] if copy else [number, label]
        _append(self.job.folder / CORRECTIONS, json.dumps(line))
        self._read_corrections()

    def decisions(self) -> Decisions:
        """What was decided, for another sorting of the same folder (`write_earlier`)."""
        rows = (self.rows[number] for number in self.corrections if number < len(self.rows))
        return {
            printable(row.path): (self.corrections[row.number], self.copies.get(row.number, ""))
            for row in rows
        }

    def _read_corrections(self) -> None:
        read = _corrections(self.job.folder / CORRECTIONS, self._earlier)
        self.corrections, self.copies, self.strays = read

    def table(self) -> Iterator[str]:
        """The rows as CSV: path, class, probability, whether somebody decided."""
        yield store.csv_line(["path", "class", "probability", "decided"])
        for row in self.rows:
            decided = row.number in self.corrections
            yield store.csv_line(
                [
                    store.as_cell(printable(row.path)),
                    store.as_cell(self.label(row)),
                    f"{row.said[0][1]:.6f}",
                    "yes" if decided else "",
                ]
            )

    def link(self, folder: Path) -> int:
        """Links to the images, sorted into folders by class; how many. Raises: DataError for a class that can
        name no folder; StoreError where something else is in the way."""
        links = self._links(folder)
        homes = {link.parent for link in links}
        _require_free(folder, homes, links)
        with store.disk_errors(folder):
            for link, path in links.items():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(path)
            for home in homes:
                for old in home.iterdir():
                    if old.is_symlink() and old not in links:
                        old.unlink()
        return len(links)

    def _links(self, folder: Path) -> dict[Path, str]:
        """A link for every row, each of another name, and where it leads."""
        links: dict[Path, str] = {}
        for row in self.rows:
            label, name = self.label(row), Path(row.path).name
            if not is_name(label):
                raise DataError(f"class {label!r} can name no folder; rename it")
            while folder / label / name in links:
                name = _numbered(row.number, name)
            links[folder / label / name] = os.path.abspath(row.path)
        return links


def _numbered(number: int, name: str) -> str:
    """A name with a number before it, its start left out where it would be too long for a file system."""
    return f"{number}-{os.fsdecode(os.fsencode(name)[-_NAME_BYTES:])}"


def decided_class(text: str) -> str:
    """The name of a class as its folder has it; empty stays empty. Raises: ConfigError for no such name."""
    return class_named(text) if canonical(text) else ""


def page_of(rows: Sequence[Sorted], number: int, size: int) -> tuple[Sequence[Sorted], int]:
    """One page of rows, and how many pages there are."""
    return rows[number * size : (number + 1) * size], max(1, -(-len(rows) // size))


def _rows(path: Path) -> list[Sorted]:
    """The complete rows of a CSV that may still be written."""
    if not path.exists():
        return []
    text = store.read_bytes(path, _MOST_BYTES).decode(errors="replace")
    complete = text[: text.rfind("\n") + 1]
    try:
        rows = csv.reader(io.StringIO(complete))
        next(rows, None)
        return list(_read(rows))
    except csv.Error as error:
        raise DataError(f"{path} is no table ({error}); sort the folder again") from error


def _read(rows: Iterable[list[str]]) -> Iterator[Sorted]:
    for number, (path, *cells) in enumerate(row for row in rows if len(row) >= 3):
        pairs = zip(cells[::2], cells[1::2], strict=False)
        said = tuple((store.of_cell(name), _share(value)) for name, value in pairs)
        yield Sorted(number, _there(store.of_cell(path)), said)


def _there(path: str) -> str:
    r"""The path whose bytes that are no text stand as \xe9 and the like in the table."""
    if "\\x" not in path or os.path.lexists(path):
        return path
    content = _ESCAPED.sub(lambda escape: bytes.fromhex(escape[1].decode()), path.encode())
    return written if os.path.lexists(written := os.fsdecode(content)) else path


def _share(text: str) -> float:
    """A probability. Raises: DataError where it is none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise DataError(f"{shown(text[:40])} is no probability; sort the folder again")
    return value


def _require_free(folder: Path, homes: Iterable[Path], links: Iterable[Path]) -> None:
    """Raises: StoreError where a file stands in place of a folder, or what is no link in place of a link."""
    for home in (folder, *sorted(homes)):
        if os.path.lexists(home) and not home.is_dir():
            raise StoreError(f"{home} is no folder; move it away, then make the links again")
    for link in links:
        if os.path.lexists(link) and not link.is_symlink():
            raise StoreError(f"{link} is no link; move it away, then make the links again")


def _append(path: Path, line: str) -> None:
    """Write a line at the end; half a line that an earlier process left there stays one of its own.

    Raises: StoreError."""
    with store.disk_errors(path), path.open("ab+") as file:
        if end := file.seek(0, os.SEEK_END):
            file.seek(end - 1)
        is_whole = not end or file.read(1) == b"\n"
        file.write((b"" if is_whole else b"\n") + line.encode() + b"\n")


def write_earlier(folder: Path, decisions: Decisions) -> None:
    """Give a job that sorts a folder again what was decided before. folder: the job's. Raises: StoreError."""
    store.write_sealed(folder / EARLIER, {"decisions": dict(decisions)})


def _earlier(path: Path) -> Decisions:
    try:
        return store.read_as(_Earlier, path).decisions
    except StoreError:  # the folder was not sorted before
        return {}


def _corrections(
    path: Path, earlier: Mapping[int, tuple[str, str]]
) -> tuple[Mapping[int, str], Mapping[int, str], Mapping[int, str]]:
    """Of every row that was decided: its class; the copy that was made, where one was; the stray one.
    earlier: class and copy, where the file says nothing."""
    labels = {number: label for number, (label, _) in earlier.items()}
    copies = {number: copy for number, (_, copy) in earlier.items()}
    strays: dict[int, str] = {}
    try:
        lines = store.read_bytes(path, _MOST_BYTES).splitlines()
    except StoreError:
        lines = []
    for line in lines:
        try:
            number, label, *of_copies = _CORRECTION.validate_python(parse_json(line))
        except ValueError:  # being written when the process was killed, or damaged
            continue
        copy, stray = (*of_copies, "", "")[:2]
        labels[number], copies[number], strays[number] = label, copy, stray
    return _given(labels), _given({each: copies[each] for each in copies if labels[each]}), _given(strays)


def _given(texts: Mapping[int, str]) -> Mapping[int, str]:
    return {number: text for number, text in texts.items() if text}
