"""Decode images once, in parallel, into memory-mapped arrays in the cache; later only new or changed files.

    pictures/<digest of folder, size and decoder>/<state of the files>/
        squares.u8    uint8 (N, S, S, 3), row i is entry i; zeros where it cannot be read
        small.u8      uint8 (N, 32, 32, 3), the whole image squeezed: duplicates are searched in it, at any S
        facts.jsonl   a line for each finished row, in the order of finishing; kept after an interruption
        near.npz      int64 (P, 2), near duplicates among the readable rows, once they were searched
        meta.json     written last, with the SHA-256 of each chunk of pixels: a damaged one is decoded again
Content decides whether a file has changed (contents.py). When any has, a new state is made beside the old
one, copies the rows that are still valid, and the old one is removed.

Images of more than 8 bits are scaled alike. Their common range is known once all of them are decoded: rows
that were scaled by another one are decoded a second time.

Threads, not processes: Pillow releases Python's lock while it decodes and resizes, and one process shares
one limit on memory.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import PIL
from numpy.typing import NDArray
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from headstart import store
from headstart.data.duplicates import SMALL_PIXELS
from headstart.data.folders.contents import FileState, states_of
from headstart.data.folders.decode import (
    DEFAULT_LIMITS,
    Limits,
)
from headstart.data.folders.find import Source
from headstart.data.folders.rows import BATCH, Facts, Job, Row, Write, decode_all
from headstart.data.folders.sniff import available_formats
from headstart.data.folders.values import common_ranges, range_of
from headstart.errors import ConfigError, StoreError
from headstart.runtime import progress
from headstart.runtime.show import printable
from headstart.store.hashes import CheckedFile, ChunkedFile, damaged_chunks, look_at_chunks, require_checked
from headstart.types import DEFAULT_READING, Reading

_FACTS = TypeAdapter(tuple[Annotated[int, Field(ge=0)], Facts])  # a line of facts.jsonl
_READING = TypeAdapter(Reading)
SCHEMA = 3  # raise it when the same file would give other pixels or facts
NEAR = "near.npz"
_CHUNK_BYTES = 32 * 2**20  # of pixels, about


@dataclass(frozen=True, kw_only=True)
class DecodedSource:
    """Every entry of a source, decoded.

    images: uint8 (N, S, S, 3). small: uint8 (N, 32, 32, 3), the whole image squeezed. Both are memory-mapped
    and read-only. key: SHA-256 of the files' names and contents, and of how they were decoded. decoded_now:
    number of files that this call decoded. reading: how they were read, with the ranges that were found.
    folder: where they lie. excluded, kept, relabelled: positions that decisions are about (decisions.py); an
    excluded one is neither readable nor bad.
    """

    source: Source
    images: NDArray[np.uint8]
    small: NDArray[np.uint8]
    facts: tuple[Facts, ...]
    key: str
    decoded_now: int
    folder: Path
    reading: Reading = DEFAULT_READING
    excluded: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()
    relabelled: frozenset[int] = frozenset()

    @property
    def readable(self) -> NDArray[np.int64]:
        """Positions of the entries that gave an image, int64."""
        return np.array(
            [
                place
                for place, fact in enumerate(self.facts)
                if fact.reason is None and place not in self.excluded
            ],
            np.int64,
        )

    @property
    def bad(self) -> list[Facts]:
        """The files that gave no image."""
        return [
            fact
            for place, fact in enumerate(self.facts)
            if fact.reason is not None and place not in self.excluded
        ]


def decode_source(
    source: Source,
    image_pixels: int,
    limits: Limits = DEFAULT_LIMITS,
    reading: Reading = DEFAULT_READING,
) -> DecodedSource:
    """Decode a source's images to (image_pixels, image_pixels), or read them from the cache.

    reading: how they become square and which values are black and white; None in it: the common range of all
    files. A file that gives no image is recorded with a reason; it is never an error.
    Raises: ConfigError for a size below 1; StoreError where the cache cannot be written or the disk is
    full."""
    if image_pixels < 1:
        raise ConfigError(f"image_pixels is {image_pixels}; it must be at least 1")
    size = SMALL_PIXELS * SMALL_PIXELS * 3 + image_pixels * image_pixels * 3
    decoder = [SCHEMA, PIL.__version__, available_formats(), asdict(limits), asdict(reading)]
    home = store.cache_folder() / "pictures" / store.digest([*_place(source), image_pixels, decoder])[:32]
    decoded_now = 0
    with store.lock(home / "lock", f"the cache of {source.root}", wait_seconds=24 * 3600):
        stored_states = {
            fact.name: fact.state for other in _states_in(home) for _, fact in _stored_facts(other)
        }
        states = states_of(source.entries, stored_states, source.root.name, limits.max_bytes)
        key = store.digest([_identity(state) for state in states] + decoder + [image_pixels])
        folder = home / key[:16]
        if not _is_whole(folder, len(states), image_pixels):
            store.require_space(home, size * len(states), f"{len(states):,} decoded images")
            decoded_now = _fill(folder, source, states, image_pixels, limits, reading)
        for other in _states_in(home):
            if other != folder:
                shutil.rmtree(other, ignore_errors=True)
        facts = dict(_stored_facts(folder))
        _note_untouched(folder, states, facts)
        used = store.read_as(_Meta, folder / "meta.json").reading
    return DecodedSource(
        source=source,
        facts=tuple(facts[place] for place in range(len(states))),
        key=key,
        decoded_now=decoded_now,
        folder=folder,
        images=_rows(folder / "squares.u8", len(states), image_pixels),
        small=_rows(folder / "small.u8", len(states), SMALL_PIXELS),
        reading=used,
    )


def _place(source: Source) -> list[str]:
    """What names a source's folder in the cache: a sample never replaces the whole, nor the reverse."""
    return [printable(str(source.root.resolve())), *([source.part] if source.part else [])]


def reading_from(stored: object) -> Reading:
    """A Reading from JSON, where ranges are lists. Raises: ValueError where it is none."""
    reading = _READING.validate_python(stored)
    for name, given in (("integer_range", reading.integer_range), ("float_range", reading.float_range)):
        if given is not None and not -np.inf < given[0] <= given[1] < np.inf:
            raise ValueError(f"{name} is {list(given)}; its first number must not be the larger one")
    return reading


def _identity(state: FileState) -> list[Any]:
    return [state.name, state.content or [state.bytes, state.mtime_ns, state.ctime_ns]]


def _states_in(home: Path) -> list[Path]:
    return sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []


def _note_untouched(folder: Path, states: Sequence[FileState], facts: Mapping[int, Facts]) -> None:
    """Record where a file was touched but holds the same: it need not be hashed the next time."""
    changed = {
        place: replace(facts[place], **asdict(state))
        for place, state in enumerate(states)
        if facts[place].state != state
    }
    if changed:
        with (folder / "facts.jsonl").open("a", encoding="utf-8") as record:
            record.writelines(json.dumps([place, asdict(fact)]) + "\n" for place, fact in changed.items())


class _Meta(BaseModel):
    """meta.json. files: of squares.u8 and small.u8; one hash each, or None, in what older versions wrote."""

    reading: Reading
    files: dict[str, ChunkedFile | CheckedFile] | None = None


def _is_whole(folder: Path, count: int, image_pixels: int) -> bool:
    """Whether a state is finished and complete, its pixels as they were written; damage is announced, and its
    rows are decoded again."""
    sides = {"squares.u8": image_pixels, "small.u8": SMALL_PIXELS}
    try:
        sizes = [(folder / name).stat().st_size for name in sides]
    except OSError:
        return False
    if sizes != [count * side**2 * 3 for side in sides.values()]:
        return False
    if not (folder / "meta.json").exists():
        return False
    try:
        meta = store.read_as(_Meta, folder / "meta.json")
        damaged = _damaged_rows(folder, meta, sides)
    except StoreError as error:
        progress.say(f"{error}. These images are decoded again")
        for name in ("meta.json", "facts.jsonl", NEAR):  # without them no row counts as decoded
            (folder / name).unlink(missing_ok=True)
        return False
    if damaged:
        progress.say(f"{folder} is damaged: {len(damaged):,} of its images are decoded again")
        _forget_rows(folder, damaged)
        return False
    return {place for place, _ in _stored_facts(folder)} == set(range(count))


def _damaged_rows(folder: Path, meta: _Meta, sides: Mapping[str, int]) -> set[int]:
    """Rows in chunks that are not as they were written. Raises: DamagedError where no chunk can be named."""
    damaged = set[int]()
    for name, side in sides.items():
        stored = (meta.files or {}).get(name)
        if isinstance(stored, ChunkedFile):
            rows = stored.chunk_bytes // (side**2 * 3)
            for chunk in damaged_chunks(folder / name, stored):
                damaged.update(range(chunk * rows, min((chunk + 1) * rows, stored.bytes // (side**2 * 3))))
        elif stored is not None:
            require_checked(folder / name, stored)
    return damaged


def _forget_rows(folder: Path, rows: set[int]) -> None:
    """Makes rows count as not decoded."""
    facts = [(place, fact) for place, fact in _stored_facts(folder) if place not in rows]
    for name in ("meta.json", NEAR):
        (folder / name).unlink(missing_ok=True)
    lines = "".join(json.dumps([place, asdict(fact)]) + "\n" for place, fact in facts)
    store.write_bytes(folder / "facts.jsonl", lines.encode())


def _rows(path: Path, count: int, side: int) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r", shape=(count, side, side, 3))


def _stored_facts(folder: Path) -> Iterator[tuple[int, Facts]]:
    try:
        with (folder / "facts.jsonl").open("rb") as file:
            for line in file:
                with suppress(ValidationError):  # the line being written when the process was killed
                    yield _FACTS.validate_json(line)
    except OSError:
        return


def _holds_row(folder: Path, place: int, sides: dict[str, int]) -> bool:
    """Whether each of a state's files is long enough for the row. sides: pixels, by file name."""
    try:
        return all(
            (folder / name).stat().st_size >= (place + 1) * side**2 * 3 for name, side in sides.items()
        )
    except OSError:
        return False


def _fill(
    folder: Path,
    source: Source,
    states: Sequence[FileState],
    image_pixels: int,
    limits: Limits,
    reading: Reading,
) -> int:
    """Write every row, and meta.json last; return the number of files that were decoded."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = {"squares.u8": image_pixels, "small.u8": SMALL_PIXELS}
    missing, copied = _what_is_missing(folder, states, sides)
    for name, side in sides.items():
        (folder / name).touch()
        os.truncate(folder / name, len(states) * side * side * 3)
    with (
        (folder / "squares.u8").open("r+b") as squares,
        (folder / "small.u8").open("r+b") as smalls,
        (folder / "facts.jsonl").open("a", encoding="utf-8") as record,
    ):
        record.write("\n")  # ends a line that was cut off

        def write(rows: Iterable[Row]) -> None:
            lines = []
            for place, fact, square_bytes, small_bytes in rows:
                for file, content in ((squares, square_bytes), (smalls, small_bytes)):
                    file.seek(place * len(content))
                    file.write(content)
                lines.append(json.dumps([place, asdict(fact)]) + "\n")
            for file in (squares, smalls):
                file.flush()
                os.fsync(file.fileno())
            record.writelines(lines)
            record.flush()

        def decode_places(places: Sequence[int], reading: Reading) -> None:
            job = Job(image_pixels=image_pixels, limits=limits, reading=reading)
            jobs = [(place, source.entries[place], states[place]) for place in places]
            decode_all(jobs, source.root.name, job, write)

        _copy_rows(copied, sides, write)
        decode_places(missing, reading)
        facts = dict(_stored_facts(folder))
        reading = _with_ranges(reading, facts.values())
        decode_places(
            [place for place, fact in sorted(facts.items()) if _is_scaled_otherwise(fact, reading)], reading
        )
    meta = {"schema": SCHEMA, "images": len(states), "image_pixels": image_pixels}
    root = printable(str(source.root.resolve()))
    files = {
        name: look_at_chunks(folder / name, _chunk_bytes(side)).model_dump() for name, side in sides.items()
    }
    about = {**meta, "root": root, "reading": asdict(reading), "files": files}
    store.write_sealed(folder / "meta.json", about)
    return len(missing)


def _chunk_bytes(side: int) -> int:
    """Of a chunk of whole rows."""
    return max(1, _CHUNK_BYTES // (side**2 * 3)) * side**2 * 3


def _what_is_missing(
    folder: Path, states: Sequence[FileState], sides: dict[str, int]
) -> tuple[list[int], list[tuple[int, Path, int, Facts]]]:
    """The places to be decoded, and those to be copied: (place, folder, its place there, facts)."""
    earlier = [*(other for other in _states_in(folder.parent) if other != folder), folder]
    reusable: dict[str, tuple[Path, int, Facts]] = {}
    own: dict[int, str] = {}
    for other in earlier:  # its own rows count most
        for place, fact in _stored_facts(other):
            if fact.content and _holds_row(other, place, sides):
                reusable[fact.content] = (other, place, fact)
                if other == folder:
                    own[place] = fact.content
    missing, copied = [], []
    for place, state in enumerate(states):
        if state.content and own.get(place) == state.content:
            continue
        if state.content and state.content in reusable:
            other, old_place, fact = reusable[state.content]
            copied.append((place, other, old_place, replace(fact, **asdict(state))))
        else:
            missing.append(place)
    return missing, copied


def _with_ranges(reading: Reading, facts: Iterable[Facts]) -> Reading:
    """The reading with the common range of the files' values where it has none."""
    ranges = common_ranges(fact.values for fact in facts if fact.values is not None)
    return replace(
        reading,
        integer_range=reading.integer_range or ranges.get("integers"),
        float_range=reading.float_range or ranges.get("floats"),
    )


def _is_scaled_otherwise(fact: Facts, reading: Reading) -> bool:
    return fact.values is not None and fact.scaled != range_of(fact.values[0], fact.values[1:], reading)


def _copy_rows(copied: Sequence[tuple[int, Path, int, Facts]], sides: dict[str, int], write: Write) -> None:
    """Copy rows of earlier states. copied: (row, folder of the state, row there, facts)."""

    def row(folder: Path, name: str, place: int) -> bytes:
        size = sides[name] ** 2 * 3
        with (folder / name).open("rb") as file:
            file.seek(place * size)
            return file.read(size)

    for start in range(0, len(copied), BATCH):
        write(
            [
                (place, fact, row(other, "squares.u8", old_place), row(other, "small.u8", old_place))
                for place, other, old_place, fact in copied[start : start + BATCH]
            ]
        )
