"""Find series in names: frames of one video, bursts, images of one object. Which rule keeps them together?

Names suggest rules; pixels decide whether one holds: images of a series are most alike to their own.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.folders import DecodedSource

# Regular expressions as `--group-regex` takes them; what they match in a path names the series.
_RULES = (
    r"^.+/(?=[^/]+$)",  # the folder
    r"^.*[^\W_](?=(?:_|[^\w/])+[^\W_]+\.[^./]+$)",  # without the last word: yes/v00_f03.png -> yes/v00
    r"^.*[^\W_](?=(?:(?:_|[^\w/])+[^\W_]+){2}\.[^./]+$)",  # without the last two words
    r"^(?:.*/)?[^\W_]+(?=(?:_|[^\w/]))",  # the first word
    r"^.*?[^\d/](?=\d+\.[^./]+$)",  # without the last number: walk12.png -> walk
)
_FEWEST, _SAMPLED = 20, 1500  # images
_GROUPS_PER_CLASS = 3  # fewer say nothing
_MOST_OF_CLASS = 0.5  # that one series may make up
_ALIKE_SHARE = 0.6  # of the images whose most similar image is of their own series
_TIMES_CHANCE = 3.0


@dataclass(frozen=True, kw_only=True)
class Series:
    """A rule for --group-regex and the series that it gives; share: of images most alike to their own."""

    rule: str
    groups: int
    median_size: int
    example: str
    example_size: int
    share: float


def find_series(decoded: DecodedSource) -> Series | None:
    """The rule under which images are most alike to their own series; None where no name suggests one."""
    places = decoded.readable
    if len(places) < _FEWEST:
        return None
    if len(places) > _SAMPLED:  # whole stretches of names, so that series stay whole
        starts = np.linspace(0, len(places) - 100, _SAMPLED // 100).astype(int)
        places = places[np.unique((starts[:, None] + np.arange(100)).ravel())]
    names = [decoded.source.entries[place].name for place in places]
    labels = [decoded.source.entries[place].label for place in places]
    candidates = [(rule, keys) for rule in _RULES if (keys := _keys(rule, names, labels)) is not None]
    if not candidates:
        return None
    nearest = _nearest(decoded.small[places])
    best: Series | None = None
    for rule, keys in candidates:
        series = _judged(rule, keys, nearest)
        if series is not None and (best is None or series.share > best.share + 0.02):
            best = series
    return best


def _keys(rule: str, names: list[str], labels: list[str]) -> list[str] | None:
    """The series of each name; None where the rule gives none worth naming."""
    pattern = re.compile(rule)
    keys = [match[0] if (match := pattern.search(name)) else name for name in names]
    sizes = Counter(keys)
    classes = Counter(labels)
    in_series = sum(size for size in sizes.values() if size > 1)
    by_class = Counter(zip(keys, labels, strict=True))
    largest = max(count / classes[label] for (_, label), count in by_class.items())
    if (
        in_series < 0.5 * len(names)
        or largest > _MOST_OF_CLASS
        or len(sizes) < _GROUPS_PER_CLASS * len(classes)
    ):
        return None
    return keys


def _nearest(small: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each image, the one that correlates most with it, int64 (N,)."""
    flat = small[:, ::2, ::2].reshape(len(small), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    alike = flat @ flat.T
    np.fill_diagonal(alike, -2)
    return np.asarray(alike.argmax(axis=1), np.int64)


def _judged(rule: str, keys: list[str], nearest: NDArray[np.int64]) -> Series | None:
    sizes = Counter(keys)
    own = np.array([keys[place] == keys[near] for place, near in enumerate(nearest)])
    grouped = np.array([sizes[key] > 1 for key in keys])
    share = float(own[grouped].mean())
    chance = float(np.mean([(sizes[key] - 1) / (len(keys) - 1) for key in keys]))
    if share < _ALIKE_SHARE or share < _TIMES_CHANCE * chance:
        return None
    example, size = sizes.most_common(1)[0]
    return Series(
        rule=rule,
        groups=len(sizes),
        median_size=int(np.median(list(sizes.values()))),
        example=example,
        example_size=size,
        share=share,
    )
