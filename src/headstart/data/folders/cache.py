"""Decode images once, in parallel, into memory-mapped arrays in the cache; later only new or changed files.

    pictures/<digest of folder, size and decoder>/<state of the files>/
        squares.u8    uint8 (N, S, S, 3), row i is entry i; zeros where it cannot be read
        small.u8      uint8 (N, 32, 32, 3), the whole image squeezed: duplicates are searched in it, at any S
        facts.jsonl   a line for each finished row, in the order of finishing; kept after an interruption
        meta.json     written last
A file counts as changed when its size or modification time differs. When any has changed, a new state is made
beside the old one, copies the rows that are still valid, and the old one is removed.

Threads, not processes: Pillow releases Python's lock while it decodes and resizes, and one process shares
one limit on memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from headstart import store
from headstart.data.duplicates import SMALL_PIXELS
from headstart.data.folders.decode import (
    DEFAULT_LIMITS,
    DecodedImage,
    Limits,
    UnreadableError,
    available_formats,
    decode,
    quiet_pillow,
    square,
)
from headstart.data.folders.find import Entry, Source, printable
from headstart.errors import ConfigError
from headstart.runtime import progress
from headstart.runtime.cores import usable_cores

SCHEMA = 1  # raise it when the same file would give other pixels or facts
_BATCH = 256  # files between two writes
_STRIP_ROWS = 256  # of an image, hashed at once

_Row = tuple[int, "Facts", bytes, bytes]  # place, facts, square, small
_Write = Callable[[Iterable[_Row]], None]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the cache records about one file; the names of the fields are keys in facts.jsonl.

    reason: why it gives no image, None where it gives one. bytes, mtime_ns: of the file, -1 where there is
    none. width, height: pixels, upright. digest: SHA-256 of the upright RGB pixels at the size they were
    decoded at, equal for equal images whatever their files are called."""

    name: str
    bytes: int
    mtime_ns: int
    reason: str | None = None
    width: int = 0
    height: int = 0
    format: str = ""
    notes: tuple[str, ...] = ()
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class DecodedSource:
    """Every entry of a source, decoded.

    images: uint8 (N, S, S, 3). small: uint8 (N, 32, 32, 3), the whole image squeezed. Both are memory-mapped
    and read-only. key: SHA-256 of the files' names, sizes and times, and of how they were decoded.
    decoded_now: number of files that this call decoded.
    """

    source: Source
    images: NDArray[np.uint8]
    small: NDArray[np.uint8]
    facts: tuple[Facts, ...]
    key: str
    decoded_now: int

    @property
    def readable(self) -> NDArray[np.int64]:
        """Positions of the entries that gave an image, int64."""
        return np.array([place for place, fact in enumerate(self.facts) if fact.reason is None], np.int64)

    @property
    def bad(self) -> list[Facts]:
        """The files that gave no image."""
        return [fact for fact in self.facts if fact.reason is not None]


def decode_source(source: Source, image_pixels: int, limits: Limits = DEFAULT_LIMITS) -> DecodedSource:
    """Decode a source's images to (image_pixels, image_pixels), or read them from the cache.

    A file that gives no image is recorded with a reason; it is never an error.
    Raises: ConfigError for a size below 1; StoreError where the cache cannot be written or the disk is
    full."""
    if image_pixels < 1:
        raise ConfigError(f"image_pixels is {image_pixels}; it must be at least 1")
    size = SMALL_PIXELS * SMALL_PIXELS * 3 + image_pixels * image_pixels * 3
    decoder = [SCHEMA, PIL.__version__, available_formats(), asdict(limits)]
    home = (
        store.cache_folder()
        / "pictures"
        / store.digest([printable(str(source.root.resolve())), image_pixels, decoder])[:32]
    )
    states = [_state(entry) for entry in source.entries]
    key = store.digest([[fact.name, fact.bytes, fact.mtime_ns] for fact in states] + decoder + [image_pixels])
    folder = home / key[:16]
    decoded_now = 0
    with store.lock(home / "lock", f"the cache of {source.root}", wait_seconds=24 * 3600):
        if not _is_whole(folder, len(states), image_pixels):
            store.require_space(home, size * len(states), f"{len(states):,} decoded images")
            decoded_now = _fill(folder, source, states, image_pixels, limits)
        for other in home.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other, ignore_errors=True)
        facts = {place: fact for place, fact in _stored_facts(folder)}
    return DecodedSource(
        source=source,
        facts=tuple(facts[place] for place in range(len(states))),
        key=key,
        decoded_now=decoded_now,
        images=_rows(folder / "squares.u8", len(states), image_pixels),
        small=_rows(folder / "small.u8", len(states), SMALL_PIXELS),
    )


def _is_whole(folder: Path, count: int, image_pixels: int) -> bool:
    """Whether a state is finished and complete."""
    try:
        sizes = [(folder / name).stat().st_size for name in ("squares.u8", "small.u8")]
    except OSError:
        return False
    places = {place for place, _ in _stored_facts(folder)}
    return (
        (folder / "meta.json").exists()
        and sizes == [count * side**2 * 3 for side in (image_pixels, SMALL_PIXELS)]
        and places == set(range(count))
    )


def _rows(path: Path, count: int, side: int) -> NDArray[np.uint8]:
    return np.memmap(path, np.uint8, "r", shape=(count, side, side, 3))


def _state(entry: Entry) -> Facts:
    """The file's name, size and modification time alone."""
    try:
        facts = os.stat(entry.path)
        return Facts(name=entry.name, bytes=facts.st_size, mtime_ns=facts.st_mtime_ns)
    except OSError:
        return Facts(name=entry.name, bytes=-1, mtime_ns=-1)


def _stored_facts(folder: Path) -> Iterator[tuple[int, Facts]]:
    try:
        lines = (folder / "facts.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            place, fact = json.loads(line)
        except ValueError:  # the line being written when the process was killed
            continue
        yield place, Facts(**fact | {"notes": tuple(fact["notes"])})


def _holds_row(folder: Path, place: int, sides: dict[str, int]) -> bool:
    """Whether each of a state's files is long enough for the row. sides: pixels, by file name."""
    try:
        return all(
            (folder / name).stat().st_size >= (place + 1) * side**2 * 3 for name, side in sides.items()
        )
    except OSError:
        return False


def _fill(folder: Path, source: Source, states: Sequence[Facts], image_pixels: int, limits: Limits) -> int:
    """Write every row, and meta.json last; return the number of files that were decoded."""
    folder.mkdir(parents=True, exist_ok=True)
    sides = {"squares.u8": image_pixels, "small.u8": SMALL_PIXELS}
    earlier = [
        *(other for other in sorted(folder.parent.iterdir()) if other != folder),
        folder,
    ]  # its own rows count most
    reusable = {
        (fact.name, fact.bytes, fact.mtime_ns): (other, place, fact)
        for other in earlier
        for place, fact in _stored_facts(other)
        if _holds_row(other, place, sides)
    }
    for name, side in sides.items():
        (folder / name).touch()
        os.truncate(folder / name, len(states) * side * side * 3)
    with (
        (folder / "squares.u8").open("r+b") as squares,
        (folder / "small.u8").open("r+b") as smalls,
        (folder / "facts.jsonl").open("a", encoding="utf-8") as record,
    ):
        record.write("\n")  # ends a line that was cut off

        def write(rows: Iterable[_Row]) -> None:
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

        missing, copied = [], []
        for place, state in enumerate(states):
            other, old_place, fact = reusable.get((state.name, state.bytes, state.mtime_ns), (None, 0, state))
            if other is None:
                missing.append(place)
            elif other != folder or old_place != place:
                copied.append((place, other, old_place, fact))
        _copy_rows(copied, sides, write)
        _decode_all(
            [(place, source.entries[place], states[place]) for place in missing],
            source,
            image_pixels,
            limits,
            write,
        )
    store.write_json(
        folder / "meta.json", {"schema": SCHEMA, "images": len(states), "image_pixels": image_pixels}
    )
    return len(missing)


def _copy_rows(copied: Sequence[tuple[int, Path, int, Facts]], sides: dict[str, int], write: _Write) -> None:
    """Copy rows of earlier states. copied: (row, folder of the state, row there, facts)."""

    def row(folder: Path, name: str, place: int) -> bytes:
        size = sides[name] ** 2 * 3
        with (folder / name).open("rb") as file:
            file.seek(place * size)
            return file.read(size)

    for start in range(0, len(copied), _BATCH):
        write(
            [
                (place, fact, row(other, "squares.u8", old_place), row(other, "small.u8", old_place))
                for place, other, old_place, fact in copied[start : start + _BATCH]
            ]
        )


def _decode_all(
    missing: Sequence[tuple[int, Entry, Facts]],
    source: Source,
    image_pixels: int,
    limits: Limits,
    write: _Write,
) -> None:
    """Decode the missing rows on all cores and write them, _BATCH at a time."""
    gate = _Gate(limits.max_pixels)

    def work(job: tuple[int, Entry, Facts]) -> _Row:
        return _decoded(*job, image_pixels, limits, gate)

    with quiet_pillow(), progress.track(f"decode {source.root.name}", len(missing), "images") as bar:
        pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
        try:
            for start in range(0, len(missing), _BATCH):
                rows = []
                for row in pool.map(work, missing[start : start + _BATCH]):
                    rows.append(row)
                    bar.advance()
                write(rows)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _decoded(place: int, entry: Entry, state: Facts, image_pixels: int, limits: Limits, gate: _Gate) -> _Row:
    with ExitStack() as reserved:  # the pixels count until they are freed, not only while they are decoded
        try:
            decoded = decode(entry.path, limits, lambda pixels: reserved.enter_context(gate.hold(pixels)))
        except UnreadableError as error:
            fact = Facts(name=state.name, bytes=state.bytes, mtime_ns=state.mtime_ns, reason=error.reason)
            return place, fact, bytes(image_pixels * image_pixels * 3), bytes(SMALL_PIXELS * SMALL_PIXELS * 3)
        return _row(place, state, decoded, image_pixels)


def _row(place: int, state: Facts, decoded: DecodedImage, image_pixels: int) -> _Row:
    image = decoded.image
    digest = hashlib.sha256(json.dumps(image.size).encode())
    for top in range(0, image.height, _STRIP_ROWS):
        digest.update(image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height))).tobytes())
    fact = Facts(
        name=state.name,
        bytes=state.bytes,
        mtime_ns=state.mtime_ns,
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        notes=decoded.notes,
        digest=digest.hexdigest(),
    )
    small = image.resize((SMALL_PIXELS, SMALL_PIXELS), Image.Resampling.BICUBIC)
    return place, fact, square(image, image_pixels).tobytes(), small.tobytes()


class _Gate:
    """Limit the pixels of all images that are being decoded at the same time."""

    def __init__(self, pixels: int) -> None:
        self._free = self._limit = pixels
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        wanted = min(pixels, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()
