"""The section on data health: duplicates, accuracy without them, suspected label errors. From health.json and
health.npz alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.data_quality.record import EXACT, FEATURES, PERCEPTUAL, WHERE, Health, read_health, shown_pairs
from headstart.report import words
from headstart.report.load import Arm, StudyView, data_uri, estimate
from headstart.results.trials import correct

_TITLES = {"across": "Across train and test", "test": "Within test", "train": "Within train"}
_SUSPECTS_SHOWN = 24


@dataclass(frozen=True, kw_only=True)
class CountRow:
    title: str
    exact: str
    perceptual: str
    features: str
    pairs: str
    two_labels: str
    images: str


@dataclass(frozen=True, kw_only=True)
class Half:
    """One image of a pair."""

    image: str
    place: str  # "train 123"
    label: str


@dataclass(frozen=True, kw_only=True)
class PairShown:
    halves: tuple[Half, Half]
    note: str  # how alike, and which method proposed it


@dataclass(frozen=True, kw_only=True)
class PairPanel:
    name: str
    title: str
    description: str
    pairs: tuple[PairShown, ...]


@dataclass(frozen=True, kw_only=True)
class SuspectShown:
    image: str
    place: str
    given: str
    given_probability: str
    suggested: str
    suggested_probability: str


@dataclass(frozen=True, kw_only=True)
class WithoutRow:
    """An arm's test accuracy on all images, on those that train does not have, and on those that it has."""

    arm: Arm
    every: str
    without: str
    without_note: str
    change: str
    affected: str
    affected_note: str


@dataclass(frozen=True, kw_only=True)
class Section:
    message: str
    counts: tuple[CountRow, ...]
    how: str
    panels: tuple[PairPanel, ...]
    without: tuple[WithoutRow, ...]
    suspects_total: int | None
    suspects_summary: str
    suspects: tuple[SuspectShown, ...]


def examined(view: StudyView) -> Health | None:
    """The examination of the study's own data that its folder holds."""
    health = read_health(view.folder)
    return (
        health
        if health is not None and health.dataset["fingerprint"] == view.study.dataset.fingerprint
        else None
    )


def section(view: StudyView) -> Section | None:
    """None where the study's data was not examined, or the folder's examination is of other data."""
    if (health := examined(view)) is None:
        return None
    return describe(
        health, tuple(_without(arm, health) for arm in view.arms) if len(health.affected_test_ids()) else ()
    )


def describe(health: Health, without: tuple[WithoutRow, ...] = ()) -> Section:
    """An examination in words, tables and images; `without` where there are arms to read again."""
    affected, tests = len(health.affected_test_ids()), int(health.dataset["test_images"])
    message = (
        f"{affected:,} of {tests:,} test images ({words.share(affected / max(tests, 1), 2)}) are in the "
        "training set too, "
        "or nearly so"
        if affected
        else f"None of the {tests:,} test images was found in the training set"
    )
    counts = tuple(
        CountRow(
            title=_TITLES[where], **{name: f"{value:,}" for name, value in health.counts()[where].items()}
        )
        for where in WHERE
    )
    if health.settings["features"] is None:
        counts = tuple(CountRow(**{**vars(row), "features": words.NONE}) for row in counts)
    return Section(
        message=message,
        counts=counts,
        how=_how(health),
        panels=_panels(health),
        without=without,
        suspects_total=None if health.suspects is None else len(health.suspects),
        suspects_summary=_suspects_summary(health),
        suspects=_suspects(health),
    )


def _how(health: Health) -> str:
    settings = health.settings
    sentences = (
        "Exact: the same bytes. Hash: 64-bit perceptual hashes that differ in "
        f"{settings['max_distance']} bits or fewer, and a correlation of at least "
        f"{settings['min_correlation']:g} between "
        "the two pictures at 16×16 pixels. "
    )
    if (network := settings["features"]) is None:
        return sentences + "Features: not compared, the network's weights were not to be had."
    pixels = f" at {network['input_pixels']} pixels" if network["input_pixels"] else ""
    enough = " or ".join(
        f"{similarity:g} and {correlation:g}" for similarity, correlation in settings["alike"]
    )
    return (
        sentences
        + f"Features: the cosine similarity between what {network['model']} ({network['weights']}){pixels} "
        "makes of the "
        "two, less its mean over all images, and the correlation of the middle of one picture with the "
        "other, mirrored and "
        f"shifted where that fits better, are at least {enough}. The thresholds were chosen by looking at "
        "pairs of CIFAR-10 with features at 96 pixels; a pair can be found in several ways."
    )


def _panels(health: Health) -> tuple[PairPanel, ...]:
    titles = {
        "surest": ("The same picture in train and test", "The most alike pairs."),
        "edge": (
            "The least alike pairs that still count",
            "Where the thresholds cut: judge for yourself whether they should.",
        ),
        "two_labels": (
            "The same picture under two labels",
            "At least one of the two labels is wrong, or both classes fit.",
        ),
    }
    panels = []
    for name, rows in shown_pairs(health).items():
        shown = tuple(
            _pair(health, int(row))
            for row in rows
            if all(int(p) in health.images for p in health.pairs.places[row])
        )
        if shown:
            title, description = titles[name]
            panels.append(
                PairPanel(
                    name=f"health-{name.replace('_', '-')}", title=title, description=description, pairs=shown
                )
            )
    return tuple(panels)


def _pair(health: Health, row: int) -> PairShown:
    pairs, names = health.pairs, health.dataset["class_names"]
    halves = tuple(
        Half(
            image=data_uri(health.images[int(place)]),
            place=_place(health, int(place)),
            label=names[int(label)],
        )
        for place, label in zip(pairs.places[row], pairs.labels[row], strict=True)
    )
    by = int(pairs.by[row])
    ways = [way for bit, way in ((EXACT, "exact"), (PERCEPTUAL, "hash"), (FEATURES, "features")) if by & bit]
    alike = "" if np.isnan(pairs.similarity[row]) else f"{pairs.similarity[row]:.3f}, "
    return PairShown(
        halves=(halves[0], halves[1]), note=f"{alike}{pairs.distance[row]} bits: {', '.join(ways)}"
    )


def _place(health: Health, place: int) -> str:
    return f"train {place}" if place < health.train_images else f"test {place - health.train_images}"


def _without(arm: Arm, health: Health) -> WithoutRow:
    """Means over the arm's seeds at the main label budget, from stored logits."""
    affected = np.isin(arm.tests[0].example_ids, health.affected_test_ids())
    hits = [correct(test) for test in arm.tests]
    every, kept, gone = (
        [float(hit[which].mean()) for hit in hits] for which in (slice(None), ~affected, affected)
    )
    without, among = estimate(kept, int((~affected).sum())), estimate(gone, int(affected.sum()))

    def interval(bounds: tuple[float, float] | None) -> str:
        return words.interval(bounds) if bounds else ""

    return WithoutRow(
        arm=arm,
        every=words.share(float(np.mean(every)), 2),
        without=words.share(without.value, 2),
        without_note=interval(without.interval),
        change=words.points(without.value - float(np.mean(every)), 2),
        affected=words.share(among.value),
        affected_note=interval(among.interval),
    )


def _suspects_summary(health: Health) -> str:
    if health.suspects is None:
        return (
            "Labels were not checked: that needs the features of a pretrained network and cleanlab "
            '(pip install "headstart[check]").'
        )
    settings = health.settings["labels"]
    share = words.share(len(health.suspects) / max(health.train_images, 1), 2)
    return (
        f"{len(health.suspects):,} of {health.train_images:,} training labels ({share}) are contradicted by "
        "a linear probe "
        f"on the same features that never saw the image or a copy of it ({settings['folds']}-fold "
        "cross-validation; which "
        "doubts count is decided by confident learning, cleanlab). They are candidates for a look, not "
        "errors: a weak probe "
        "doubts hard images too. The most suspicious ones:"
    )


def _suspects(health: Health) -> tuple[SuspectShown, ...]:
    if health.suspects is None:
        return ()
    suspects, names = health.suspects, health.dataset["class_names"]
    return tuple(
        SuspectShown(
            image=data_uri(health.images[int(place)]),
            place=f"train {place}",
            given=names[int(suspects.given[i])],
            suggested=names[int(suspects.suggested[i])],
            given_probability=words.share(float(suspects.given_probability[i]), 0),
            suggested_probability=words.share(float(suspects.suggested_probability[i]), 0),
        )
        for i, place in enumerate(suspects.ids[:_SUSPECTS_SHOWN])
        if int(place) in health.images
    )
