"""The result of a check of a user's own images: counts, duplicates, class names, files, remarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from headstart.data.folders.divide import Division
from headstart.data_quality.remark import Remark

SMALL_SIDE = 32  # pixels: images below it are enlarged for every model here


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
    them. small: images with a side below SMALL_SIDE. left_out: the first names of the files that were
    ignored, by reason. odd, odd_names: places and names of images that show nothing or hardly anything, by
    what is odd. suspects: None where they were not searched for; suspects_note says why, or how they were
    found."""

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
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    odd: dict[str, list[int]] = field(default_factory=dict)
    odd_names: dict[str, list[str]] = field(default_factory=dict)
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


def in_order(remarks: list[Remark]) -> tuple[Remark, ...]:
    """Errors first, then warnings, then notes."""
    order = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(remarks, key=lambda remark: order[remark.severity]))


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
                message=f"{len(suspects):,} images ({share:.1f} %) look like another class than their label",
                advice="look at them, surest first, and correct those that are wrong",
            )
        )
    return replace(inspection, suspects=suspects, suspects_note=note, remarks=in_order(remarks))
