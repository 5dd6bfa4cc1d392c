"""Divide the readable images into train, val and test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders.cache import DecodedSource
from headstart.data.folders.decode import FIRST_OF_SEVERAL, NO_FILE
from headstart.data.folders.near import near_pairs_of
from headstart.data.grouped import TEST_FRACTION, hold_out, units_of
from headstart.errors import DataError
from headstart.runtime.show import shown

BadFiles = Literal["few", "skip", "refuse"]  # leave them out while they are few; always; never
BAD_FRACTION = 0.05  # "few": below this share of the files
_OF_PAGES = (
    ". All of them are the first of several pages or frames: where another one matters, save it as a file of "
    "its own"
)
_LISTED = 5  # bad files named in a message


@dataclass(frozen=True, kw_only=True)
class Division:
    """The split of each readable image.

    places: int64 (M,), positions in the DecodedSource, ordered by class and then by pixels, so that file
    names do not matter. labels: int64 (M,). splits: (M,) of "train", "val", "test". units: int64 (M,), equal
    for images that belong together: exact and near duplicates, the user's groups. is_own: the splits are the
    user's own (units may then stand in more than one of them).
    """

    places: NDArray[np.int64]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    units: NDArray[np.int64]
    class_names: tuple[str, ...]
    is_own: bool


def require_mostly_good(decoded: DecodedSource, bad_files: BadFiles = "few") -> None:
    """Refuse a source with too many files that give no image.

    Raises: DataError, naming the first of them."""
    bad, total = decoded.bad, len(decoded.facts)
    if not bad or bad_files == "skip" or (bad_files == "few" and len(bad) < BAD_FRACTION * total):
        return
    gone = decoded.source.form == "table" and any(fact.reason == NO_FILE for fact in bad)
    where = f" (paths start at the table's folder, {decoded.source.root.parent})" if gone else ""
    causes = by_reason([(fact.name, fact.reason or "") for fact in bad])
    named = shown("; ".join(causes[:_LISTED]))
    more = f"; and {len(causes) - _LISTED:,} more causes" if len(causes) > _LISTED else ""
    allowed = (
        "none may be bad (--strict)"
        if bad_files == "refuse"
        else f"only fewer than {100 * BAD_FRACTION:g} % are left out"
    )
    raise DataError(
        f"{len(bad):,} of {total:,} files in {decoded.source.root} give no image and {allowed}: "
        f"{named}{more}{where}; mend or remove them, or pass --skip-bad"
    )


def by_reason(bad: Sequence[tuple[str, str]]) -> list[str]:
    """Files that give no image, (name, reason) each, a line for each reason, the most frequent first."""
    named: dict[str, list[str]] = {}
    for name, reason in bad:
        named.setdefault(reason, []).append(name)
    return [
        f"{', '.join(names[:2])}{f' and {len(names) - 2:,} more' if len(names) > 2 else ''}: {reason}"
        for reason, names in sorted(named.items(), key=lambda item: -len(item[1]))
    ]


def divide(decoded: DecodedSource, *, fraction: float = TEST_FRACTION, near: bool = True) -> Division:
    """Split the images: as the folders or the table say, else hold out `fraction` of each class for testing.

    Pixels, labels and groups alone decide; file names do not. near: near duplicates (bursts) stay on one
    side. fraction: 0 holds out nothing.
    Raises: DataError where a class cannot be both trained on and tested."""
    source, places = decoded.source, decoded.readable
    entries = [source.entries[place] for place in places]
    number = {name: label for label, name in enumerate(source.class_names)}
    labels = np.array([number[entry.label] for entry in entries], np.int64)
    digests = [decoded.facts[place].digest for place in places]
    order = np.array(sorted(range(len(places)), key=lambda i: (labels[i], digests[i])), np.int64)
    places, labels, digests = places[order], labels[order], [digests[i] for i in order]
    entries = [entries[i] for i in order]
    pairs = near_pairs_of(decoded, places) if near else np.zeros((0, 2), np.int64)
    units = units_of(pairs, digests, [entry.group for entry in entries])
    if source.has_splits:
        splits = np.array([entry.split for entry in entries], np.str_)
    elif fraction:
        splits = np.where(hold_out(labels, units, digests, fraction), "test", "train").astype(np.str_)
    else:
        splits = np.full(len(labels), "train")
    division = Division(
        places=places,
        labels=labels,
        splits=splits,
        units=units,
        class_names=source.class_names,
        is_own=source.has_splits,
    )
    _require_every_class(division, decoded, fraction > 0)
    return division


def _require_every_class(division: Division, decoded: DecodedSource, tests: bool) -> None:
    held_out = division.splits != "train"
    for label, name in enumerate(division.class_names):
        in_class = division.labels == label
        if division.is_own:
            if not (in_class & ~held_out).any():
                raise DataError(
                    f"{decoded.source.root}: class {shown(name)!r} has no image in train"
                    f"{_meant(name, division, held_out)}; add some, or remove the class"
                )
            continue
        count = int(in_class.sum())
        distinct = len(np.unique(division.units[in_class]))
        if count < 2 or distinct < 2 or (tests and not (in_class & held_out).any()):
            files = sum(entry.label == name for entry in decoded.source.entries)
            readable = [decoded.facts[place] for place in division.places[in_class]]
            paged = bool(readable) and all(FIRST_OF_SEVERAL in fact.notes for fact in readable)
            words = _too_few(name, files, count, distinct) + (_OF_PAGES if paged and count > 1 else "")
            raise DataError(f"{decoded.source.root}: {words}")
    if division.is_own and not held_out.any():
        raise DataError(
            f"{decoded.source.root} has images for training only; add a folder test with the same classes"
        )


def _meant(name: str, division: Division, held_out: NDArray[np.bool_]) -> str:
    """Another class that the folder may have been meant for: one of nearly that name that train has."""
    trained = {division.class_names[label].casefold(): label for label in division.labels[~held_out]}
    near = get_close_matches(name.casefold(), trained, n=1, cutoff=0.7)
    if not near:
        return ""
    other = shown(division.class_names[trained[near[0]]])
    return f" (is it {other!r}? then give both one name)"


def _too_few(name: str, files: int, count: int, distinct: int) -> str:
    """Why a class of so many files, images and groups of them cannot be divided, and what to do."""
    if files and not count:
        return (
            f"class {shown(name)!r} has no image that can be read (of {files:,} "
            f"{'file' if files == 1 else 'files'}); mend them, or remove the class"
        )
    if count < 2:
        return (
            f"class {shown(name)!r} has {count} readable image{'' if count == 1 else 's'}; each class "
            "needs two at "
            f"least, one for testing: collect {2 - count} more (20 for an accuracy that says something), or "
            "remove the class"
        )
    return (
        f"class {shown(name)!r} has {count:,} readable images in {distinct} different groups (near "
        "duplicates and "
        "--group images count once); each class needs two at least, one for testing: collect others, or, "
        "where "
        "images are alike by nature (a fixed camera, digits, blank ones), pass --alike"
    )
