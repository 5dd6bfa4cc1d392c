"""The side that a user's images are stored at: as large as they are, as small as the room for them asks."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart import store
from headstart.data.duplicates import SMALL_PIXELS
from headstart.data.folders.contents import FileState
from headstart.data.folders.decode import DEFAULT_LIMITS, quiet_pillow
from headstart.data.folders.find import Source
from headstart.data.folders.rows import Gate, Job, decode_one
from headstart.data.folders.sniff import available_formats
from headstart.errors import StoreError
from headstart.runtime.cores import usable_cores
from headstart.types import Reading

SIDES = (224, 160, 128, 96, 64, 32)  # pixels that images may be stored at
MANY = 20_000  # images from which their storage is told before they are decoded
CACHE_SHARE = 0.25  # of the free disk: for the decoded images of a folder, where nobody says otherwise
_STORED_BYTES = 10**9  # of all images together, where no budget is given
_LOOKED_AT = 500  # files whose size is read, spread evenly
_TIMED = 64  # files that are decoded to see how long all will take


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How images are stored decoded: side in pixels, their number, what they take, and how long decoding
    takes here, estimated from some of them (0 where they are neither many nor made smaller). wanted_side: the
    one that more room would allow."""

    side: int
    wanted_side: int
    images: int
    bytes: int
    budget_bytes: int
    seconds: float

    def words(self, clock: str) -> str:
        """What is stored, in a sentence. clock: the seconds in words."""
        text = (
            f"{self.images:,} images are decoded at {self.side} px: {_in_words(self.bytes)} of disk "
            f"({_in_words(self.budget_bytes)} allowed), about {clock}"
        )
        if self.side == self.wanted_side:
            return text
        more = disk_bytes(self.images, self.wanted_side)
        return (
            f"{text}; at {self.wanted_side} px they would take {_in_words(more)}: --cache-gb "
            f"{_rounded_up(more / 1e9):g} allows it"
        )


def disk_bytes(images: int, side: int) -> int:
    """What decoded images take on disk: squares, and the small copies that duplicates are searched in."""
    return images * 3 * (side * side + SMALL_PIXELS * SMALL_PIXELS)


def _in_words(size: int) -> str:
    unit, name = next(
        (u, n) for u, n in ((10**9, "GB"), (10**6, "MB"), (1000, "kB")) if size >= u / 10 or u == 1000
    )
    return f"{size / unit:.1f} {name}"


def _rounded_up(gigabytes: float) -> float:
    """With one decimal, or for less than a gigabyte with two digits; never less than was given."""
    decimals = max(1, 1 - math.floor(math.log10(gigabytes)))
    power = 10.0**decimals
    return math.ceil(round(gigabytes * power, 6)) / power


def default_budget(images: int) -> int:
    """Bytes for the decoded images of a folder where nobody says otherwise: a quarter of the disk that is
    free; for fewer than MANY images a gigabyte of squares is enough."""
    folder = store.cache_folder()
    while not folder.exists():
        folder = folder.parent
    share = int(CACHE_SHARE * shutil.disk_usage(folder).free)
    return share if images >= MANY else min(share, _STORED_BYTES + disk_bytes(images, 0))


def fitting_side(sides: Sequence[int], count: int) -> int:
    """The largest side that most images have, at which `count` of them stay below a gigabyte.

    sides: the shorter sides of some images, in pixels."""
    room = _STORED_BYTES / (3 * max(count, 1))
    return next((side for side in SIDES if side <= _middle(sides) and side * side <= room), SIDES[-1])


def storage_of(
    source: Source, budget_bytes: int, *, most: int, longer: bool = False, side: int | None = None
) -> Storage:
    """The largest side up to `most` that most images have, at which all of them fit into the budget.

    longer: the longer side of an image counts, for images that are padded. side: the one that an earlier run
    has chosen.
    Raises: StoreError where not even the smallest fits."""
    count = len(source.entries)
    wanted = next((s for s in SIDES if s <= min(most, _middle(_sides_of(source, longer)))), SIDES[-1])
    fitting = [s for s in SIDES if s <= wanted and disk_bytes(count, s) <= budget_bytes]
    chosen = side if side is not None else next(iter(fitting), None)
    if chosen is None:
        raise StoreError(
            f"{count:,} images take {_in_words(disk_bytes(count, SIDES[-1]))} when they are decoded at "
            f"{SIDES[-1]} px, and {_in_words(budget_bytes)} are allowed; allow more with --cache-gb, or "
            "set HEADSTART_CACHE to a larger disk"
        )
    return Storage(
        side=chosen,
        wanted_side=max(wanted, chosen),
        images=count,
        bytes=disk_bytes(count, chosen),
        budget_bytes=budget_bytes,
        seconds=_seconds(source, chosen) if count >= MANY or chosen < wanted else 0.0,
    )


def side_of(source: Source) -> int:
    """fitting_side of a source, from the headers of some of its files."""
    return fitting_side(_sides_of(source), len(source.entries))


def own_side(source: Source) -> int:
    """The side that most images have, of those that images may be stored at."""
    return next((side for side in SIDES if side <= _middle(_sides_of(source))), SIDES[-1])


def _middle(sides: Sequence[int]) -> float:
    return float(np.median(sides)) if len(sides) else 0.0


def _sides_of(source: Source, longer: bool = False) -> list[int]:
    """The sides of some images that can be read."""
    with quiet_pillow():
        sides = [_side(source.entries[place].path, longer) for place in _spread(source, _LOOKED_AT)]
    return [side for side in sides if side]


def _spread(source: Source, count: int) -> np.ndarray:
    """Positions of some entries, spread evenly."""
    total = len(source.entries)
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))


def _side(path: object, longer: bool) -> int:
    from PIL import Image

    try:
        with Image.open(path, formats=available_formats()) as image:  # type: ignore[arg-type]
            return max(image.size) if longer else min(image.size)
    except Exception:  # damaged: the decoder will say why
        return 0


def _seconds(source: Source, side: int) -> float:
    """What decoding all images will take, from some of them one after another; the cores share it."""
    places = _spread(source, _TIMED)
    job = Job(image_pixels=side, limits=DEFAULT_LIMITS, reading=Reading())
    gate = Gate(DEFAULT_LIMITS.max_pixels)
    start = time.perf_counter()
    with quiet_pillow():
        for place in places:
            decode_one(0, source.entries[place], FileState(name=""), job, gate)
    return (time.perf_counter() - start) / len(places) * len(source.entries) / usable_cores()
