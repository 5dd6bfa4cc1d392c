"""Splits are told from classes by structure; a guess is asked, not made. Names are drawn at random too."""

from __future__ import annotations

import random
import string
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from headstart.data.folders import Source, find_entries
from headstart.errors import DataError


def _fill(root: Path, counts: dict[str, int]) -> Path:
    """root/<folder>/0.png ...: so many files in each folder; the content does not matter here."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number}.png").write_bytes(b"")
    return root


def _word(seed: int) -> str:
    return "".join(random.Random(seed).choices(string.ascii_lowercase, k=9))


def _splits(source: Source) -> dict[str, int]:
    found: dict[str, int] = {}
    for entry in source.entries:
        found[str(entry.split)] = found.get(str(entry.split), 0) + 1
    return found


def _nested(*homes: tuple[str, int], classes: tuple[str, ...] = ("circle", "square")) -> dict[str, int]:
    return {f"{home}/{name}": count for home, count in homes for name in classes}


@pytest.mark.parametrize(
    ("homes", "splits"),
    [
        ((("train", 6), ("test", 2)), {"train": 12, "test": 4}),
        ((("training_set", 6), ("test_set", 2)), {"train": 12, "test": 4}),
        ((("seg_train/seg_train", 6), ("seg_test/seg_test", 2)), {"train": 12, "test": 4}),
        ((("train", 6), ("eval", 2)), {"train": 12, "test": 4}),
        ((("train", 6), ("holdout", 2)), {"train": 12, "test": 4}),
        ((("TRAIN", 6), ("VALID", 2)), {"train": 12, "val": 4}),
        ((("train", 6), ("dev", 2), ("test", 2)), {"train": 12, "val": 4, "test": 4}),
        ((("trainImages", 6), ("testImages", 6)), {"train": 12, "test": 12}),
    ],
)
def test_names_of_splits_are_recognised_in_their_many_forms(tmp_path, homes, splits):
    source = find_entries(_fill(tmp_path, _nested(*homes)))
    assert source.class_names == ("circle", "square") and _splits(source) == splits


@pytest.mark.parametrize("beside", ["unlabelled", "extra", _word(1)])
def test_images_without_labels_beside_splits_are_named_and_left_out(tmp_path, beside):
    source = find_entries(_fill(tmp_path, _nested(("train", 6), ("test", 2)) | {beside: 5}))
    assert _splits(source) == {"train": 12, "test": 4}
    (note,) = [note for note in source.notes if note.code == "unlabelled"]
    assert note.severity == "warning" and note.message.startswith(f"{beside} holds 5 images without class")
    assert f"headstart predict MODEL {beside}" in note.advice


@pytest.mark.parametrize("inner", ["", "/unknown", "/images", f"/{_word(2)}"])
def test_a_test_folder_without_labels_is_named_and_a_fifth_is_held_out(tmp_path, inner):
    source = find_entries(_fill(tmp_path, _nested(("train", 6)) | {f"test{inner}": 4}))
    assert source.class_names == ("circle", "square") and not source.has_splits
    assert len(source.entries) == 12
    assert any("test holds 4 images without class folders" in note.message for note in source.notes)


def test_a_folder_of_scripts_is_no_class(tmp_path):
    _fill(tmp_path, _nested(("train", 6), ("test", 2)))
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "train.py").write_text("print()")
    source = find_entries(tmp_path)
    assert source.class_names == ("circle", "square")
    assert any(note.message == "folders without an image: scripts" for note in source.notes)


@pytest.mark.parametrize("seed", range(5))
def test_uneven_folders_with_the_same_classes_and_random_names_are_asked_about(tmp_path, seed):
    one, two, *classes = (_word(10 * seed + n) for n in range(5))
    _fill(tmp_path, _nested((one, 30), (two, 10), classes=tuple(classes)))
    with pytest.raises(
        DataError, match=r"are these folders classes, or parts of one dataset.*--layout"
    ) as error:
        find_entries(tmp_path)
    assert error.value.exit_code == 3 and one in str(error.value) and "\n" not in str(error.value)
    splits = find_entries(tmp_path, layout="splits")
    assert _splits(splits) == {"train": 90, "test": 30} and splits.class_names == tuple(sorted(classes))
    assert find_entries(tmp_path, layout="classes").class_names == tuple(sorted((one, two)))
    folds = find_entries(tmp_path, layout="folds")
    assert {entry.group for entry in folds.entries} == {f"fold {one}", f"fold {two}"}
    assert folds.class_names == tuple(sorted(classes)) and not folds.has_splits


@pytest.mark.parametrize("seed", range(3))
def test_random_names_with_unlabelled_images_beside_them_are_asked_about(tmp_path, seed):
    one, two, three = (_word(100 * seed + n) for n in range(3))
    _fill(tmp_path / "both", _nested((one, 6), (two, 6)) | {three: 4})
    _fill(tmp_path / "one", _nested((one, 6)) | {three: 4})
    for folder in ("both", "one"):
        with pytest.raises(DataError, match="--layout"):
            find_entries(tmp_path / folder)


@pytest.mark.parametrize("names", [("circle", "square", "day", "night"), tuple(map(_word, range(4)))])
@pytest.mark.parametrize("deeper", ["", "/roll"])
def test_classes_that_hold_equally_named_sub_folders_stay_classes_and_that_is_said(tmp_path, names, deeper):
    one, two, *inner = names
    source = find_entries(_fill(tmp_path, {f"{c}/{i}{deeper}": 20 for c in (one, two) for i in inner}))
    assert source.class_names == tuple(sorted((one, two))) and len(source.entries) == 80
    (note,) = source.notes
    assert (
        note.severity == "warning" and f"images of class {min(one, two)} lie in sub-folders" in note.message
    )
    assert "--layout" in note.advice


def test_classes_with_sub_folders_of_other_names_stay_classes(tmp_path):
    source = find_entries(_fill(tmp_path, {"indoor/bath": 9, "indoor/hall": 9, "out/park": 9, "out/way": 30}))
    assert source.class_names == ("indoor", "out")


def test_folds_are_recognised_by_structure_and_name(tmp_path):
    source = find_entries(_fill(tmp_path, _nested(("fold_1", 5), ("fold_2", 5), ("fold_3", 5))))
    assert source.class_names == ("circle", "square") and len({e.group for e in source.entries}) == 3


def test_splits_inside_each_class_are_splits(tmp_path):
    counts = {f"{name}/{split}": n for name in ("cat", "dog") for split, n in (("train", 6), ("test", 2))}
    source = find_entries(_fill(tmp_path, counts))
    assert source.class_names == ("cat", "dog") and _splits(source) == {"train": 12, "test": 4}


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (_nested(("val", 6), ("test", 6)), "test, val, which look like splits, but no folder to train on"),
        (
            _nested(("train", 6), ("val", 2), ("valid", 2)),
            "two folders for the same split among train, val, valid",
        ),
        ({"train": 6, "test": 2}, r"holds images in test \(2\), train \(6\), but no class folders in them"),
        (_nested(("train", 6), ("bonus", 6)), "are these folders classes, or parts of one dataset"),
    ],
)
def test_splits_that_make_no_sense_are_one_line(tmp_path, counts, message):
    with pytest.raises(DataError, match=message) as error:
        find_entries(_fill(tmp_path, counts))
    assert "\n" not in str(error.value) and error.value.exit_code == 3


def test_classes_that_are_called_like_splits_stay_classes(tmp_path):
    counts = {"test_tube": 5, "train_station": 9, "bus": 5}
    assert find_entries(_fill(tmp_path, counts)).class_names == ("bus", "test_tube", "train_station")


def test_class_names_go_by_name_where_a_split_lacks_one(tmp_path):
    counts = _nested(("train", 5), classes=("circle", "square", "triangle"))
    counts |= _nested(("val", 2), classes=("circle", "triangle"))
    source = find_entries(_fill(tmp_path, counts))
    assert {e.label for e in source.entries if e.split == "val"} == {"circle", "triangle"}


def test_a_zip_is_read_as_its_folder(tmp_path, monkeypatch):
    import zipfile

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
            archive.write(tmp_path / "a.png", f"photos/photos/{name}")
        archive.writestr("__MACOSX/photos/._1.png", b"\0\5\26\7")
        archive.writestr("../outside.png", b"")
    source = find_entries(tmp_path / "photos.zip")
    assert [entry.name for entry in source.entries] == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert source.entries[0].path.is_file() and not (tmp_path / "cache" / "outside.png").exists()
    (tmp_path / "photos.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be unpacked"):
        find_entries(tmp_path / "photos.zip")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            {".": 3},
            r"holds 3 images and no class folders; .*labels.csv with the lines path,label; "
            r"0.png,CLASS",
        ),
        ({"a/b/c/cat": 1, "a/b/c/dog": 1}, r"did you mean .*a/b/c\?"),
        ({"cat": 4}, r"has one class, cat \(4 images\); a dataset needs a second class"),
        ({}, "has 0 sub-folders"),
    ],
)
def test_what_is_no_dataset_says_what_it_is(tmp_path, counts, message):
    with pytest.raises(DataError, match=message):
        find_entries(_fill(tmp_path, counts))


def _zip(path, members):
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            member = zipfile.ZipInfo()
            member.filename = name
            archive.writestr(member, content)
    return path.read_bytes()


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_zips_in_a_zip_and_names_written_by_windows_are_read(tmp_path, monkeypatch, separator):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    zint = _zip(tmp_path / "zint.zip", [("1.png", b"a"), (f"deep{separator}2.png", b"b")])
    wug = _zip(tmp_path / "wug.zip", [("1.png", b"c")])
    _zip(tmp_path / "outer.ZIP", [(f"q{separator}zint.zip", zint), (f"q{separator}wug.zip", wug)])
    source = find_entries(tmp_path / "outer.ZIP")
    assert [(e.name, e.label) for e in source.entries] == [
        ("wug/1.png", "wug"),
        ("zint/1.png", "zint"),
        ("zint/deep/2.png", "zint"),
    ]


def test_a_damaged_zip_is_one_line(tmp_path, monkeypatch):
    import zipfile

    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "q.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zint/1.png", b"abc" * 1000)
    content = bytearray((tmp_path / "q.zip").read_bytes())
    content[40:50] = b"\xff" * 10  # the beginning of the compressed bytes
    (tmp_path / "q.zip").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"q\.zip cannot be unpacked \(.*\); unpack it yourself"):
        find_entries(tmp_path / "q.zip")


def test_what_is_wrong_with_a_zip_is_said_of_the_zip(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    _zip(tmp_path / "q.zip", [("pics/1.png", b"a"), ("labels.csv", b"path,label\n")])
    with pytest.raises(DataError) as error:
        find_entries(tmp_path / "q.zip")
    archive = tmp_path / "q.zip"
    assert str(error.value).startswith(f"{archive} has one class, pics (1 images)")
    assert str(error.value).endswith(f"give that (unpack {archive} first)")


def test_classes_with_splits_of_their_own_may_lack_one_and_hold_a_loose_image(tmp_path):
    for name in (
        *(f"zint/train/{n}.png" for n in range(20)),
        *(f"zint/test/{n}.png" for n in range(5)),
        *(f"wug/train/{n}.png" for n in range(20)),
        "zint/loose.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    source = find_entries(tmp_path)
    counts = Counter((entry.label, entry.split) for entry in source.entries)
    assert counts == {("zint", "train"): 20, ("zint", "test"): 5, ("wug", "train"): 20}
    assert [note.message for note in source.notes if note.severity == "warning"] == [
        "1 images lie in zint beside its folders of splits and are left out"
    ]
