"""One row of the cache of images: a file decoded to its pixels, with what is recorded about it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields

from PIL import Image

from headstart.data.duplicates import SMALL_PIXELS
from headstart.data.folders.contents import FileState
from headstart.data.folders.decode import (
    DecodedImage,
    Limits,
    UnreadableError,
    decode,
    quiet_pillow,
    square,
)
from headstart.data.folders.find import Entry
from headstart.data.folders.values import Kind, range_of
from headstart.runtime import progress
from headstart.runtime.cores import usable_cores
from headstart.types import Reading

BATCH = 256  # files between two writes
_STRIP_ROWS = 256  # of an image, hashed at once

Row = tuple[int, "Facts", bytes, bytes]  # place, facts, square, small
Write = Callable[[Iterable[Row]], None]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the cache records about one file; the names of the fields are keys in facts.jsonl.

    name, bytes, mtime_ns, ctime_ns, inode, content: as FileState. reason: why it gives no image, None where
    it gives one. width, height: pixels, upright. digest: SHA-256 of the upright RGB pixels at the size they
    were decoded at, equal for equal images whatever their files are called. values: kind, smallest and
    largest of numbers of more than 8 bits; scaled: which of them are black and white."""

    name: str
    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    content: str
    reason: str | None = None
    width: int = 0
    height: int = 0
    format: str = ""
    notes: tuple[str, ...] = ()
    digest: str = ""
    values: tuple[Kind, float, float] | None = None
    scaled: tuple[float, float] | None = None

    @property
    def state(self) -> FileState:
        """The file that this was read from."""
        return FileState(**{each.name: getattr(self, each.name) for each in fields(FileState)})


@dataclass(frozen=True, kw_only=True)
class Job:
    """How each of many files is decoded."""

    image_pixels: int
    limits: Limits
    reading: Reading


def decode_all(missing: Sequence[tuple[int, Entry, FileState]], name: str, job: Job, write: Write) -> None:
    """Decode the missing rows on all cores and write them, BATCH at a time. name: of the folder."""
    gate = Gate(job.limits.max_pixels)

    def work(one: tuple[int, Entry, FileState]) -> Row:
        return decode_one(*one, job, gate)

    with quiet_pillow(), progress.track(f"decode {name}", len(missing), "images") as bar:
        pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="decode")
        try:
            for start in range(0, len(missing), BATCH):
                rows = []
                for row in pool.map(work, missing[start : start + BATCH]):
                    rows.append(row)
                    bar.advance()
                write(rows)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def decode_one(place: int, entry: Entry, state: FileState, job: Job, gate: Gate) -> Row:
    with ExitStack() as reserved:  # the pixels count until they are freed, not only while they are decoded
        try:
            decoded = decode(
                entry.path,
                job.limits,
                lambda pixels: reserved.enter_context(gate.hold(pixels)),
                job.reading,
            )
        except UnreadableError as error:
            blank = [bytes(side * side * 3) for side in (job.image_pixels, SMALL_PIXELS)]
            return place, Facts(**asdict(state), reason=error.reason), blank[0], blank[1]
        return row_of(place, state, decoded, job)


def row_of(place: int, state: FileState, decoded: DecodedImage, job: Job) -> Row:
    image = decoded.image
    digest = hashlib.sha256(json.dumps(image.size).encode())
    for top in range(0, image.height, _STRIP_ROWS):
        digest.update(image.crop((0, top, image.width, min(top + _STRIP_ROWS, image.height))).tobytes())
    scaled = None
    if decoded.values is not None:
        scaled = range_of(decoded.values[0], decoded.values[1:], job.reading)
    fact = Facts(
        **asdict(state),
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        notes=decoded.notes,
        digest=digest.hexdigest(),
        values=decoded.values,
        scaled=scaled,
    )
    small = image.resize((SMALL_PIXELS, SMALL_PIXELS), Image.Resampling.BICUBIC)
    return place, fact, square(image, job.image_pixels, job.reading.fit).tobytes(), small.tobytes()


class Gate:
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
