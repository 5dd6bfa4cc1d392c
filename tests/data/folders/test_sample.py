"""A sample of many images has the same number of each class, and is the same whenever it is drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from headstart.data.folders.find import Entry, Source
from headstart.data.folders.sample import sampled
from headstart.errors import ConfigError


def _source(sizes: dict[tuple[str | None, str], int]) -> Source:
    entries = [
        Entry(path=Path("x"), name=f"{split}/{label}/{number:04d}.png", label=label, split=split)
        for (split, label), size in sizes.items()
        for number in range(size)
    ]
    return Source(
        root=Path("photos"),
        form="folder",
        entries=tuple(sorted(entries, key=lambda entry: entry.name)),
        class_names=("cat", "dog", "owl"),
        ignored={},
        mixed_names=(),
        left_out={},
    )


def _drawn(source: Source) -> Counter:
    return Counter((entry.split, entry.label) for entry in source.entries)


@pytest.mark.parametrize(
    ("sizes", "count", "drawn"),
    [
        ((500, 500, 500), 90, (30, 30, 30)),
        ((500, 20, 500), 90, (35, 20, 35)),
        ((500, 5, 10), 90, (75, 5, 10)),
        ((500, 1, 500), 2, (1, 1, 1)),
    ],
)
def test_each_class_gives_as_many_or_all_that_it_has(sizes, count, drawn):
    source = _source({(None, name): size for name, size in zip(("cat", "dog", "owl"), sizes, strict=True)})
    found = _drawn(sampled(source, count))
    assert tuple(found[None, name] for name in source.class_names) == drawn


def test_each_split_gives_its_share():
    sizes = {("train", "cat"): 400, ("train", "dog"): 400, ("test", "cat"): 100, ("test", "dog"): 100}
    found = _drawn(sampled(_source(sizes), 100))
    assert found == {("train", "cat"): 40, ("train", "dog"): 40, ("test", "cat"): 10, ("test", "dog"): 10}


def test_the_sample_is_the_same_again_and_stays_with_more_images():
    small, large = (
        _source({(None, "cat"): 200, (None, "dog"): 200}),
        _source({(None, "cat"): 210, (None, "dog"): 200}),
    )
    first, again, later = (
        {entry.name for entry in sampled(source, 40).entries} for source in (small, small, large)
    )
    assert first == again and len(first & later) >= 35


def test_what_was_drawn_is_said_and_few_images_are_no_sample():
    source = _source({(None, "cat"): 50, (None, "dog"): 30})
    drawn = sampled(source, 40)
    assert [note.message for note in drawn.notes] == [
        "this is a sample of 40 of 80 images, at most 20 of a class, drawn with seed 0"
    ]
    assert drawn.part and sampled(source, 80) == source == sampled(source, None)
    assert replace(drawn, notes=(), part="", entries=source.entries) == source
    with pytest.raises(ConfigError, match="sample must be at least 1 image, got 0"):
        sampled(source, 0)
