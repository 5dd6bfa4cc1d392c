"""The side that a user's images are stored at: as large as they are, as small as memory asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.folders.decode import quiet_pillow
from headstart.data.folders.find import Source
from headstart.data.folders.sniff import available_formats

SIDES = (224, 160, 128, 96, 64, 32)  # pixels that images may be stored at
_STORED_BYTES = 10**9  # of all images together
_LOOKED_AT = 500  # files whose size is read, spread evenly


def fitting_side(sides: Sequence[int], count: int) -> int:
    """The largest side that most images have, at which `count` of them stay below a gigabyte.

    sides: the shorter sides of some images, in pixels."""
    room = _STORED_BYTES / (3 * max(count, 1))
    middle = float(np.median(sides)) if len(sides) else 0.0
    return next((side for side in SIDES if side <= middle and side * side <= room), SIDES[-1])


def side_of(source: Source) -> int:
    """fitting_side of a source, from the headers of some of its files."""
    spread = np.linspace(0, len(source.entries) - 1, min(_LOOKED_AT, len(source.entries))).round().astype(int)
    with quiet_pillow():
        sides = [_shorter_side(source.entries[place].path) for place in np.unique(spread)]
    return fitting_side([side for side in sides if side], len(source.entries))


def _shorter_side(path: object) -> int:
    from PIL import Image

    try:
        with Image.open(path, formats=available_formats()) as image:  # type: ignore[arg-type]
            return min(image.size)
    except Exception:  # damaged: the decoder will say why
        return 0
