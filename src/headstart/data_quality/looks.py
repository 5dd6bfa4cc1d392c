"""What images look like, for a check before training: black, blank, cut off, grey in one class only.

Everything is read off the stored 32 x 32 copies of the images and what decoding recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders import DecodedSource, shown
from headstart.data.folders.decode import FIRST_OF_SEVERAL, LARGER_PAGE
from headstart.data_quality.remark import Remark, images

_DARK = 40  # of 255: an image whose brightest value is below is nearly black
_BLANK, _FLAT = 3, 16  # grey levels between an image's darkest and brightest value
_GREY_LEVELS = 6  # between the channels of an image without colour
_CLIPPED_SHARE = 0.6  # of an image's values that are black or white
_CUT_SHARE = 0.3  # of an image that a square from its middle leaves out, from which it is said
_SOME = 0.05  # of the images, from which it is said of a whole folder
_NEARLY_ALL, _NEARLY_NONE = 0.95, 0.05  # of a class's images
_SIZES = 20  # the most frequent sizes of images, which are compared between classes
_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What is odd about each readable image; masks bool (M,) in the order of `places`.

    places: int64 (M,), positions in the DecodedSource. cut: float64 (M,), the share of the image outside its
    middle square, 0..1."""

    places: NDArray[np.int64]
    black: NDArray[np.bool_]
    blank: NDArray[np.bool_]
    flat: NDArray[np.bool_]
    clipped: NDArray[np.bool_]
    grey: NDArray[np.bool_]
    cut: NDArray[np.float64]

    def odd_places(self) -> dict[str, list[int]]:
        """Positions of the images to be shown, by what is odd about them; every image once."""
        places: dict[str, list[int]] = {}
        taken = np.zeros(len(self.places), bool)
        for name in ("blank", "black", "flat"):
            mask = getattr(self, name) & ~taken
            taken |= mask
            if mask.any():
                places[_TITLES[name]] = self.places[mask].tolist()
        return places


_TITLES = {"blank": "one colour", "black": "nearly black", "flat": "hardly any contrast"}


def looks_of(decoded: DecodedSource) -> Looks:
    """Measure every readable image."""
    places = decoded.readable
    rows = []
    for start in range(0, len(places), _BATCH):
        images = decoded.small[places[start : start + _BATCH]]
        flat = images.reshape(len(images), -1, 3).astype(np.int16)
        span = (flat.max(axis=1) - flat.min(axis=1)).max(axis=1)
        between = flat.max(axis=2) - flat.min(axis=2)
        extreme = ((flat <= 1) | (flat >= 254)).mean(axis=(1, 2))
        rows.append(
            np.stack(
                [
                    (flat.max(axis=(1, 2)) < _DARK) & (span > _BLANK),
                    span <= _BLANK,
                    (span > _BLANK) & (span <= _FLAT) & (flat.max(axis=(1, 2)) >= _DARK),
                    (extreme > _CLIPPED_SHARE) & (span > _BLANK),
                    between.max(axis=1) <= _GREY_LEVELS,
                ],
                axis=1,
            )
        )
    masks = np.concatenate(rows) if rows else np.zeros((0, 5), bool)
    facts = [decoded.facts[place] for place in places]
    cut = np.array([1 - min(f.width, f.height) / max(f.width, f.height) for f in facts], np.float64)
    black, blank, flat_, clipped, grey = masks.T
    return Looks(places=places, black=black, blank=blank, flat=flat_, clipped=clipped, grey=grey, cut=cut)


def look_remarks(decoded: DecodedSource, looks: Looks) -> Iterator[Remark]:
    """Remarks on what the images look like."""
    labels = np.array([decoded.source.entries[place].label for place in looks.places], dtype=object)
    yield from _dark_or_blank(decoded, looks, labels)
    yield from _cut_off(decoded, looks)
    yield from _shortcuts(decoded, looks, labels)
    yield from _deep_values(decoded)
    yield from _profiles(decoded)
    yield from _grounds(decoded)
    yield from _pages(decoded, looks)


def _dark_or_blank(decoded: DecodedSource, looks: Looks, labels: NDArray[np.object_]) -> Iterator[Remark]:
    if count := int(looks.black.sum()):
        yield Remark(
            severity="warning",
            code="nearly-black",
            message=f"{images(count, 'is', 'are')} nearly black: no value above {_DARK} of 255",
            advice="look at them; values may be stored in a range that is not read as it was meant",
        )
    if count := int(looks.blank.sum()):
        whole = [
            name
            for name in decoded.source.class_names
            if (labels == name).any() and looks.blank[labels == name].mean() >= _NEARLY_ALL
        ]
        of = f", nearly all of class {', '.join(map(shown, whole))}" if whole else ""
        all_ = len(whole) == len(decoded.source.class_names)
        yield Remark(
            severity="warning" if not whole or all_ else "note",
            code="blank",
            message=f"{images(count, 'shows', 'show')} nothing but one colour{of}",
            advice="" if whole and not all_ else "remove them unless nothing is what their class is about",
        )
    if count := int(looks.flat.sum()):
        yield Remark(
            severity="note",
            code="flat",
            message=f"{images(count, 'has', 'have')} hardly any contrast ({_FLAT} levels of 255 or fewer)",
        )
    if (count := int(looks.clipped.sum())) > _SOME * len(looks.places):
        yield Remark(
            severity="note",
            code="clipped",
            message=f"{images(count, 'is', 'are')} mostly pure black or white: drawings, or clipped "
            "by too much light",
        )


def _cut_off(decoded: DecodedSource, looks: Looks) -> Iterator[Remark]:
    cut = looks.cut > _CUT_SHARE
    if decoded.reading.fit != "crop" or not cut.any():
        return
    facts = [decoded.facts[place] for place in looks.places[cut]]
    wide = sum(fact.width > fact.height for fact in facts)
    ratio = float(np.median([max(f.width, f.height) / min(f.width, f.height) for f in facts]))
    way = "wide as high" if wide == len(facts) else "high as wide" if not wide else "long as they are short"
    share = 100 * float(np.median(looks.cut[cut]))
    yield Remark(
        severity="warning" if cut.mean() > _SOME else "note",
        code="cut-off",
        message=f"{images(len(facts), 'is', 'are')} {ratio:.1f} times as {way}; the middle square leaves "
        f"{share:.0f} % of "
        "them out",
        advice="where what matters may lie outside, keep all of it with --fit pad (or --fit squash)",
    )


def _shortcuts(decoded: DecodedSource, looks: Looks, labels: NDArray[np.object_]) -> Iterator[Remark]:
    """What tells classes apart without looking at what the images show."""
    facts = [decoded.facts[place] for place in looks.places]
    formats = np.array([fact.format for fact in facts], dtype=object)
    kinds = [("grey", looks.grey)]
    kinds += [(f"{name} files", formats == name) for name in sorted(set(formats.tolist()))]
    sizes = np.array([f"{fact.width} x {fact.height}" for fact in facts], dtype=object)
    common = Counter(sizes.tolist()).most_common(_SIZES)
    kinds += [(f"{size} pixels", sizes == size) for size, count in common if count > 1]
    for what, mask in kinds:
        shares = {
            name: float(mask[labels == name].mean())
            for name in decoded.source.class_names
            if (labels == name).any()
        }
        all_of = [name for name, share in shares.items() if share >= _NEARLY_ALL]
        none_of = [name for name, share in shares.items() if share <= _NEARLY_NONE]
        if all_of and none_of and len(all_of) + len(none_of) == len(shares):
            yield Remark(
                severity="warning",
                code="shortcut",
                message=f"nearly all images of {_listed(all_of)} are {what}, of {_listed(none_of)} "
                "hardly any",
                advice="a model can learn that instead of what they show; new images will differ",
            )
            return


def _deep_values(decoded: DecodedSource) -> Iterator[Remark]:
    kinds = Counter(fact.values[0] for fact in decoded.facts if fact.values is not None)
    ranges = {"integers": decoded.reading.integer_range, "floats": decoded.reading.float_range}
    for kind, count in kinds.items():
        if (value_range := ranges[kind]) is not None:
            black, white = (f"{value:,.6g}" if kind == "floats" else f"{value:,.0f}" for value in value_range)
            yield Remark(
                severity="note",
                code="value-range",
                message=f"{count:,} files hold "
                f"{'fractions' if kind == 'floats' else 'values of more than 8 bits'}: "
                f"{black} is read as black and {white} as white in all of them",
            )


def _profiles(decoded: DecodedSource) -> Iterator[Remark]:
    notes = Counter(n for f in decoded.facts for n in f.notes if n.startswith("colour profile "))
    for note, count in notes.items():
        name = note.removeprefix("colour profile ").removesuffix(" to sRGB")
        rest = "" if count == len(decoded.readable) else " than the rest"
        yield Remark(
            severity="note",
            code="colour-profile",
            message=f"{images(count, 'has', 'have')} another colour profile{rest} ({name}), brought to sRGB",
        )


def _grounds(decoded: DecodedSource) -> Iterator[Remark]:
    notes = Counter(note for fact in decoded.facts for note in fact.notes)
    if count := notes["transparency on black, as on white nothing is seen"]:
        yield Remark(
            severity="warning",
            code="transparent",
            message=f"{images(count)} would be blank once transparency lies on white; laid on black instead",
            advice="save them on the ground that new images will have",
        )
    if count := notes["stored colours, as transparency hides everything"]:
        yield Remark(
            severity="warning",
            code="transparent",
            message=f"{images(count, 'is', 'are')} transparent everywhere; their stored colours are used",
            advice="save them without the alpha channel",
        )


def _pages(decoded: DecodedSource, looks: Looks) -> Iterator[Remark]:
    tiffs = [place for place in looks.places if _has_pages(decoded, int(place))]
    if not tiffs:
        return
    sizes = Counter(n for place in tiffs for n in decoded.facts[place].notes if n.startswith(LARGER_PAGE))
    blank = int(looks.blank[np.isin(looks.places, tiffs)].sum())
    larger = f"; {sizes.most_common(1)[0][0]}" if sizes else ""
    empty = f"; page 1 of {blank:,} of them shows nothing" if blank else ""
    yield Remark(
        severity="warning",
        code="pages",
        message=f"{len(tiffs):,} of {len(looks.places):,} files have several pages and page 1 is "
        f"used{larger}{empty}",
        advice="save the page that matters as a file of its own",
    )


def _has_pages(decoded: DecodedSource, place: int) -> bool:
    fact = decoded.facts[place]
    return fact.format == "TIFF" and FIRST_OF_SEVERAL in fact.notes


def _listed(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + more
