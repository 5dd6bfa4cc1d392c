"""Images are listed as find_entries finds them, the quick way and the other."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from tests.support.noise_folder import write_noise

from headstart.app.listing import list_images
from headstart.data.folders import DEFAULT_OPTIONS, find_entries
from headstart.errors import DataError


def make_flat(root: Path) -> None:
    write_noise(root, {"cat": 3, "Vo\u0308gel": 2, "empty": 0, ".hidden": 1})
    (root / "cat/notes.txt").write_text("no image")
    (root / "cat/photo").write_bytes((root / "cat/0.png").read_bytes())  # an image by its content
    (root / "cat/photo.jpg.part").write_bytes(b"")
    for letter in ("\udcff", "\udce9"):  # bytes that are no text
        (root / f"cat/b{letter}.png").write_bytes((root / "cat/0.png").read_bytes())
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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("folders", [("cat", "dog"), ("cat/a", "dog/a")])
def test_pipes_and_links_that_lead_out_are_left_out(tmp_path, monkeypatch, folders):
    photos = write_noise(tmp_path / "photos", dict.fromkeys(folders, 2))
    other = write_noise(tmp_path / "other", {"owl": 2})
    before = {*list_images(photos, DEFAULT_OPTIONS).by_name}
    home = photos / folders[0]
    os.mkfifo(home / "pipe.png")
    monkeypatch.chdir(home)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        (home / "passwd.png").symlink_to("/etc/passwd")
        (home / "owl.png").symlink_to(other / "owl/0.png")
        (photos / "owl").symlink_to(other / "owl")
        (home / "inside.png").symlink_to(photos / folders[1] / "0.png")
        listed = list_images(photos, DEFAULT_OPTIONS)
    assert {*listed.by_name} == before | {f"{folders[0]}/inside.png"}
    assert [*listed.by_class] == ["cat", "dog"]


def test_rows_of_a_table_that_lead_out_are_left_out(tmp_path):
    write_noise(tmp_path, {"home/x": 2, "other": 1})
    table = tmp_path / "home/labels.csv"
    table.write_text("path,label\nx/0.png,cat\nx/1.png,dog\n../other/0.png,owl\n/etc/passwd,owl\n")
    listed = list_images(table, DEFAULT_OPTIONS)
    assert [*listed.by_name] == ["x/0.png", "x/1.png"] and [*listed.by_class] == ["cat", "dog"]
    table.write_text("path,label\n../other/0.png,owl\n/etc/passwd,cat\n")
    with pytest.raises(DataError, match="are not followed"):
        list_images(table, DEFAULT_OPTIONS)


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "cat"))

    monkeypatch.setattr("headstart.app.listing._flat", refuse)
    with pytest.raises(DataError, match=r"cat cannot be read \(Permission denied\)"):
        list_images(tmp_path, DEFAULT_OPTIONS)
