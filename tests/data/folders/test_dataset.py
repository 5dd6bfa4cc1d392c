"""Anybody's images become a dataset whose split follows from the pixels, or one line says why not."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.support.noise_folder import write_noise

from headstart.data import arrays, load_dataset, load_images
from headstart.data.splits import validation_split
from headstart.errors import ConfigError, DataError
from headstart.runtime.mapped import IndexedRows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two classes of ten different images each, PNG and JPEG; a cache of their own."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            image = Image.new("RGB", (20, 30), (25 * i, 100 * label, 7))
            image.save(
                tmp_path / "pets" / name / f"{i}.{'png' if i % 2 else 'JPG'}", "PNG" if i % 2 else "JPEG"
            )
    return tmp_path / "pets"


def test_sub_folders_are_classes_and_a_fifth_of_each_is_for_testing(folder):
    pets = load_dataset(folder, image_pixels=8)
    assert pets.name == "pets"
    assert pets.train.class_names == pets.test.class_names == ("cat", "dog")
    assert pets.train.images.shape == (16, 8, 8, 3) and pets.train.images.dtype == np.uint8
    assert pets.train.labels.tolist() == [0] * 8 + [1] * 8 and pets.train.labels.dtype == np.int64
    assert pets.test.labels.tolist() == [0, 0, 1, 1]


def test_default_size_is_32_pixels(folder):
    assert load_dataset(str(folder)).test.images.shape == (4, 32, 32, 3)


def test_renaming_files_changes_nothing(folder):
    before = load_dataset(folder)
    for path in list((folder / "cat").iterdir()):
        path.rename(path.with_name(f"{9 - int(path.stem)}_new{path.suffix}"))
    assert load_dataset(folder).fingerprint == before.fingerprint


def test_copies_of_an_image_stay_on_one_side(folder):
    for path in list((folder / "dog").iterdir()):
        for copy in range(3):
            (folder / "dog" / f"copy{copy}_{path.name}").write_bytes(path.read_bytes())
    pets = load_dataset(folder, image_pixels=8)
    sides = [
        {image.tobytes() for image, label in zip(part.images, part.labels, strict=True) if label == 1}
        for part in (pets.train, pets.test)
    ]
    assert not sides[0] & sides[1]
    assert np.bincount(pets.train.labels).tolist() == [8, 32]


def test_many_copies_of_one_image_never_empty_a_side(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    for i in range(9):
        Image.new("RGB", (8, 8), (0, 0, 0)).save(folder / "cat" / f"{i}.png")
    Image.new("RGB", (8, 8), (255, 0, 0)).save(folder / "cat" / "red.png")
    pets = load_dataset(folder)
    counts = sorted([int(np.sum(pets.train.labels == 0)), int(np.sum(pets.test.labels == 0))])
    assert counts == [1, 9]


def test_middle_of_a_wide_image_is_kept(folder):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200  # the middle third
    for path in (folder / "cat").iterdir():
        path.unlink()
    Image.fromarray(wide).save(folder / "cat" / "a.png")
    Image.new("RGB", (8, 8)).save(folder / "cat" / "b.png")
    pets = load_dataset(folder, image_pixels=8)
    cats = [*pets.train.images[pets.train.labels == 0], *pets.test.images[pets.test.labels == 0]]
    assert sorted(int(cat.min()) for cat in cats) == [0, 200]


def test_transparency_lies_on_white(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    clear = Image.new("RGBA", (8, 8), (10, 20, 30, 0))
    clear.paste((0, 0, 0, 255), (0, 0, 2, 2))
    clear.save(folder / "cat" / "a.png")
    Image.new("RGB", (8, 8)).save(folder / "cat" / "b.png")
    pets = load_dataset(folder, image_pixels=8)
    cats = [*pets.train.images[pets.train.labels == 0], *pets.test.images[pets.test.labels == 0]]
    assert sorted(cat[7, 7].tolist() for cat in cats) == [[0, 0, 0], [255, 255, 255]]


def test_other_files_are_counted_not_hidden(folder, capsys):
    (folder / "cat" / "notes.txt").write_text("")
    (folder / "dog" / "film.mp4").write_text("")
    assert len(load_dataset(folder).train) == 16
    assert capsys.readouterr().err == f"{folder}: 2 files ignored: no images by their content\n"


def test_few_unreadable_images_are_skipped_and_named(folder, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), np.uint8)
    for i, image in enumerate(noise):
        Image.fromarray(image).save(folder / "dog" / f"noise{i}.png")
    (folder / "cat" / "bad.png").write_bytes(b"")
    assert len(load_dataset(folder).train) == 40
    assert capsys.readouterr().err == (
        f"{folder}: 1 of 51 files give no image and are skipped, e.g. cat/bad.png (the file is empty); "
        f"`headstart data check {folder}` lists them\n"
    )


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
def test_too_many_unreadable_images_are_named(folder, content):
    for number in range(2):
        (folder / "cat" / f"bad{number}.png").write_bytes(content)
    with pytest.raises(
        DataError, match=r"2 of 22 files in .*pets .*: cat/bad0\.png, cat/bad1\.png: .+; mend"
    ) as error:
        load_dataset(folder)
    assert "\n" not in str(error.value)
    assert len(load_images(folder, bad_files="skip").train) == 16


def test_sixteen_bit_image_is_brought_to_eight(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    Image.fromarray(np.full((8, 8), 257 * 99, np.uint16)).save(folder / "cat" / "deep.png")
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(folder / "cat" / "white.png")
    pets = load_dataset(folder, image_pixels=1)
    cats = [*pets.train.images[pets.train.labels == 0], *pets.test.images[pets.test.labels == 0]]
    assert sorted(int(cat[0, 0, 0]) for cat in cats) == [99, 255]
    assert pets.reading.integer_range == (0, 65535)


def test_empty_class_is_named(folder):
    (folder / "emu").mkdir()
    with pytest.raises(
        DataError,
        match=r"class 'emu' has 0 readable images; each class needs two at least, .*: collect "
        r"2 more",
    ):
        load_dataset(folder)


def test_a_class_of_near_duplicates_cannot_be_divided(folder):
    for path in (folder / "cat").iterdir():
        path.unlink()
    for i in range(5):
        Image.new("RGB", (8, 8), (0, 0, i // 2)).save(folder / "cat" / f"{i}.png")
    with pytest.raises(DataError, match=r"class 'cat' has 5 readable images in 1 different groups"):
        load_dataset(folder)


def test_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="has 0 sub-folders; a dataset needs one for each class, two at least"
    ):
        load_dataset(tmp_path)


def test_given_train_and_test_folders_are_kept(folder):
    for part, numbers in (("train", (0, 1, 2, 3)), ("val", (4,)), ("test", (5, 6, 7))):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for number in numbers:
                file = next((folder / name).glob(f"{number}.*"))
                file.rename(folder / part / name / file.name)
    shutil.rmtree(folder / "cat")
    shutil.rmtree(folder / "dog")
    pets = load_dataset(folder, image_pixels=4)
    reds = [
        sorted(round(int(red) / 25) for red in part.images[part.labels == 1][:, 0, 0, 0])
        for part in (pets.train, pets.test)
    ]
    assert reds == [[0, 1, 2, 3, 4], [5, 6, 7]]  # validation images are trained on: a trial draws its own
    shutil.rmtree(folder / "test")
    assert (
        len(load_dataset(folder, image_pixels=4).test) == 2
    )  # without a test folder, validation is the test set


def test_beside_an_empty_val_folder_a_fifth_of_train_is_held_out_and_that_is_said(folder, capsys):
    for part in ("train", "val"):
        (folder / part).mkdir()
    for name in ("cat", "dog"):
        (folder / name).rename(folder / "train" / name)
    assert np.bincount(load_dataset(folder).test.labels).tolist() == [2, 2]
    assert "folders without an image: val; a fifth of the other images is held out" in capsys.readouterr().err


def test_a_table_is_a_dataset(folder):
    rows = [
        "path,label",
        *(f"{path.relative_to(folder.parent)},{path.parent.name}s" for path in folder.glob("*/*")),
    ]
    (folder.parent / "pets.csv").write_text("\n".join(rows))
    by_table, by_folder = load_dataset(folder.parent / "pets.csv"), load_dataset(folder)
    assert by_table.train.class_names == ("cats", "dogs")
    assert np.array_equal(by_table.train.images, by_folder.train.images)


def test_the_second_loading_reads_no_image(folder, monkeypatch):
    first = load_dataset(folder)
    monkeypatch.setattr("headstart.data.folders.rows.decode_one", None)
    again = load_dataset(folder)
    assert again.fingerprint == first.fingerprint and isinstance(again.train.images, IndexedRows)
    assert np.array_equal(again.train.images, first.train.images)


def test_near_duplicates_stay_out_of_validation_or_together_in_it(tmp_path, monkeypatch):
    images = load_dataset("cifar10").train.images[:80]
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    for number, image in enumerate(images):
        home = tmp_path / "photos" / ("cat", "dog")[number % 2]
        home.mkdir(parents=True, exist_ok=True)
        for copy in range(3):  # a burst: each a little brighter
            Image.fromarray(np.clip(image.astype(int) + 3 * copy, 0, 255).astype(np.uint8)).save(
                home / f"{number}_{copy}.png"
            )
    train = load_images(tmp_path / "photos").train
    assert train.groups is not None and np.bincount(
        np.unique(train.groups, return_counts=True)[1]
    ).tolist() == [0, 0, 0, 64]
    train_ids, val_ids = validation_split(train.labels, train.fingerprint, 24, train.groups)
    assert not set(train.groups[train_ids]) & set(train.groups[val_ids])
    assert len(train_ids) + len(val_ids) == 192 and np.bincount(train.labels[val_ids]).tolist() == [12, 12]


def test_images_without_copies_have_no_groups(folder):
    assert load_dataset(folder).train.groups is None


def test_a_changed_file_is_noticed(folder):
    first = load_dataset(folder)
    Image.new("RGB", (20, 30), (1, 2, 250)).save(folder / "cat" / "1.png")
    assert load_dataset(folder).fingerprint != first.fingerprint
    assert (
        len(list((folder.parent / "cache" / "datasets" / "folders").glob("*/*/meta.json"))) == 1
    )  # the old state is gone


def test_size_below_one_pixel_is_refused(folder):
    with pytest.raises(ConfigError, match="image_pixels is 0; it must be at least 1"):
        load_dataset(folder, image_pixels=0)


def test_images_keep_the_names_of_their_files(tmp_path):
    write_noise(tmp_path / "photos", {"cat": 6, "dog": 6})
    dataset = load_images(tmp_path / "photos", image_pixels=16)
    names = [*dataset.train.names, *dataset.test.names]
    assert sorted(names) == sorted(f"{label}/{n}.png" for label in ("cat", "dog") for n in range(6))
    for name, label in zip(dataset.train.names, dataset.train.labels, strict=True):
        assert name.split("/")[0] == dataset.train.class_names[label]
    first = np.array(Image.open(tmp_path / "photos" / str(dataset.test.names[0])))
    assert (dataset.test.images[0] == first).all()


def test_files_that_give_no_image_are_named_by_cause(folder):
    for path in (folder / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"files in .*: cat/\S+, cat/\S+ and \d+ more: the file is empty"):
        load_dataset(folder)
    with pytest.raises(DataError, match=r"class 'cat' has no image that can be read \(of \d+ files\)"):
        load_images(folder, bad_files="skip")


def test_no_image_is_copied_and_a_dataset_that_an_earlier_version_copied_is_read(folder, tmp_path):
    first = load_dataset(folder)
    (home,) = (path.parent for path in (tmp_path / "cache" / "datasets").rglob("train_places.npy"))
    assert not list(home.glob("*_images.npy"))
    parts = {
        part: replace(each, images=np.array(each.images), names=None, groups=None)
        for part, each in (("train", first.train), ("test", first.test))
    }
    arrays.write_dataset(home, replace(first, **parts))
    again = load_dataset(folder)
    assert isinstance(again.train.images, np.memmap) and again.fingerprint == first.fingerprint
    assert np.array_equal(again.test.images, first.test.images)
    (home / "train_images.npy").unlink()  # damaged: its images are rows of the decoded ones from now on
    mended = load_dataset(folder)
    assert isinstance(mended.train.images, IndexedRows) and mended.fingerprint == first.fingerprint
    assert not list(home.glob("*_images.npy"))


@pytest.mark.parametrize(
    ("extra", "hint"),
    [("Zint", " (is it 'zint'? then give both one name)"), ("zimt", " (is it 'zint'? "), ("q", "; ")],
)
def test_a_class_of_test_that_train_has_under_another_spelling_is_told(tmp_path, extra, hint):
    write_noise(tmp_path / "p" / "train", {"wug": 3, "zint": 3})
    write_noise(tmp_path / "p" / "test", {"wug": 3, extra: 3})
    with pytest.raises(DataError) as error:
        load_images(tmp_path / "p")
    assert f"class {extra!r} has no image in train{hint}" in str(error.value)


def test_where_the_paths_of_a_table_start_is_told_where_files_are_not_there(tmp_path):
    write_noise(tmp_path / "p", {"wug": 2, "zint": 2})
    (tmp_path / "p" / "t.csv").write_text("path,label\ngone/1.png,wug\ngone/2.png,zint\n")
    with pytest.raises(DataError) as error:
        load_images(tmp_path / "p" / "t.csv")
    assert f"there is no such file (paths start at the table's folder, {tmp_path / 'p'})" in str(error.value)


def test_copies_that_are_first_pages_are_told_as_such(tmp_path):
    for name in ("wug", "zint"):
        (tmp_path / "p" / name).mkdir(parents=True)
        for number in range(3):
            page = Image.effect_noise((16, 16), 90)
            cover = Image.new("L", page.size, 255)
            cover.save(tmp_path / "p" / name / f"{number}.tif", save_all=True, append_images=[page])
    with pytest.raises(
        DataError, match="All of them are the first of several pages or frames: where another"
    ):
        load_images(tmp_path / "p")


def test_where_a_folder_was_looked_for_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as error:
        load_dataset("qzx")
    place = f"nor is there a folder, zip or table of images at {tmp_path / 'qzx'}"
    assert str(error.value) == f"unknown dataset 'qzx'; choose from: cifar10, fashion-mnist; {place}"
