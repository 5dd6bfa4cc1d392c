"""What a check remarks on: copies, classes, splits and files."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.data.folders import shown
from headstart.data.folders.decode import FIRST_OF_SEVERAL
from headstart.data.folders.layout import split_of
from headstart.data.folders.walk import ADVICE
from headstart.data_quality.inspection import SMALL_SIDE, Inspection
from headstart.data_quality.remark import Remark, images
from headstart.data_quality.series import Series

_ALIKE_SHARE = 0.1  # of the files: so many near copies may be a kind of image, not copies
FEW_IMAGES = 20  # of a class with fewer, a fifth for testing is four: too few for an accuracy
IMBALANCE = 5.0  # largest class over smallest, from which plain accuracy misleads


def remarks_on(inspection: Inspection, problem: str, series: Series | None) -> Iterator[Remark]:
    """Remarks on the inspection.

    problem: why the images cannot be split, empty where they can. series: found in the names, if any."""
    if problem:
        yield Remark(severity="error", code="no-split", message=problem)
    if inspection.bad:
        percent = 100 * len(inspection.bad) / inspection.files
        yield Remark(
            severity="warning",
            code="unreadable",
            message=f"{_files(len(inspection.bad))} of {inspection.files:,} ({percent:.1f} %) give no image",
            advice="mend or remove them; they are left out until then",
        )
    yield from _duplicate_remarks(inspection, "exact", "the same pixels")
    yield from _duplicate_remarks(inspection, "near", "nearly the same pixels")
    yield from _class_remarks(inspection)
    yield from _split_remarks(inspection)
    if series is not None:
        yield _series_remark(series)
    yield from _file_remarks(inspection)


def _split_remarks(inspection: Inspection) -> Iterator[Remark]:
    """Classes that a given split lacks; one that train lacks is why the images cannot be divided."""
    if not inspection.parts_given:
        return
    for split in ("val", "test"):
        lacking = [c.name for c in inspection.classes if not getattr(c, split) and c.train]
        if inspection.parts[split] and lacking:
            yield Remark(
                severity="warning",
                code="class-missing",
                message=f"{split} has no images of {_names(lacking)}: nothing is said of such a class there",
                advice=f"add some to {split}",
            )


def _series_remark(series: Series) -> Remark:
    return Remark(
        severity="warning",
        code="series",
        message=f"names look like series (frames, bursts, one object): {series.groups:,} groups of about "
        f"{series.median_size:,}, e.g. {shown(series.example)} ({series.example_size:,} images); "
        f"{100 * series.share:.0f} % of the images are most alike to one of their own group",
        advice=f"where that is so, keep them on one side of the split: --group-regex '{series.rule}'",
    )


def _duplicate_remarks(inspection: Inspection, kind: str, words: str) -> Iterator[Remark]:
    groups = [group for group in inspection.groups if group.kind == kind]
    if not groups:
        return
    keep_apart = "they stay on one side of the split; keep one of each where that is enough"
    if kind == "near" and sum(len(group.names) for group in groups) >= _ALIKE_SHARE * inspection.files:
        keep_apart += "; where images are alike by nature (a fixed camera, digits, blank ones), pass --alike"
    yield Remark(
        severity="warning" if inspection.parts_given else "note",
        code=f"{kind}-duplicates",
        message=f"{_groups(len(groups))} {'has' if len(groups) == 1 else 'have'} {words} "
        f"({sum(len(g.names) for g in groups):,} files)",
        advice="" if inspection.parts_given else keep_apart,
    )
    if count := sum(group.across_parts for group in groups):
        yield Remark(
            severity="error",
            code=f"{kind}-duplicates-across-splits",
            message=f"{_groups(count)} with {words} {'stands' if count == 1 else 'stand'} in more than one "
            "of train, val and test",
            advice="remove them from one side: the test then measures memory, not learning",
        )
    if count := sum(group.across_classes for group in groups):
        yield Remark(
            severity="error",
            code=f"{kind}-duplicates-across-classes",
            message=f"{_groups(count)} with {words} {'carries' if count == 1 else 'carry'} different labels",
            advice="decide on one label for each",
        )


def _groups(count: int) -> str:
    return "1 group of files" if count == 1 else f"{count:,} groups of files"


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
    named = [row.name for row in inspection.classes if split_of(row.name) in ("val", "test")]
    if named and len(inspection.classes) - len(named) >= 2:
        yield Remark(
            severity="warning",
            code="split-name",
            message=f"{_names(named)} is read as a class, as its name beside the others says nothing else",
            advice="where it holds images to test on, sort the others into train/CLASS and these into "
            "test/CLASS, or move it away",
        )
    for mixed in inspection.mixed_names:
        # Spellings that differ in Unicode form look the same: their code points tell them apart.
        spelled = ascii if mixed["merged"] else lambda name: repr(shown(name))
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
    if count := inspection.notes.get(FIRST_OF_SEVERAL):
        yield Remark(
            severity="note",
            code="animations",
            message=f"{_files(count)} with several frames: the first one is used",
        )
    if inspection.small:
        yield Remark(
            severity="note",
            code="small-images",
            message=f"{images(inspection.small, 'has', 'have')} a side below {SMALL_SIDE} pixels: enlarged",
        )
    yield from _left_out_remarks(inspection)


def _left_out_remarks(inspection: Inspection) -> Iterator[Remark]:
    for reason, count in sorted(inspection.ignored.items()):
        names = inspection.left_out.get(reason, ())
        more = f" and {count - 3:,} more" if count > 3 and len(names) >= 3 else ""
        advice = ADVICE.get(reason, "")
        yield Remark(
            severity="warning" if advice else "note",
            code="ignored",
            message=f"{_files(count)} left out, {reason}: {', '.join(map(shown, names[:3]))}{more}",
            advice=advice,
        )


def _files(count: int) -> str:
    return f"{count:,} {'file' if count == 1 else 'files'}"


def _names(names: list[str], most: int = 6) -> str:
    return ", ".join(map(shown, names[:most])) + (
        f" and {len(names) - most:,} more classes" if len(names) > most else ""
    )
