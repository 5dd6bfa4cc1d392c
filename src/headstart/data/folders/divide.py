"""The pictures that can be read, divided into training, validation and test parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.cache import Pictures
from headstart.data.grouped import TEST_FRACTION, hold_out, units_of
from headstart.errors import DataError

BadFiles = Literal["few", "skip", "refuse"]  # skip them while they are few; always; never
BAD_FRACTION = 0.05  # "few": below this share of the files
_LISTED = 5


@dataclass(frozen=True, kw_only=True)
class Division:
    """Which readable picture is for what.

    places: int64 (M,), positions in Pictures, by class and then by pixels, so that names do not matter.
    labels: int64 (M,).
    parts: (M,) of "train", "val", "test". units: int64 (M,), what belongs together: near duplicates, copies,
    the user's groups. given: the parts are the user's own (then units may stand on both sides).
    """

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    parts: NDArray[np.str_]
    units: NDArray[np.int64]
    class_names: tuple[str, ...]
    given: bool


def require_mostly_good(pictures: Pictures, bad_files: BadFiles = "few") -> None:
    """Raises: DataError, naming the first of them, where files give no picture and are too many to leave
    out."""
    bad, total = pictures.bad, len(pictures.facts)
    if not bad or bad_files == "skip" or (bad_files == "few" and len(bad) < BAD_FRACTION * total):
        return
    named = "; ".join(f"{fact.name}: {fact.reason}" for fact in bad[:_LISTED])
    more = f"; and {len(bad) - _LISTED:,} more" if len(bad) > _LISTED else ""
    allowed = (
        "none may be bad (--strict)"
        if bad_files == "refuse"
        else f"at most {100 * BAD_FRACTION:g} % are left out"
    )
    raise DataError(
        f"{len(bad):,} of {total:,} files in {pictures.source.root} give no picture and {allowed}: "
        f"{named}{more}; "
        "mend or remove them, or pass --skip-bad"
    )


def divide(pictures: Pictures, *, fraction: float = TEST_FRACTION, near: bool = True) -> Division:
    """The division into parts: the user's own where the folders or the table say so, else `fraction` of each
    class for testing.

    Follows from pixels, labels and groups alone: renaming files changes nothing. near: near duplicates
    (bursts) stay on one side. Raises: DataError where a class cannot be both trained on and tested."""
    source, places = pictures.source, pictures.readable
    entries = [source.entries[place] for place in places]
    number = {name: label for label, name in enumerate(source.class_names)}
    labels = np.array([number[entry.label] for entry in entries], np.int64)
    digests = [pictures.facts[place].digest for place in places]
    order = np.array(sorted(range(len(places)), key=lambda i: (labels[i], digests[i])), np.int64)
    places, labels, digests = places[order], labels[order], [digests[i] for i in order]
    entries = [entries[i] for i in order]
    units = units_of(pictures.small[places], digests, [entry.group for entry in entries], near)
    if source.has_splits:
        parts = np.array([entry.split for entry in entries], np.str_)
    else:
        parts = np.where(hold_out(labels, units, digests, fraction), "test", "train").astype(np.str_)
    division = Division(
        places=places,
        labels=labels,
        parts=parts,
        units=units,
        class_names=source.class_names,
        given=source.has_splits,
    )
    _require_every_class(division, pictures)
    return division


def _require_every_class(division: Division, pictures: Pictures) -> None:
    held_out = division.parts != "train"
    for label, name in enumerate(division.class_names):
        mine = division.labels == label
        if division.given:
            if not (mine & ~held_out).any():
                raise DataError(
                    f"{pictures.source.root}: class {name!r} has no picture in train; add some, or remove "
                    "the class"
                )
            continue
        different = len(np.unique(division.units[mine]))
        if different < 2 or not (mine & held_out).any():
            raise DataError(
                f"{pictures.source.root}: class {name!r} has {mine.sum()} readable images in {different} "
                "different groups "
                "(near duplicates and --group pictures count once); each class needs two at least, one for "
                "testing"
            )
    if division.given and not held_out.any():
        raise DataError(
            f"{pictures.source.root} has pictures for training only; add a folder test with the same classes"
        )
