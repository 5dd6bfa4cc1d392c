"""Images are listed as find_entries finds them, the quick way and the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart.app.listing import list_images
from headstart.data.folders import DEFAULT_OPTIONS, find_entries


def make_flat(root: Path) -> None:
    write_noise(root, {"cat": 3, "Vo\u0308gel": 2, "empty": 0, ".hidden": 1})
    (root / "cat/notes.txt").write_text("no image")
    (root / "cat/photo").write_bytes((root / "cat/0.png").read_bytes())  # an image by its content
    (root / "cat/photo.jpg.part").write_bytes(b"")
    (root / "loose.png").write_bytes((root / "cat/0.png").read_bytes())


def make_deep(root: Path) -> None:
    write_noise(root, {"cat/a": 2, "cat/b": 2, "dog": 3, "owl": 3})


def make_splits(root: Path) -> None:
    write_noise(root, {"train/cat": 2, "train/dog": 2, "test/cat": 1, "test/dog": 1})


@pytest.mark.parametrize("make", [make_flat, make_deep, make_splits])
def test_names_and_classes_are_those_of_find_entries(tmp_path, make):
    make(tmp_path)
    found, listed = find_entries(tmp_path), list_images(tmp_path, DEFAULT_OPTIONS)
    assert {(e.name, e.label, str(e.path)) for e in found.entries} == {
        (image.name, image.label, image.path) for image in listed.by_name.values()
    }
    assert tuple(listed.by_class) == found.class_names


def test_a_table_is_listed(tmp_path):
    write_noise(tmp_path / "files", {"x": 2})
    (tmp_path / "labels.csv").write_text("path,label\nfiles/x/0.png,cat\nfiles/x/1.png,dog\n")
    listed = list_images(tmp_path / "labels.csv", DEFAULT_OPTIONS)
    assert {name: len(images) for name, images in listed.by_class.items()} == {"cat": 1, "dog": 1}
