"""Inspect a user's own images before anything is trained on them: counts, duplicates, class names, files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headstart.data import duplicates
from headstart.data.folders.cache import DecodedSource
from headstart.data.folders.divide import Division, divide
from headstart.data.folders.rows import Facts
from headstart.errors import DataError

FEW_IMAGES = 20  # of a class with fewer, a fifth for testing is four: too few for an accuracy
IMBALANCE = 5.0  # largest class over smallest, from which plain accuracy misleads
SMALL_SIDE = 32  # pixels: images below it are enlarged for every model here

Severity = Literal["error", "warning", "note"]
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One observation. code: for programs. advice: what to do, empty where nothing needs doing."""

    severity: Severity
    code: str
    message: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """Readable images of a class, in all and by split. unreadable: files of it that give no image."""

    name: str
    images: int
    train: int
    val: int
    test: int
    unreadable: int


@dataclass(frozen=True, kw_only=True)
class DuplicateGroup:
    """Images that show the same: names, classes, parts (their splits) and places in the same order.

    kind: "exact" (equal pixels) or "near"."""

    kind: Literal["exact", "near"]
    names: tuple[str, ...]
    classes: tuple[str, ...]
    parts: tuple[str, ...]
    places: tuple[int, ...]

    @property
    def across_parts(self) -> bool:
        """Whether they stand in more than one split."""
        return len(set(self.parts)) > 1

    @property
    def across_classes(self) -> bool:
        """Whether they carry different labels."""
        return len(set(self.classes)) > 1


@dataclass(frozen=True, kw_only=True)
class LabelSuspect:
    """An image whose label is probably wrong.

    Probabilities: 0..1, from a probe that was fitted without the image."""

    name: str
    place: int
    given: str
    suggested: str
    given_probability: float
    suggested_probability: float


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """The result of `headstart data check`; the names of the fields are keys in check.json.

    bad: (name, reason) of the files that give no image. parts: images by split; parts_given: the splits are
    the user's own. sizes: widths and heights in pixels by quantile. notes: files by what decoding did to
    them. small: images with a side below SMALL_SIDE. suspects: None where they were not searched for;
    suspects_note says why, or how they were found."""

    path: str
    form: str
    files: int
    readable: int
    bad: tuple[tuple[str, str], ...]
    ignored: dict[str, int]
    classes: tuple[ClassCount, ...]
    parts: dict[str, int]
    parts_given: bool
    sizes: dict[str, tuple[int, int]]
    formats: dict[str, int]
    notes: dict[str, int]
    small: int
    groups: tuple[DuplicateGroup, ...]
    mixed_names: tuple[dict[str, Any], ...]
    remarks: tuple[Remark, ...]
    suspects: tuple[LabelSuspect, ...] | None = None
    suspects_note: str = ""
    division: Division | None = field(default=None, compare=False)

    def json(self) -> dict[str, Any]:
        """The content of check.json."""
        value = asdict(replace(self, division=None))
        del value["division"]
        value["bad"] = [{"name": name, "reason": reason} for name, reason in self.bad]
        value["groups"] = [
            asdict(group) | {"across_parts": group.across_parts, "across_classes": group.across_classes}
            for group in self.groups
        ]
        return {"schema": 1, **value}


def inspect(decoded: DecodedSource) -> Inspection:
    """Inspect images without any model. A split that is impossible becomes a remark, not an error."""
    source, places = decoded.source, decoded.readable
    division, problem = _division(decoded)
    split_of = (
        {} if division is None else dict(zip(division.places.tolist(), division.splits.tolist(), strict=True))
    )
    good, bad, by_split = Counter[str](), Counter[str](), Counter[tuple[str, str]]()
    for place, (entry, fact) in enumerate(zip(source.entries, decoded.facts, strict=True)):
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
        groups=_duplicate_groups(decoded, places),
        mixed_names=tuple(
            {"spellings": dict(mixed.spellings), "merged": mixed.merged} for mixed in source.mixed_names
        ),
        remarks=(),
        division=division,
    )
    return replace(inspection, remarks=tuple(_remarks(inspection, problem)))


def _division(decoded: DecodedSource) -> tuple[Division | None, str]:
    """The split of the images, or None and why there is none."""
    try:
        return divide(decoded), ""
    except DataError as error:
        return None, str(error)


def _duplicate_groups(decoded: DecodedSource, places: NDArray[np.int64]) -> tuple[DuplicateGroup, ...]:
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

    near = duplicates.components(duplicates.near_duplicates(decoded.small[places]), len(places))
    groups = [group("exact", members) for members in duplicates.exact_groups(digests)]
    for members in duplicates.exact_groups([str(unit) for unit in near.tolist()]):
        if len({digests[member] for member in members}) > 1:
            groups.append(group("near", members))
    return tuple(groups)


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


def _remarks(inspection: Inspection, problem: str) -> Iterator[Remark]:
    """Remarks on the inspection; problem: why the images cannot be split, empty where they can."""
    if problem:
        yield Remark(severity="error", code="no-split", message=problem)
    if inspection.bad:
        percent = 100 * len(inspection.bad) / inspection.files
        yield Remark(
            severity="warning",
            code="unreadable",
            message=f"{_files(len(inspection.bad))} of {inspection.files:,} ({percent:.1f} %) give no "
            "picture",
            advice="mend or remove them; they are left out until then",
        )
    yield from _duplicate_remarks(inspection, "exact", "the same pixels")
    yield from _duplicate_remarks(inspection, "near", "nearly the same pixels")
    yield from _class_remarks(inspection)
    yield from _file_remarks(inspection)


def _duplicate_remarks(inspection: Inspection, kind: str, words: str) -> Iterator[Remark]:
    groups = [group for group in inspection.groups if group.kind == kind]
    if not groups:
        return
    keep_apart = "they stay on one side of the split; keep one of each where that is enough"
    yield Remark(
        severity="warning" if inspection.parts_given else "note",
        code=f"{kind}-duplicates",
        message=f"{len(groups):,} groups of files have {words} ({sum(len(g.names) for g in groups):,} files)",
        advice="" if inspection.parts_given else keep_apart,
    )
    if count := sum(group.across_parts for group in groups):
        yield Remark(
            severity="error",
            code=f"{kind}-duplicates-across-splits",
            message=f"{count:,} groups of files with {words} stand in more than one of train, val and test",
            advice="remove them from one side: the test then measures memory, not learning",
        )
    if count := sum(group.across_classes for group in groups):
        yield Remark(
            severity="error",
            code=f"{kind}-duplicates-across-classes",
            message=f"{count:,} groups of files with {words} carry different labels",
            advice="decide on one label for each",
        )


def _class_remarks(inspection: Inspection) -> Iterator[Remark]:
    """Remarks on the sizes and the names of classes."""
    if few := [row.name for row in inspection.classes if row.images < FEW_IMAGES]:
        yield Remark(
            severity="warning",
            code="few-images",
            message=f"{_names(few)}: fewer than {FEW_IMAGES} images",
            advice="collect more, or join classes; their accuracy cannot be told from so few",
        )
    sizes = [row.images for row in inspection.classes if row.images]
    if sizes and max(sizes) >= IMBALANCE * min(sizes):
        yield Remark(
            severity="warning",
            code="imbalance",
            message=f"the largest class has {max(sizes) / min(sizes):.1f} times the images of the smallest",
            advice="look at balanced accuracy and macro-F1, not at accuracy alone",
        )
    for mixed in inspection.mixed_names:
        # Spellings that differ in Unicode form look the same: their code points tell them apart.
        spelled = ascii if mixed["merged"] else repr
        names = ", ".join(f"{spelled(name)} ({count:,})" for name, count in mixed["spellings"].items())
        difference = (
            "differ in Unicode form or spaces only and are read as one class"
            if mixed["merged"]
            else "differ in case or punctuation only and are read as separate classes"
        )
        yield Remark(
            severity="warning",
            code="mixed-names",
            message=f"class names {names} {difference}",
            advice="rename them to one spelling",
        )


def _file_remarks(inspection: Inspection) -> Iterator[Remark]:
    """Remarks on what decoding did, and on files that were left out."""
    if count := inspection.notes.get("first of several frames"):
        yield Remark(
            severity="note",
            code="animations",
            message=f"{_files(count)} with several frames: the first one is used",
        )
    if inspection.small:
        yield Remark(
            severity="note",
            code="small-images",
            message=f"{inspection.small:,} pictures have a side below {SMALL_SIDE} pixels and are enlarged",
        )
    if inspection.ignored:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(inspection.ignored.items()))
        yield Remark(
            severity="note",
            code="ignored",
            message=f"{_files(sum(inspection.ignored.values()))} ignored: {reasons}",
        )


def with_suspects(inspection: Inspection, suspects: tuple[LabelSuspect, ...] | None, note: str) -> Inspection:
    """Add suspected label errors to an inspection; None: not searched for, `note` says why."""
    remarks = list(inspection.remarks)
    if suspects is None:
        remarks.append(
            Remark(
                severity="note",
                code="label-errors-skipped",
                message=f"label errors were not looked for: {note}",
            )
        )
    elif suspects:
        share = 100 * len(suspects) / max(inspection.readable, 1)
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
        inspection,
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
