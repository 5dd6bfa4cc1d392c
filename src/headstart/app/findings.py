"""What `headstart data check` found, as images with a decision each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from headstart import store
from headstart.app.listing import Listed, Listing
from headstart.app.project import Project
from headstart.data.folders.decisions import Decision
from headstart.errors import DataError
from headstart.store.remedies import CACHED

_SHOWN = 200  # of each kind
_MEMBERS = 12  # images of one group that are shown
_TITLES = {
    "label": "Labels that look wrong",
    "classes": "The same image in different classes",
    "parts": "The same image in training and test",
    "copies": "Copies within a class",
    "unreadable": "Files that give no image",
    "odd": "Images that show hardly anything",
}


class _Suspect(BaseModel):
    name: str
    given: str
    suggested: str


class _Group(BaseModel):
    names: list[str]
    classes: list[str]
    across_classes: bool
    across_parts: bool


class _Bad(BaseModel):
    name: str
    reason: str


class Remark(BaseModel):
    """Of the check, as a page shows it."""

    severity: Literal["error", "warning", "note"]
    message: str
    advice: str = ""


class _Check(BaseModel):
    """What the app reads of check.json."""

    remarks: list[Remark]
    suspects: list[_Suspect] | None = None
    groups: list[_Group]
    bad: list[_Bad]
    odd_names: dict[str, list[str]] = {}


@dataclass(frozen=True, kw_only=True)
class FoundImage:
    """An image of a finding. decision: what was decided about it."""

    image: Listed
    decision: Decision | None
    said: str = ""

    @property
    def is_settled(self) -> bool:
        return self.decision is not None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding of a kind (a key of the titles). suggested: a class for its image, where there is one."""

    kind: str
    images: tuple[FoundImage, ...]
    suggested: str = ""

    @property
    def is_settled(self) -> bool:
        return any(image.is_settled for image in self.images)


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Of one kind. count: all of them, of which the first are listed."""

    kind: str
    title: str
    count: int
    findings: tuple[Finding, ...]

    @property
    def open(self) -> int:
        return sum(not finding.is_settled for finding in self.findings)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """remarks: of the check (severity, message, advice), errors first."""

    remarks: tuple[Remark, ...]
    kinds: tuple[Findings, ...]


def read_findings(project: Project) -> CheckResult | None:
    """The findings of a project's last check; None where it was not checked.

    Raises: StoreError for a damaged check.json."""
    path = project.folder / "check" / "check.json"
    if not path.exists():
        return None
    check = store.read_as(_Check, path, CACHED)
    listing, decisions = project.listing(), project.decisions()

    def with_decision(name: str, said: str = "") -> FoundImage | None:
        image = listing.by_name.get(name)
        if image is None:
            return None
        return FoundImage(image=image, decision=decision_of(project, image, decisions), said=said)

    kinds: dict[str, list[Finding]] = {kind: [] for kind in _TITLES}
    counts = dict.fromkeys(_TITLES, 0)

    def add(kind: str, images: Sequence[FoundImage | None], suggested: str = "") -> None:
        there = tuple(image for image in images if image is not None)
        counts[kind] += 1
        if there:
            kinds[kind].append(Finding(kind=kind, images=there, suggested=suggested))

    for kind, names_said, suggested in _listed(check):
        if len(kinds[kind]) < _SHOWN:
            add(kind, [with_decision(name, said) for name, said in names_said[:_MEMBERS]], suggested)
        else:
            counts[kind] += 1
    return CheckResult(
        remarks=tuple(check.remarks),
        kinds=tuple(
            Findings(kind=kind, title=_TITLES[kind], count=counts[kind], findings=tuple(kinds[kind]))
            for kind in _TITLES
            if counts[kind]
        ),
    )


def _listed(check: _Check) -> list[tuple[str, list[tuple[str, str]], str]]:
    """(kind, names with what is said of each, suggested class) of each finding of check.json."""
    findings: list[tuple[str, list[tuple[str, str]], str]] = []
    for suspect in check.suspects or ():
        said = f"called {suspect.given}, looks like {suspect.suggested}"
        findings.append(("label", [(suspect.name, said)], suspect.suggested))
    for group in check.groups:
        kind = "classes" if group.across_classes else "parts" if group.across_parts else "copies"
        findings.append((kind, list(zip(group.names, group.classes, strict=False)), ""))
    findings += [("unreadable", [(bad.name, bad.reason)], "") for bad in check.bad]
    findings += [("odd", [(name, what)], "") for what, names in check.odd_names.items() for name in names]
    return findings


def decision_of(project: Project, image: Listed, decisions: Mapping[str, Decision]) -> Decision | None:
    """What was decided about an image, wherever it lies."""
    if not decisions:
        return None
    try:
        return decisions.get(project.digest(image))
    except DataError:
        return None


def classes_of(listing: Listing, decisions: Mapping[str, Decision]) -> list[str]:
    """The classes that an image can be given."""
    return sorted({*listing.by_class, *(each.label for each in decisions.values() if each.label)})
