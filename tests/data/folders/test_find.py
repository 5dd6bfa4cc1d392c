"""Entries, labels, splits and groups come out of folders and tables as they stand; what is left out is
counted."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from tests.support.noise_folder import write_noise

from headstart.data.folders import find_entries
from headstart.errors import ConfigError, DataError


def _fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return root


def _found(root: Path, **options: str) -> list[tuple[str, str, str | None, str | None]]:
    return [(e.name, e.label, e.split, e.group) for e in find_entries(root, **options).entries]


def test_sub_folders_are_classes_however_deep_the_files(tmp_path):
    _fill(tmp_path, "dog/b.jpg", "cat/a.PNG", "cat/more/c.heic")
    source = find_entries(tmp_path)
    assert source.form == "folder" and source.class_names == ("cat", "dog") and not source.has_splits
    assert _found(tmp_path) == [
        ("cat/a.PNG", "cat", None, None),
        ("cat/more/c.heic", "cat", None, None),
        ("dog/b.jpg", "dog", None, None),
    ]
    assert source.entries[0].path == tmp_path / "cat" / "a.PNG"


def test_classes_named_by_numbers_keep_their_names_whatever_their_place(tmp_path):
    """In the order of text 10 comes before 2: names are asked for, never places."""
    source = find_entries(_fill(tmp_path, *(f"{number}/{number}.jpg" for number in range(12))))
    assert source.class_names == tuple(sorted(map(str, range(12))))
    assert all(entry.label == entry.path.stem for entry in source.entries)


def test_split_folders_are_recognised_under_their_usual_names(tmp_path):
    _fill(tmp_path, "Train/cat/a.png", "Train/dog/b.png", "valid/cat/c.png", "test/dog/d.png")
    assert find_entries(tmp_path).form == "split folders"
    assert _found(tmp_path) == [
        ("Train/cat/a.png", "cat", "train", None),
        ("Train/dog/b.png", "dog", "train", None),
        ("test/dog/d.png", "dog", "test", None),
        ("valid/cat/c.png", "cat", "val", None),
    ]


def test_a_class_called_train_beside_others_is_a_class(tmp_path):
    _fill(tmp_path, "train/a.png", "bus/b.png", "test/c.png")
    assert find_entries(tmp_path).class_names == ("bus", "test", "train")


def test_two_folders_for_one_split_are_refused(tmp_path):
    _fill(tmp_path, "train/cat/a.png", "val/cat/b.png", "valid/cat/c.png")
    with pytest.raises(DataError, match="two folders for the same split among train, val, valid"):
        find_entries(tmp_path)


def test_hidden_junk_and_other_files_are_counted(tmp_path):
    _fill(
        tmp_path,
        "cat/a.png",
        "dog/b.png",
        "cat/.ipynb_checkpoints/a.png",
        "cat/.ipynb_checkpoints/b.png",
        "dog/Thumbs.db",
        "__MACOSX/cat/._a.png",
        ".DS_Store",
        "dog/notes.txt",
        "dog/film.mp4",
        "loose.png",
    )
    source = find_entries(tmp_path)
    assert len(source.entries) == 2 and source.class_names == ("cat", "dog")
    assert source.ignored == {
        "hidden or junk": 5,
        "no images by their content": 2,
        "images outside the class folders": 1,
    }


def test_links_in_a_circle_end(tmp_path):
    photos = _fill(tmp_path / "photos", "cat/a.png", "dog/b.png")
    (photos / "cat" / "up").symlink_to(photos)
    (photos / "cat" / "above").symlink_to(tmp_path)
    (photos / "cat" / "again").symlink_to(photos / "cat")
    (photos / "cat" / "self").symlink_to("self")
    (photos / "dog" / "gone.png").symlink_to("nowhere.png")
    source = find_entries(photos)
    assert [entry.name for entry in source.entries] == ["cat/a.png", "dog/b.png", "dog/gone.png"]
    assert source.ignored == {
        "links back into a folder that is read already": 3,
        "links to nothing": 1,
    }


def test_a_linked_folder_elsewhere_is_read(tmp_path):
    _fill(tmp_path / "store", "x/1.png", "x/2.png")
    photos = _fill(tmp_path / "photos", "dog/b.png")
    (photos / "cat").symlink_to(tmp_path / "store" / "x")
    assert [entry.name for entry in find_entries(photos).entries] == ["cat/1.png", "cat/2.png", "dog/b.png"]


def test_unicode_forms_and_spaces_are_one_class_and_reported(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Vögel") for form in ("NFC", "NFD"))
    _fill(
        tmp_path,
        f"train/{composed}/a.png",
        f"train/{composed}/b.png",
        f"test/{apart}/c.png",
        "train/船/d.png",
        "test/船 /e.png",
    )
    source = find_entries(tmp_path)
    assert source.class_names == (composed, "船")
    assert {(mixed.spellings, mixed.merged) for mixed in source.mixed_names} == {
        (((apart, 1), (composed, 2)), True),
        ((("船", 1), ("船 ", 1)), True),
    }


def test_upper_and_lower_case_stay_two_classes_and_are_reported(tmp_path):
    _fill(tmp_path, "Cat/a.png", "cat/b.png", "cat/c.png", "hot_dog/d.png", "hot dog/e.png", "dog/f.png")
    source = find_entries(tmp_path)
    assert source.class_names == ("Cat", "cat", "dog", "hot dog", "hot_dog")
    assert {(mixed.spellings, mixed.merged) for mixed in source.mixed_names} == {
        ((("Cat", 1), ("cat", 2)), False),
        ((("hot dog", 1), ("hot_dog", 1)), False),
    }


def test_file_names_that_are_no_text_are_text_and_stay_apart(tmp_path):
    _fill(tmp_path, "cat/a.png", "dog/b.png")
    for letter in ("\udcff", "\udce9"):
        (tmp_path / "cat" / f"b{letter}.png").write_bytes(b"")
    names = ["cat/a.png", r"cat/b\xe9.png", r"cat/b\xff.png", "dog/b.png"]
    assert [entry.name for entry in find_entries(tmp_path).entries] == names


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_gives_paths_labels_splits_and_groups(tmp_path, suffix):
    table = tmp_path / f"pictures.{suffix}"
    rows = pd.DataFrame(
        {
            "Path": ["a.png", "in/b.png", "in/c.png"],
            "label": ["007", "NA", "007"],
            "split": ["train", "validation", "Test"],
            "object": ["x", "y", "x"],
        }
    )
    if suffix == "parquet":
        rows.to_parquet(table)
    else:
        rows.to_csv(table, index=False, sep="\t" if suffix == "tsv" else ",")
    assert _found(table, group_column="object") == [
        ("a.png", "007", "train", "x"),
        ("in/b.png", "NA", "val", "y"),
        ("in/c.png", "007", "test", "x"),
    ]
    assert find_entries(table).entries[1].path == tmp_path / "in" / "b.png"
    assert find_entries(table).form == "table"


def test_a_path_that_comes_twice_keeps_both_rows(tmp_path):
    (tmp_path / "t.csv").write_text("path,label\na.png,x\na.png,y\n")
    assert [(e.name, e.label) for e in find_entries(tmp_path / "t.csv").entries] == [
        ("a.png", "x"),
        ("a.png (row 2)", "y"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na,b\n", "has no column 'path', only file, label"),
        ("path,label\na.png,\n", "row 1 has no label"),
        ("path,label\na.png, \n", "row 1 has no label"),
        ("path,label,split\na.png,x,train\nb.png,y,\n", "b.png has no split while others have"),
        ("path,label,split\na.png,x,train\nb.png,y,kept\n", "unknown split 'kept'; use train, val or test"),
        (
            "path,label\na.png,x\nb.png,x\n",
            "has 1 labels, 'x'; a dataset needs one for each class, two at least",
        ),
        ('path,label\n"a.png,x\n', "cannot be read as a table"),
        ("", "cannot be read as a table"),
    ],
)
def test_a_table_that_makes_no_sense_is_one_line(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        find_entries(tmp_path / "t.csv")
    assert "\n" not in str(error.value)


def test_an_unknown_group_column_names_the_columns(tmp_path):
    (tmp_path / "t.csv").write_text("path,label,object\na.png,x,1\nb.png,y,2\n")
    with pytest.raises(ConfigError, match=r"unknown column .*'objekt' \(did you mean 'object'\?\)"):
        find_entries(tmp_path / "t.csv", group_column="objekt")


@pytest.mark.parametrize(
    ("expression", "groups"),
    [
        (r"(\d+)_", ["12", "12", None]),
        (r"(?P<x>[a-z])_?(?P<group>\d+)", ["12", "12", "7"]),
        (r"\d\d", ["12", "12", None]),
    ],
)
def test_a_regular_expression_on_the_path_gives_groups(tmp_path, expression, groups):
    _fill(tmp_path, "cat/a12_1.png", "cat/a12_2.png", "dog/b7.png")
    assert [entry.group for entry in find_entries(tmp_path, group_regex=expression).entries] == groups


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_regex": "("}, r"'\(' is no regular expression"),
        ({"group_regex": "x{9}"}, "matches none of 2 paths, e.g. cat/a.png"),
        ({"group_column": "object"}, "--group-column object needs a table"),
    ],
)
def test_group_options_that_make_no_sense_are_one_line(tmp_path, options, message):
    _fill(tmp_path, "cat/a.png", "dog/b.png")
    with pytest.raises(ConfigError, match=message):
        find_entries(tmp_path, **options)


def test_a_folder_around_the_folder_is_named(tmp_path):
    _fill(tmp_path, "photos/cat/a.png", "photos/dog/b.png")
    with pytest.raises(DataError, match=r"has 1 sub-folder; .* two at least; did you mean .*photos\?"):
        find_entries(tmp_path)


def test_folders_without_pictures_say_what_they_hold(tmp_path):
    _fill(tmp_path, "cat/a.txt", "dog/b.txt")
    with pytest.raises(DataError, match=r"\(2 no images by their content \(cat/a\.txt, \.\.\.\)\); put PNG"):
        find_entries(tmp_path)


def test_a_path_that_is_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is neither a folder nor a CSV or Parquet table"):
        find_entries(tmp_path / "nowhere")


def test_links_that_may_not_be_looked_at_and_folders_of_the_system_are_left_out(tmp_path, monkeypatch):
    photos = write_noise(tmp_path / "photos", {"cat": 2, "dog": 2})
    (photos / "cat" / "hidden").symlink_to("/hidden/place")
    for name in ("proc", "dev"):
        (photos / name).symlink_to(f"/{name}")
        (photos / "dog" / name).symlink_to(f"/{name}")
    real = os.stat

    def guarded(path, *args, **options):
        if str(path).endswith("hidden") and options.get("follow_symlinks", True):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", guarded)
    found = find_entries(photos)
    assert found.class_names == ("cat", "dog") and len(found.entries) == 4
    assert found.ignored == {"links to nothing": 1, "system folders or links into them": 4}


@pytest.mark.parametrize("folder", ["/proc", "/dev", "/sys/kernel"])
def test_folders_of_the_system_hold_no_images(folder):
    # memory that serves as a disk, /dev/shm, may hold some of another program
    with pytest.raises(DataError, match=r"holds no images|images of one class only, shm"):
        find_entries(Path(folder))


@pytest.mark.parametrize(
    ("suffix", "reason", "remedy"),
    [
        ("tga", "images or arrays in formats that are not read", "save those that are images as PNG or JPEG"),
        ("nii.gz", "images or arrays in formats that are not read", "save those that are images as PNG"),
        ("tar.gz", "archives that are not unpacked", "unpack those that hold images"),
        ("dng", "raw files of cameras", "convert them to JPEG or PNG"),
    ],
)
def test_files_that_may_hold_images_are_told_from_others(tmp_path, suffix, reason, remedy):
    _fill(tmp_path, f"zint/q.{suffix}", f"wug/q.{suffix}", "wug/notes.txt")
    with pytest.raises(DataError) as error:
        find_entries(tmp_path)
    assert f"2 {reason} (wug/q.{suffix}, ...)" in str(error.value) and remedy in str(error.value)
    _fill(tmp_path, "zint/1.png", "wug/1.png")
    assert find_entries(tmp_path).ignored == {reason: 2, "no images by their content": 1}


def test_a_folder_of_zips_says_to_unpack_them(tmp_path):
    _fill(tmp_path, "zint.zip", "wug.zip")
    with pytest.raises(
        DataError, match=r"0 sub-folders \(2 archives .* \(wug\.zip, .*; unpack those that hold"
    ):
        find_entries(tmp_path)


def test_one_class_with_images_beside_empty_ones_is_refused_by_their_names(tmp_path):
    """As with images/ and labels/ of a detection dataset."""
    _fill(tmp_path, "images/train/1.jpg", "images/val/2.jpg", "labels/train/1.txt", "labels/val/2.txt")
    with pytest.raises(DataError, match=r"of one class only, images \(2\), and none of labels \(2 no images"):
        find_entries(tmp_path)


@pytest.mark.parametrize("table", ["qzx.csv", "train/metadata.csv"])
def test_a_table_beside_images_without_class_folders_is_named(tmp_path, table):
    _fill(tmp_path, *("1.png", "2.png") if table == "qzx.csv" else ("train/1.png", "train/2.png"), table)
    with pytest.raises(DataError, match=f"; where {tmp_path / table} holds the labels, give that$"):
        find_entries(tmp_path)


def test_class_folders_far_below_are_named(tmp_path):
    _fill(tmp_path, "a/b/c/d/e/f/zint/1.png", "a/b/c/d/e/f/wug/1.png")
    with pytest.raises(DataError, match=r"did you mean .*/a/b/c/d/e/f\?"):
        find_entries(tmp_path)
