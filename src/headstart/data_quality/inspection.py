"""What there is to say about a folder of pictures before anything is trained on them: counts, copies, names,
files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data import duplicates
from headstart.data.folders.cache import Pictures
from headstart.data.folders.divide import Division, divide
from headstart.errors import DataError

FEW_IMAGES = 20  # a class with fewer: a fifth of them, four, tell nothing about its accuracy
IMBALANCE = 5.0  # largest class over smallest, from which plain accuracy misleads
SMALL_SIDE = 32  # pixels: pictures below it are enlarged for every model here

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One thing to know. code: for programs. advice: what to do, empty where nothing needs doing."""

    severity: Severity
    code: str
    message: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """Readable images of a class, by part; unreadable: files of it that give no picture."""

    name: str
    images: int
    train: int
    val: int
    test: int
    unreadable: int


@dataclass(frozen=True, kw_only=True)
class CopyGroup:
    """Pictures that are one: names, classes and parts in the same order. kind: "exact" (equal pixels) or
    "near"."""

    kind: Literal["exact", "near"]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    places: tuple[int, ...]

    @property
    def across_parts(self) -> bool:
        return len(set(self.parts)) > 1

    @property
    def across_classes(self) -> bool:
        return len(set(self.classes)) > 1


@dataclass(frozen=True, kw_only=True)
class LabelSuspect:
    """A picture whose label is probably wrong. Probabilities: 0..1, from a probe that never saw it."""

    name: str
    place: int
    given: str
    suggested: str
    given_probability: float
    suggested_probability: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Everything that `headstart data check` found. sizes: widths and heights in pixels by quantile. notes:
    what decoding did -> files. suspects: None where they were not looked for; suspects_note says why, or with
    what."""

    path: str
    form: str
    files: int
    readable: int
    bad: tuple[tuple[str, str], ...]  # name, reason
    ignored: dict[str, int]
    classes: tuple[ClassCount, ...]
    parts: dict[str, int]
    parts_given: bool
    sizes: dict[str, tuple[int, int]]
    formats: dict[str, int]
    notes: dict[str, int]
    small: int
    groups: tuple[CopyGroup, ...]
    mixed_names: tuple[dict[str, Any], ...]
    remarks: tuple[Remark, ...]
    suspects: tuple[LabelSuspect, ...] | None = None
    suspects_note: str = ""
    division: Division | None = field(default=None, compare=False)

    def json(self) -> dict[str, Any]:
        """The same for programs."""
        value = asdict(replace(self, division=None))
        del value["division"]
        value["bad"] = [{"name": name, "reason": reason} for name, reason in self.bad]
        value["groups"] = [
            asdict(group) | {"across_parts": group.across_parts, "across_classes": group.across_classes}
            for group in self.groups
        ]
        return {"schema": 1, **value}


def inspect(pictures: Pictures) -> Inspection:
    """What can be said without any model. A division that is impossible is a remark here, not an error."""
    source, places = pictures.source, pictures.readable
    division, problem = _division(pictures)
    part_of = (
        {} if division is None else dict(zip(division.places.tolist(), division.parts.tolist(), strict=True))
    )
    groups = _copies(pictures, places, lambda place: source.entries[place].split or "")
    good, bad, parts = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for place, (entry, fact) in enumerate(zip(source.entries, pictures.facts, strict=True)):
        (good if fact.reason is None else bad)[entry.label] += 1
        if fact.reason is None:
            parts[entry.label, entry.split or part_of.get(place, "")] += 1
    facts = [pictures.facts[place] for place in places]
    inspection = Inspection(
        path=str(source.root),
        form=source.form,
        files=len(pictures.facts),
        readable=len(places),
        bad=tuple((fact.name, fact.reason or "") for fact in pictures.bad),
        ignored=source.ignored,
        classes=tuple(
            ClassCount(
                name=name,
                images=good[name],
                unreadable=bad[name],
                **{part: parts[name, part] for part in ("train", "val", "test")},
            )
            for name in source.class_names
        ),
        parts={
            part: sum(parts[name, part] for name in source.class_names) for part in ("train", "val", "test")
        },
        parts_given=source.has_splits,
        sizes=_sizes(facts),
        formats=dict(Counter(fact.format for fact in facts).most_common()),
        notes=dict(Counter(note for fact in facts for note in fact.notes).most_common()),
        small=sum(min(fact.width, fact.height) < SMALL_SIDE for fact in facts),
        groups=groups,
        mixed_names=tuple(
            {"spellings": dict(mixed.spellings), "merged": mixed.merged} for mixed in source.mixed_names
        ),
        remarks=(),
        division=division,
    )
    return replace(inspection, remarks=tuple(_remarks(inspection, problem)))


def _division(pictures: Pictures) -> tuple[Division | None, str]:
    try:
        return divide(pictures), ""
    except DataError as error:
        return None, str(error)


def _copies(
    pictures: Pictures, places: NDArray[np.int64], part: Callable[[int], str]
) -> tuple[CopyGroup, ...]:
    """Groups of equal pixels, then groups of near duplicates; of these one picture an exact group, so none is
    told twice."""
    entries = pictures.source.entries
    digests = [pictures.facts[place].digest for place in places]

    def group(kind: Literal["exact", "near"], members: NDArray[np.int64]) -> CopyGroup:
        mine = places[members].tolist()
        return CopyGroup(
            kind=kind,
            places=tuple(mine),
            names=tuple(entries[i].name for i in mine),
            classes=tuple(entries[i].label for i in mine),
            parts=tuple(part(i) for i in mine),
        )

    exact = duplicates.exact_groups(digests)
    near = duplicates.components(duplicates.near_duplicates(pictures.small[places]), len(places))
    found = [group("exact", members) for members in exact]
    for members in duplicates.exact_groups([str(unit) for unit in near.tolist()]):
        if len({digests[member] for member in members}) > 1:
            found.append(group("near", members))
    return tuple(found)


def _sizes(facts: list[Any]) -> dict[str, tuple[int, int]]:
    if not facts:
        return {}
    sides = np.array([[fact.width, fact.height] for fact in facts])
    return {
        name: (int(w), int(h))
        for name, (w, h) in zip(
            ("smallest", "median", "largest"), np.quantile(sides, (0, 0.5, 1), axis=0), strict=True
        )
    }


def _remarks(found: Inspection, problem: str) -> list[Remark]:
    remarks = []

    def add(severity: Severity, code: str, message: str, advice: str = "") -> None:
        remarks.append(Remark(severity=severity, code=code, message=message, advice=advice))

    if problem:
        add("error", "no-split", problem)
    if found.bad:
        share = 100 * len(found.bad) / found.files
        add(
            "warning",
            "unreadable",
            f"{_files(len(found.bad))} of {found.files:,} ({share:.1f} %) give no picture",
            "mend or remove them; they are left out until then",
        )
    kinds = {kind: [g for g in found.groups if g.kind == kind] for kind in ("exact", "near")}
    for kind, words in (("exact", "the same pixels"), ("near", "nearly the same pixels")):
        groups = kinds[kind]
        if not groups:
            continue
        add(
            "note" if not found.parts_given else "warning",
            f"{kind}-duplicates",
            f"{len(groups):,} groups of files have {words} ({sum(len(g.names) for g in groups):,} files)",
            ""
            if found.parts_given
            else "they stay on one side of the split; keep one of each where that is enough",
        )
        if crossing := sum(g.across_parts for g in groups):
            add(
                "error",
                f"{kind}-duplicates-across-splits",
                f"{crossing:,} groups of files with {words} stand in more than one of train, val and test",
                "remove them from one side: the test then measures memory, not learning",
            )
        if torn := sum(g.across_classes for g in groups):
            add(
                "error",
                f"{kind}-duplicates-across-classes",
                f"{torn:,} groups of files with {words} carry different labels",
                "decide on one label for each",
            )
    if few := [c for c in found.classes if c.images < FEW_IMAGES]:
        add(
            "warning",
            "few-images",
            f"{_names([c.name for c in few])}: fewer than {FEW_IMAGES} images",
            "collect more, or join classes; their accuracy cannot be told from so few",
        )
    sizes = [c.images for c in found.classes if c.images]
    if sizes and max(sizes) >= IMBALANCE * min(sizes):
        add(
            "warning",
            "imbalance",
            f"the largest class has {max(sizes) / min(sizes):.1f} times the images of the smallest",
            "look at balanced accuracy and macro-F1, not at accuracy alone",
        )
    for mixed in found.mixed_names:
        # Spellings that differ in Unicode form look the same: their code points tell them apart.
        spelled = ascii if mixed["merged"] else repr
        names = ", ".join(f"{spelled(name)} ({count:,})" for name, count in mixed["spellings"].items())
        add(
            "warning",
            "mixed-names",
            f"class names {names} "
            + (
                "differ in Unicode form or spaces only and are read as one class"
                if mixed["merged"]
                else "differ in case or punctuation only and are read as separate classes"
            ),
            "rename them to one spelling",
        )
    if count := found.notes.get("first of several frames"):
        add("note", "animations", f"{_files(count)} with several frames: the first one is used")
    if found.small:
        add(
            "note",
            "small-images",
            f"{found.small:,} pictures have a side below {SMALL_SIDE} pixels and are enlarged",
        )
    if found.ignored:
        add(
            "note",
            "ignored",
            f"{_files(sum(found.ignored.values()))} ignored: "
            + ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.ignored.items())),
        )
    return remarks


def with_suspects(found: Inspection, suspects: tuple[LabelSuspect, ...] | None, note: str) -> Inspection:
    """The inspection with suspected label errors (None: not looked for, `note` says why)."""
    remarks = list(found.remarks)
    if suspects is None:
        remarks.append(
            Remark(
                severity="note",
                code="label-errors-skipped",
                message=f"label errors were not looked for: {note}",
            )
        )
    elif suspects:
        share = 100 * len(suspects) / max(found.readable, 1)
        remarks.append(
            Remark(
                severity="warning",
                code="label-errors",
                message=f"{len(suspects):,} pictures ({share:.1f} %) look like another class than their "
                "label",
                advice="look at them, surest first, and correct those that are wrong",
            )
        )
    order = {"error": 0, "warning": 1, "note": 2}
    return replace(
        found,
        suspects=suspects,
        suspects_note=note,
        remarks=tuple(sorted(remarks, key=lambda r: order[r.severity])),
    )


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"


def _names(names: list[str], shown: int = 6) -> str:
    return ", ".join(names[:shown]) + (
        f" and {len(names) - shown:,} more classes" if len(names) > shown else ""
    )
