"""Inspect a user's own images before anything is trained on them, without any model."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data import duplicates
from headstart.data.folders.cache import DecodedSource
from headstart.data.folders.decisions import decisions_in_words
from headstart.data.folders.divide import Division, divide
from headstart.data.folders.near import near_pairs_of
from headstart.data.folders.rows import Facts
from headstart.data_quality.inspection import SMALL_SIDE, ClassCount, DuplicateGroup, Inspection, in_order
from headstart.data_quality.looks import look_remarks, looks_of
from headstart.data_quality.remark import Remark
from headstart.data_quality.remarks import remarks_on
from headstart.data_quality.series import find_series
from headstart.errors import DataError

_SPLITS = ("train", "val", "test")


def inspect(decoded: DecodedSource, *, alike: bool = False) -> Inspection:
    """Inspect images without any model. A split that is impossible becomes a remark, not an error.

    alike: images are alike by nature; only equal pixels count as copies."""
    source, places = decoded.source, decoded.readable
    division, problem = _division(decoded, alike)
    looks = looks_of(decoded)
    split_of = (
        {} if division is None else dict(zip(division.places.tolist(), division.splits.tolist(), strict=True))
    )
    good, bad, by_split = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for place, (entry, fact) in enumerate(zip(source.entries, decoded.facts, strict=True)):
        if place in decoded.excluded:
            continue
        (good if fact.reason is None else bad)[entry.label] += 1
        if fact.reason is None:
            by_split[entry.label, entry.split or split_of.get(place, "")] += 1
    facts = [decoded.facts[place] for place in places]
    inspection = Inspection(
        path=str(source.root),
        form=source.form,
        files=len(decoded.facts),
        readable=len(places),
        bad=tuple((fact.name, fact.reason or "") for fact in decoded.bad),
        ignored=source.ignored,
        classes=tuple(
            ClassCount(
                name=name,
                images=good[name],
                unreadable=bad[name],
                **{split: by_split[name, split] for split in _SPLITS},
            )
            for name in source.class_names
        ),
        parts={split: sum(by_split[name, split] for name in source.class_names) for split in _SPLITS},
        parts_given=source.has_splits,
        sizes=_sizes(facts),
        formats=dict(Counter(fact.format for fact in facts).most_common()),
        notes=dict(Counter(note for fact in facts for note in fact.notes).most_common()),
        small=sum(min(fact.width, fact.height) < SMALL_SIDE for fact in facts),
        groups=_duplicate_groups(decoded, places, alike),
        mixed_names=tuple(
            {"spellings": dict(mixed.spellings), "merged": mixed.merged} for mixed in source.mixed_names
        ),
        remarks=(),
        left_out=source.left_out,
        odd=(odd := looks.odd_places()),
        odd_names={what: [decoded.facts[at].name for at in every] for what, every in odd.items()},
        division=division,
    )
    series = None if any(entry.group for entry in source.entries) else find_series(decoded)
    remarks = [*remarks_on(inspection, problem, series), *look_remarks(decoded, looks)]
    remarks += [Remark(**asdict(note)) for note in source.notes]
    if words := decisions_in_words(decoded):
        remarks.append(Remark(severity="note", code="decisions", message=f"images decided on: {words}"))
    return replace(inspection, remarks=in_order(remarks))


def _division(decoded: DecodedSource, alike: bool) -> tuple[Division | None, str]:
    """The split of the images, or None and why there is none."""
    try:
        return divide(decoded, near=not alike), ""
    except DataError as error:
        return None, str(error)


def _duplicate_groups(
    decoded: DecodedSource, places: NDArray[np.int64], alike: bool
) -> tuple[DuplicateGroup, ...]:
    """Groups of equal pixels, then groups of near duplicates that are not all equal."""
    entries = decoded.source.entries
    digests = [decoded.facts[place].digest for place in places]

    def group(kind: Literal["exact", "near"], members: NDArray[np.int64]) -> DuplicateGroup:
        group_places = places[members].tolist()
        return DuplicateGroup(
            kind=kind,
            places=tuple(group_places),
            names=tuple(entries[place].name for place in group_places),
            classes=tuple(entries[place].label for place in group_places),
            parts=tuple(entries[place].split or "" for place in group_places),
        )

    groups = [group("exact", members) for members in duplicates.exact_groups(digests)]
    if alike:
        return _undecided(groups, decoded)
    near = duplicates.components(near_pairs_of(decoded, places), len(places))
    for members in duplicates.exact_groups([str(unit) for unit in near.tolist()]):
        if len({digests[member] for member in members}) > 1:
            groups.append(group("near", members))
    return _undecided(groups, decoded)


def _undecided(groups: list[DuplicateGroup], decoded: DecodedSource) -> tuple[DuplicateGroup, ...]:
    """The groups without those whose every image somebody decided to keep."""
    return tuple(group for group in groups if not decoded.kept.issuperset(group.places))


def _sizes(facts: list[Facts]) -> dict[str, tuple[int, int]]:
    """Widths and heights in pixels: smallest, median, largest."""
    if not facts:
        return {}
    sides = np.array([[fact.width, fact.height] for fact in facts])
    return {
        name: (int(w), int(h))
        for name, (w, h) in zip(
            ("smallest", "median", "largest"), np.quantile(sides, (0, 0.5, 1), axis=0), strict=True
        )
    }
